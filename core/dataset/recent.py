"""Keeps the last things that were made, so that they aren't made again, in bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from threading import Lock
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Recent(Generic[Item]):
    """The items that were asked for last: as many as fit into `limit` bytes, and the last one in any case.

    Any number of threads may use it. An item that several ask for at once is made by one of them.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._items: OrderedDict[Hashable, Future[Item]] = OrderedDict()
        self._bytes: dict[Hashable, int] = {}
        self._lock = Lock()

    def get(self, key: Hashable, make: Callable[[], Item], bytes_of: Callable[[Item], int]) -> Item:
        """The item of a key, made if it isn't there. What `make` raises goes to all who wait, and nothing is kept."""
        with self._lock:
            future = self._items.get(key)
            if waits := future is not None:
                self._items.move_to_end(key)
            else:
                future = self._items[key] = Future()
        if waits:
            return future.result()
        try:
            item = make()
        except BaseException as error:
            with self._lock:
                self._drop(key, future)
            future.set_exception(error)
            raise
        future.set_result(item)
        self._keep(key, future, bytes_of(item))
        return item

    def clear(self) -> None:
        """Let all of them go. What is being made meanwhile isn't kept either."""
        with self._lock:
            self._items.clear()
            self._bytes.clear()

    def __len__(self) -> int:
        return len(self._items)

    def _keep(self, key: Hashable, future: Future[Item], size: int) -> None:
        with self._lock:
            if self._items.get(key) is not future:
                return
            self._bytes[key] = size
            oldest = [other for other in self._items if other in self._bytes and other != key]
            while oldest and sum(self._bytes.values()) > self.limit:
                other = oldest.pop(0)
                self._drop(other, self._items[other])

    def _drop(self, key: Hashable, future: Future[Item]) -> None:
        if self._items.get(key) is future:
            del self._items[key]
            self._bytes.pop(key, None)
