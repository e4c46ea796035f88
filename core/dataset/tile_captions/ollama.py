"""Asks a vision model of an Ollama server, over its own HTTP API (docs.ollama.com/api).

A picture goes to the server whose address was given, and to nobody else: proxies of the environment and redirects are
not followed.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.errors import OchreError

if TYPE_CHECKING:
    import httpx

LARGEST_ANSWER = 2**20
"""In bytes. What is longer is no caption."""

MOST_TOKENS = 4096
"""A model that goes on beyond this, with its reasoning, is cut off (Ollama's own default is no bound)."""

_CONNECT = 10.0  # seconds
_PULL_SILENCE = 600.0  # seconds; Ollama says nothing while it checks what it downloaded


class OllamaError(OchreError):
    """Ollama gave no answer that can be used. No message has the name or password of an address.

    again: the same question may be answered another time. for_all: no other question to this server and model will fare
    better.
    """

    def __init__(self, what: str, why: str = "", do: str = "", *, again: bool = False, for_all: bool = False) -> None:
        super().__init__(what, why, do)
        self.again, self.for_all = again, for_all


@dataclass(frozen=True)
class Question:
    """What a model is asked: a PNG, what it is told to be, what it is asked, and the seed of its answer."""

    picture: bytes
    system: str
    prompt: str
    seed: int


class Ollama:
    """A model on a server. May be used from several threads at once. OllamaError for an address that is none.

    address: for messages; without name and password. pulled: of a download that is going on, how many bytes are there,
    and of how many.
    """

    def __init__(self, endpoint: str, model: str, timeout: float) -> None:
        import httpx

        try:
            given = httpx.URL(endpoint)
        except httpx.InvalidURL:
            given = httpx.URL()
        if given.scheme not in ("http", "https") or not given.host or given.query or given.fragment:
            # the address itself isn't told: it may hold a password
            raise OllamaError(
                "Ollama's address can't be used.", do="Write it like http://127.0.0.1:11434.", for_all=True
            ) from None
        path = given.path.rstrip("/")
        url = given.copy_with(username=None, password=None, path=path or "/")
        self.address, self.model, self.timeout = str(url).rstrip("/"), model, timeout
        self.pulled = (0, 0)
        self._client = httpx.Client(
            auth=(given.username, given.password) if given.username else None,
            timeout=httpx.Timeout(timeout, connect=min(timeout, _CONNECT), pool=None),
            follow_redirects=False,
            trust_env=False,
        )

    def has_model(self) -> bool:
        """Whether the server has the model already."""
        listed = _json(self._fetch("GET", "/api/tags")).get("models")
        if not isinstance(listed, list):
            raise OllamaError(f"What listens at {self.address} is not Ollama.", for_all=True)
        names = {_full(str(item.get("name", ""))) for item in listed if isinstance(item, dict)}
        return _full(self.model) in names

    def check_vision(self) -> None:
        """OllamaError for a model that sees no pictures, where the server says so: it would make its captions up."""
        try:
            can = _json(self._fetch("POST", "/api/show", {"model": self.model})).get("capabilities")
        except OllamaError as error:
            if error.again or error.for_all:
                raise
            return  # an old server says nothing of it
        if isinstance(can, list) and "vision" not in can:
            raise OllamaError(
                f"The model {self.model} can't look at pictures.", do="Choose one that can: qwen2.5vl:3b.", for_all=True
            )

    def pull(self) -> None:
        """Let the server download the model. What is there of an earlier try isn't downloaded again."""
        parts: dict[str, tuple[int, int]] = {}
        body = {"model": self.model, "stream": True}
        status = ""
        with self._request("POST", "/api/pull", body, read=_PULL_SILENCE) as response:
            for line in response.iter_lines():
                said = _json(line.encode()) if line.strip() else {}
                if error := said.get("error"):
                    raise self._no_pull(str(error))
                status = str(said.get("status", status))
                if isinstance(total := said.get("total"), int):
                    parts[str(said.get("digest"))] = (int(said.get("completed") or 0), total)
                    self.pulled = (sum(there for there, _ in parts.values()), sum(of for _, of in parts.values()))
        if status != "success":
            raise self._no_pull("The download ended early.")

    def ask(self, question: Question) -> str:
        """The model's answer as it stands."""
        message = {"role": "user", "content": question.prompt}
        body = {
            "model": self.model,
            "messages": [
                *([{"role": "system", "content": question.system}] if question.system.strip() else []),
                {**message, "images": [base64.b64encode(question.picture).decode()]},
            ],
            "stream": False,
            "options": {"seed": question.seed, "num_predict": MOST_TOKENS},
        }
        answer = _json(self._fetch("POST", "/api/chat", body))
        content = answer.get("message")
        content = content.get("content") if isinstance(content, dict) else None
        if not isinstance(content, str):
            raise OllamaError(f"{self.model} at {self.address} gave an answer without text.", again=True)
        return content

    def unload(self) -> None:
        """Let the server free the memory that the model takes; it does so by itself only minutes later."""
        self._fetch("POST", "/api/generate", {"model": self.model, "keep_alive": 0, "stream": False})

    def _fetch(self, method: str, path: str, body: dict[str, Any] | None = None) -> bytes:
        """The whole answer, which must come within the timeout."""
        end = time.monotonic() + self.timeout
        data = bytearray()
        with self._request(method, path, body) as response:
            for piece in response.iter_bytes():
                data += piece
                if len(data) > LARGEST_ANSWER:
                    raise OllamaError(
                        f"{self.model} at {self.address} gave an answer of more than {LARGEST_ANSWER} bytes.",
                        again=True,
                    )
                if time.monotonic() > end:
                    raise self._too_slow()
        return bytes(data)

    @contextmanager
    def _request(
        self, method: str, path: str, body: dict[str, Any] | None, read: float | None = None
    ) -> Iterator[httpx.Response]:
        """A response of status 200, not read yet. OllamaError for all else, and for what goes wrong while it's read."""
        import httpx

        timeout = httpx.Timeout(read or self.timeout, connect=min(self.timeout, _CONNECT), pool=None)
        try:
            with self._client.stream(method, self.address + path, json=body, timeout=timeout) as response:
                if response.status_code != 200:
                    raise self._refused(response.status_code, _reason(response))
                yield response
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise OllamaError(
                f"Ollama can't be reached at {self.address}.",
                f"{_in_words(error)}.",
                "Start it (`ollama serve`), or correct its address.",
                again=True,
                for_all=True,
            ) from None
        except httpx.TimeoutException:
            raise self._too_slow() from None
        except httpx.HTTPError as error:
            raise OllamaError(f"Ollama at {self.address} broke off.", f"{_in_words(error)}.", again=True) from None

    def _too_slow(self) -> OllamaError:
        return OllamaError(
            f"{self.model} at {self.address} gave no answer within {self.timeout:g} s.",
            do="Wait longer (caption_timeout), ask less at once (parallel_workers), or choose a smaller model.",
            again=True,
        )

    def _no_pull(self, why: str) -> OllamaError:
        return OllamaError(
            f"Ollama at {self.address} can't download {self.model}.",
            f"{_shown(why)}",
            f"Check the model's name, or run `ollama pull {self.model}`.",
            again=True,
            for_all=True,
        )

    def _refused(self, status: int, why: str) -> OllamaError:
        if 300 <= status < 400:
            what = f"{self.address} points to another address, which is not followed."
            return OllamaError(what, do="Write the address of Ollama itself.", for_all=True)
        if status in (401, 403):
            return OllamaError(f"Ollama at {self.address} refuses access ({status}).", why, for_all=True)
        missing = f"'{self.model}'" in why or f'"{self.model}"' in why
        return OllamaError(
            f"Ollama at {self.address} answers with error {status}.",
            why,
            again=status in (408, 429) or status >= 500,
            for_all=status == 404 and missing,
        )


def _full(name: str) -> str:
    """A model's name with its tag; Ollama makes no difference between capitals and small letters."""
    name = name.lower().removeprefix("registry.ollama.ai/").removeprefix("library/")
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _json(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise OllamaError("Ollama's answer is not what its API describes.", again=True)
    return value


def _reason(response: httpx.Response) -> str:
    """What an error says of itself: the text in its `error`, cut to one short line."""
    data = bytearray()
    for piece in response.iter_bytes(4096):
        data += piece
        if len(data) > 2**16:
            return ""
    try:
        said = json.loads(bytes(data))
    except (ValueError, RecursionError):
        return ""
    return _shown(said["error"]) if isinstance(said, dict) and isinstance(said.get("error"), str) else ""


def _shown(text: str, most: int = 200) -> str:
    """A server's words as one short line that ends in a full stop."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return (line[: most - 3] + "..." if len(line) > most else line).rstrip(".") + "."


def _in_words(error: httpx.HTTPError) -> str:
    """What lies behind a failed connection, in the system's words: Connection refused."""
    cause: BaseException | None = error
    while cause:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__
