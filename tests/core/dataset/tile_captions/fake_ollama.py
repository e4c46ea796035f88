"""A server on loopback that speaks Ollama's API (docs.ollama.com/api), with answers that a test chooses."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any

from PIL import Image

Body = dict[str, Any]


def chat(text: Any) -> bytes:
    """The body of an answer to /api/chat."""
    return json.dumps({"model": "m", "message": {"role": "assistant", "content": text}, "done": True}).encode()


@dataclass
class FakeOllama:
    """What it has and does. answer: from the question's body and its number to a caption, or to (status, body).

    models: by name; pulling adds one. pull: the lines of the progress. capabilities: of each model; None says nothing.
    asked: the bodies of the questions, in the order of their arrival. requests: method and path of all that came.
    """

    models: list[str] = field(default_factory=lambda: ["qwen2.5vl:3b"])
    answer: Callable[[Body, int], str | tuple[int, bytes]] = lambda body, number: f"a detail, number {number}"
    pull: list[Body] = field(default_factory=list)
    capabilities: list[str] | None = field(default_factory=lambda: ["completion", "vision"])
    redirect: str = ""
    asked: list[Body] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    unload: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    endpoint: str = ""

    def has(self, name: str) -> bool:
        """Whether it has a model, by any of its names."""
        names = [model.lower() for model in self.models]
        return name.lower() in names or f"{name.lower()}:latest" in names

    def pictures(self) -> list[Image.Image]:
        """What the questions showed."""
        sent = [message["images"] for body in self.asked for message in body["messages"] if "images" in message]
        assert all(len(images) == 1 for images in sent)
        return [Image.open(BytesIO(base64.b64decode(images[0]))) for images in sent]

    def prompts(self) -> list[str]:
        """What the questions asked, without what the model was told to be."""
        return [body["messages"][-1]["content"] for body in self.asked]


@contextmanager
def serving(fake: FakeOllama) -> Iterator[FakeOllama]:
    """Let it listen on a free port; its address is in `endpoint`."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            self._come()
            if fake.redirect:
                self.send_response(307)
                self.send_header("Location", fake.redirect + self.path)
                self.end_headers()
            elif self.path == "/api/tags":
                self._send(200, json.dumps({"models": [{"name": name} for name in fake.models]}).encode())
            else:
                self._send(404, b"404 page not found")

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._come()
            if self.path == "/api/generate":
                assert body["keep_alive"] == 0
                fake.unload.set()
                self._send(200, b'{"done": true, "done_reason": "unload"}')
            elif self.path == "/api/pull":
                self._pull(body["model"])
            elif not fake.has(body["model"]):
                self._send(404, json.dumps({"error": f"model '{body['model']}' not found"}).encode())
            elif self.path == "/api/show":
                self._send(200, json.dumps({"capabilities": fake.capabilities} if fake.capabilities else {}).encode())
            else:
                assert self.path == "/api/chat" and body["stream"] is False
                with fake.lock:
                    fake.asked.append(body)
                    number = len(fake.asked)
                answer = fake.answer(body, number)
                self._send(*(answer if isinstance(answer, tuple) else (200, chat(answer))))

        def _pull(self, model: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/x-ndjson")
            self.end_headers()
            for line in fake.pull:
                self.wfile.write(json.dumps(line).encode() + b"\n")
            if fake.pull and fake.pull[-1].get("status") == "success":
                fake.models.append(model)

        def _come(self) -> None:
            with fake.lock:
                fake.requests.append(f"{self.command} {self.path}")
                fake.headers.append(dict(self.headers))

        def _send(self, status: int, data: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            with suppress(OSError):  # who asked didn't wait for it
                self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    fake.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
