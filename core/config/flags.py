"""The command line's `--set section.name=value`: a flag for every setting, from its declaration."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from typing import Any, Literal, get_origin

from core.errors import OchreError
from core.settings import Settings
from core.settings.tree import table_classes


def parse_flags(job: type[Settings], flags: Sequence[str]) -> dict[str, Any]:
    """Settings by path from `path=value` texts, for `set_values`; the last of two for one path counts.

    A setting that holds text takes the value as it stands; any other takes it as TOML writes it (16, 1e-4, true,
    [0.9, 0.99], [{name = "min_snr"}]). What isn't TOML stays text, and the config's check says what it should be.
    OchreError for a flag without a path or without `=`.
    """
    values = {}
    for flag in flags:
        path, equals, text = flag.partition("=")
        path = path.strip()
        if not equals or not path:
            raise OchreError(
                f"The flag {flag!r} can't be read.", do="Write --set section.name=value, such as training.epochs=5."
            )
        values[path] = text if holds_text(job, path) else _value(text.strip())
    return values


def holds_text(job: type[Settings], path: str) -> bool:
    """Whether the setting at a path is text, or one of several names, for any plug-in that may stand there."""
    *parents, last = [key for key in path.split(".") if not key.isdecimal()]
    owners = [job]
    for key in parents:
        owners = [cls for owner in owners for cls in table_classes(owner, key)]
    annotations = [owner.model_fields[last].annotation for owner in owners if last in owner.model_fields]
    return any(annotation is str or get_origin(annotation) is Literal for annotation in annotations)


def _value(text: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["value"] if parsed.keys() == {"value"} else text
