"""The family of a base model, as far as it can be told at once: without the network, and once for each file."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from core.errors import OchreError
from core.manager.model_detector import Detected, ModelDetector
from core.registry import registry
from core.weights.sources import hub_name


def found_family(source: str) -> str | None:
    """The family that a file or folder shows, or whose published name the source is; None where nothing tells.

    Raises ModelFileError if there is no such file or folder, or if it is no model that Ochre can train.
    """
    if not source.strip():
        return None
    name = hub_name(source.strip())
    if name:
        families = registry("families").all().items()
        return next((family for family, cls in families if name in cls.repositories), None)
    found = found_model(source)
    return found.family if found else None


def found_model(source: str) -> Detected | None:
    """What a file or folder shows; None for a name on the hub, or where there is no source.

    Raises ModelFileError if there is no such file or folder, or if it is no model that Ochre can train.
    """
    if not source.strip() or hub_name(source.strip()):
        return None
    answer = _look(source, _written(Path(source.strip()).expanduser()))
    if isinstance(answer, OchreError):
        raise answer
    return answer


@lru_cache(maxsize=64)
def _look(source: str, written: int) -> Detected | OchreError:
    """What it is, or what is wrong. `written` is there for the cache: a file that is replaced is looked at anew."""
    try:
        return ModelDetector().detect(source)
    except OchreError as error:
        return error


def _written(path: Path) -> int:
    """When a file, or the list of names in a folder, was last changed."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
