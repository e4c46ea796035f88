"""Keeps inputs alive while a cell awaits: the page is told when the kernel has handled what it sent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from IPython.core.getipython import get_ipython


@contextmanager
def answered() -> Iterator[None]:
    """Inside, each widget message that the kernel handles is followed by the status `idle`.

    While a cell awaits, ipykernel (7.4) handles widget messages but sends no status for them, and the page holds back
    the second change of an input until it knows that the first was handled. Nothing is done outside of a kernel.
    """
    kernel: Any = getattr(get_ipython(), "kernel", None)
    if kernel is None:
        yield
        return
    cell, handle = kernel.get_parent("shell"), kernel.shell_handlers["comm_msg"]

    def handle_and_answer(stream: Any, ident: Any, message: Any) -> None:
        handle(stream, ident, message)
        kernel._publish_status("idle", "shell", parent=message)
        kernel._publish_status("busy", "shell", parent=cell)  # the cell still runs

    kernel.shell_handlers["comm_msg"] = handle_and_answer
    try:
        yield
    finally:
        kernel.shell_handlers["comm_msg"] = handle
