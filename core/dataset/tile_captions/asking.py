"""Asks one vision model for the captions of many tiles: on several threads, again what failed, and not for ever."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from core.dataset.tile_captions.answers import cleaned, nonsense
from core.dataset.tile_captions.ollama import Ollama, OllamaError
from core.devices import cores
from core.errors import OchreError

if TYPE_CHECKING:
    from core.dataset.settings import DetailCrops
    from core.dataset.tile_captions.captioning import KeptCaptions, Wanted

GIVEN_UP_AFTER = 3
"""After so many tiles in a row without a caption, the others aren't asked for."""

_AT_ONCE = 4  # asked by default; Ollama answers one after the other unless it is told otherwise
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 8.0  # seconds before a failed question is repeated; doubled each time
_OTHERS = f"After {GIVEN_UP_AFTER} failures in a row, the others were not asked for."
_TICK = 0.1  # seconds between two looks at whether to stop

Result = TypeVar("Result")


class Way(NamedTuple):
    """How tiles are asked for: what the settings of a concept say of it."""

    endpoint: str
    model: str
    timeout: int
    retries: int
    pull: bool
    stops: bool
    workers: int

    @classmethod
    def of(cls, crops: DetailCrops) -> Way:
        """That of a concept."""
        return cls(
            crops.caption_endpoint,
            crops.caption_model,
            crops.caption_timeout,
            crops.caption_max_retries,
            crops.caption_auto_pull,
            crops.caption_failure == "stop",
            crops.parallel_workers or min(_AT_ONCE, cores()),
        )


class Stopped(Exception):
    """The user asked to stop."""


@dataclass
class Telling:
    """Progress over all tiles, and whether to stop."""

    report: Callable[[str, int, int], None]
    should_stop: Callable[[], bool]
    done: int
    total: int

    def more(self, count: int) -> None:
        """So many more tiles have a caption."""
        self.done += count
        self.report("Captioning tiles", self.done, self.total)

    def result(self, future: Future[Result], meanwhile: Callable[[], None] = lambda: None) -> Result:
        """A future's result. Stopped if the user asks to stop before it is there."""
        while not future.done():
            if self.should_stop():
                raise Stopped
            meanwhile()
            wait([future], _TICK)
        return future.result()


class Asking:
    """One pass over tiles that are asked for in one way. failure: in the user's words; empty if all have captions.

    kept: where each caption goes as soon as it is there.
    """

    def __init__(self, way: Way, telling: Telling, kept: KeptCaptions) -> None:
        self.way, self.telling, self.kept = way, telling, kept
        self.failure = ""
        self._in_a_row = 0
        self._given_up = False
        self._pulled = (0, 0)
        self._last: OllamaError | None = None
        self._found: dict[str, str] = {}
        self._ended = threading.Event()

    def answers(self, wanted: list[Wanted], cut: Callable[[Wanted], bytes]) -> dict[str, str]:
        """Key -> caption, of the tiles that were answered. cut: gives the picture of a tile.

        Stopped if the user asks to stop; OchreError where a failure is to stop the run, and what `cut` and `kept`
        raise. None of these waits for answers that are still to come.
        """
        self.telling.more(0)
        threads = _Threads(self.way.workers)
        try:
            server = self._ready(threads)
            if server:
                self._ask_all(server, wanted, cut, threads)
        finally:
            self._ended.set()
            threads.close()
        if self._last:
            without = len(wanted) - len(self._found)
            others = "" if self._last.for_all or not self._given_up else f" {_OTHERS}"
            self.failure = f"{without} of {len(wanted)} tiles keep their picture's caption. {self._last}{others}"
        return self._found

    def _ready(self, threads: _Threads) -> Ollama | None:
        """The server, with the model; None where it can't be had."""
        try:
            server = Ollama(self.way.endpoint, self.way.model, self.way.timeout)
            self.telling.result(threads.submit(self._get_ready, server), lambda: self._tell_pull(server))
        except OllamaError as error:
            self._failed(error, "The tiles can't be captioned.")
            return None
        return server

    def _get_ready(self, server: Ollama) -> None:
        if not self._repeated(lambda attempt: server.has_model()):
            if not self.way.pull:
                raise OllamaError(
                    f"Ollama at {server.address} doesn't have the model {self.way.model}.",
                    do=f"Run `ollama pull {self.way.model}`, or let it be pulled (caption_auto_pull).",
                )
            self._repeated(lambda attempt: server.pull())
        self._repeated(lambda attempt: server.check_vision())

    def _tell_pull(self, server: Ollama) -> None:
        there, of = (amount // 10**6 for amount in server.pulled)
        if of and self._pulled != (there, of):
            self._pulled = (there, of)
            self.telling.report(f"Ollama downloads {self.way.model} (MB)", there, of)

    def _ask_all(self, server: Ollama, wanted: list[Wanted], cut: Callable[[Wanted], bytes], threads: _Threads) -> None:
        pending: deque[tuple[Wanted, Future[str]]] = deque()
        for one in wanted:
            pending.append((one, threads.submit(self._answer, server, one, cut(one))))
            if len(pending) > 2 * self.way.workers and not self._take(*pending.popleft()):
                break
        while pending:
            one, future = pending.popleft()
            if self._given_up and (future.cancel() or not future.done() or future.exception()):
                continue
            self._take(one, future)
        if not self._given_up:
            with suppress(OllamaError):  # then it frees its memory by itself, five minutes later
                self.telling.result(threads.submit(server.unload))

    def _take(self, one: Wanted, future: Future[str]) -> bool:
        """Wait for the answer about one tile. False: the others aren't worth asking for."""
        try:
            self._found[one.key] = self.telling.result(future)
        except OllamaError as error:
            self._failed(error, f"There is no caption for {one}.")
        else:
            self._in_a_row = 0
            self.telling.more(1)
        return not self._given_up

    def _failed(self, error: OllamaError, what: str) -> None:
        self._last = error
        self._in_a_row += 1
        self._given_up |= error.for_all or self._in_a_row >= GIVEN_UP_AFTER
        if self.way.stops:
            do = " ".join(filter(None, (error.do, "Or let the run go on without (caption_failure).")))
            raise OchreError(f"{what} {error.what}", error.why, do) from error

    def _answer(self, server: Ollama, one: Wanted, picture: bytes) -> str:
        """The caption of a tile, on one of the threads; another run may have got it meanwhile."""

        def once(attempt: int) -> str:
            caption = cleaned(server.ask(one.question(picture, attempt)))
            if why := nonsense(caption):
                raise _Nonsense(f"{self.way.model} answers with {why}.", again=True)
            return caption

        if caption := self.kept.get(one.key):
            return caption
        caption = self._repeated(once)
        self.kept.put(one.key, caption, self.way.model)
        return caption

    def _repeated(self, work: Callable[[int], Result]) -> Result:
        """`work(attempt)`; again after a pause where that may help."""
        for attempt in range(self.way.retries):
            try:
                return work(attempt)
            except OllamaError as error:
                pause = 0 if isinstance(error, _Nonsense) else min(_FIRST_PAUSE * 2**attempt, _LONGEST_PAUSE)
                if not error.again or self._ended.wait(pause):
                    raise
        return work(self.way.retries)


class _Nonsense(OllamaError):
    """An answer that is no caption."""


class _Threads:
    """Threads that end with the program, so that an answer which is long in coming holds nobody up."""

    def __init__(self, count: int) -> None:
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]] | None] = (
            queue.SimpleQueue()
        )
        self._count = count
        for _ in range(count):
            threading.Thread(target=self._work, name="tile-captions", daemon=True).start()

    def submit(self, work: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Do it on the next free thread."""
        future: Future[Result] = Future()
        self._jobs.put((future, work, arguments))
        return future

    def close(self) -> None:
        """End each thread after the work it has; what waits for a thread isn't begun."""
        with suppress(queue.Empty):
            while job := self._jobs.get_nowait():
                job[0].cancel()
        for _ in range(self._count):
            self._jobs.put(None)

    def _work(self) -> None:
        while job := self._jobs.get():
            future, work, arguments = job
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = work(*arguments)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)
