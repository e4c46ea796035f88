"""Numbers and errors in a reader's words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape

from core.errors import OchreError
from core.training.events import Failed


def explained(text: str) -> str:
    """Plain text as HTML: what stands in backticks is code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def sentence(message: str) -> str:
    """A problem's message with a capital and a full stop."""
    return message[:1].upper() + message[1:] + ("" if message.endswith((".", "?", "!")) else ".")


def one_of(title: str) -> str:
    """One entry of a list that is called so, with its article: `Losses` -> `a loss`, `Entries` -> `an entry`."""
    word = title.lower()
    for plural, singular in (("sses", "ss"), ("ies", "y"), ("s", "")):
        if word.endswith(plural) and not word.endswith("ss"):
            word = word.removesuffix(plural) + singular
            break
    return f"{'an' if word[:1] in 'aeiou' else 'a'} {word}"


def counted(count: int, what: str) -> str:
    """`1 step`, `1,200 steps`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """`45 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = max(0, round(seconds))
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def file_size(count: int) -> str:
    """`820 KB`, `37.4 MB`, in powers of ten."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"


def note(title: str, text: str = "", kind: str = "") -> str:
    """A framed note as HTML. kind: "", "good" or "bad". title (which may be empty) and text are plain text."""
    body = "".join(f"<div>{explained(line)}</div>" for line in text.splitlines())
    role = ' role="alert"' if kind == "bad" else ""
    head = f"<b>{escape(title)}</b>" if title else ""
    return f'<div class="ochre-note {kind}"{role}>{head}{body}</div>'


def error_note(error: OchreError | Failed) -> str:
    """What happened, why, and what to do, as HTML."""
    text = "\n".join(part for part in (error.why, error.do) if part)
    details = getattr(error, "details", "")
    first, *lines = (error.what or "Something went wrong.").splitlines()
    html = note(first, "\n".join([*lines, text]).strip(), "bad")
    return html + (f"<details><summary>Details</summary><pre>{escape(details)}</pre></details>" if details else "")


def facts(items: Mapping[str, object]) -> str:
    """Names and values in two columns, as HTML; the empty ones are left out."""
    rows = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>"
        for name, value in items.items()
        if value not in ("", None)
    )
    return f'<dl class="ochre-facts">{rows}</dl>'
