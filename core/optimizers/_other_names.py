"""From what kohya's scripts and OneTrainer call an optimizer to Ochre's name and settings for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.registry import registry
from core.settings import info
from core.settings.bases import OptimizerConfig
from core.settings.checks import validate
from core.settings.importable import ArgumentError, parse_argument

# what a name says beyond the optimizer; sd-scripts, library/train_util.py, get_optimizer
_SAID: Mapping[str, Mapping[str, Any]] = {
    "PagedAdam8bit": {"paged": True},
    "PagedAdamW8bit": {"paged": True},
    "PagedAdEMAMix": {"paged": True},
    "PagedAdEMAMix8bit": {"paged": True},
    "PagedLion8bit": {"paged": True},
    "SGDNesterov": {"momentum": 0.9, "nesterov": True},
    "SGDNesterov8bit": {"momentum": 0.9},
    "AdaFactor": {"relative_step": True, "scale_parameter": True},
    "Adafactor": {"relative_step": True, "scale_parameter": True},
}
_WITHOUT_EFFECT = {
    "block_wise", "capturable", "differentiable", "foreach", "fsdp_in_use", "fused", "log_every", "optim_bits",
    "percentile_clipping", "use_triton",
}  # fmt: skip
"""Arguments that change how the same is computed, or nothing at all."""


@dataclass(frozen=True)
class Translated:
    """table: of the config's `optimizer`. notes: what was left out, and why, a sentence each."""

    table: dict[str, Any]
    notes: tuple[str, ...]


def other_names() -> dict[str, str]:
    """What other programs call an optimizer -> Ochre's name."""
    found: dict[str, type[OptimizerConfig]] = registry("optimizers").all()
    return {other: name for name, cls in found.items() for other in cls.programs_call_it if name != "custom"}


def translated(name: str, arguments: Sequence[str] = ()) -> Translated:
    """Ochre's table for another program's name and `key=value` arguments (kohya's optimizer_type, optimizer_args).

    As with kohya, capital and small letters are alike, a name with dots is an import path, and one that is in no list
    is a class of torch.optim.
    """
    known = {other.lower(): other for other in other_names()} | {other: other for other in other_names()}
    if found := known.get(name, known.get(name.lower())):
        return _plugin(found, arguments)
    if "." not in name and name in registry("optimizers").names():
        return _plugin(name, arguments)
    path = name if "." in name else f"torch.optim.{name}"
    lines = [" = ".join(piece.strip() for piece in line.split("=", 1)) for line in arguments]
    return Translated({"name": "custom", "class_path": path, "arguments": lines}, ())


def _plugin(name: str, arguments: Sequence[str]) -> Translated:
    ours = other_names().get(name, name)
    cls: type[OptimizerConfig] = registry("optimizers").get(ours)
    table: dict[str, Any] = {"name": ours, **_SAID.get(name, {})}
    notes = []
    for line in arguments:
        try:
            key, value = parse_argument(line)
        except ArgumentError as error:
            notes.append(f"{error}.")
            continue
        settings = dict(_settings(cls, key, value))
        if settings:
            table |= settings
        elif key not in _WITHOUT_EFFECT:
            notes.append(f"{key} has no counterpart in {ours}; it is left out.")
    config, problems = validate(cls, table)
    notes += [f"{problem}." for problem in problems]
    if config is None:
        wrong = {problem.path.partition(".")[0] for problem in problems}
        table = {key: value for key, value in table.items() if key not in wrong}
    return Translated(table, tuple(notes))


def _settings(cls: type[OptimizerConfig], key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The settings that an argument becomes. None stands for what is the library's default."""
    fields = cls.model_fields
    if key == "eps" and isinstance(value, tuple) and len(value) == 2 and "scale_eps" in fields:  # Adafactor's
        yield from zip(("eps", "scale_eps"), value, strict=True)
    elif key == "eps" and value is None and "atan2" in fields:  # Prodigy Plus'
        yield from (("atan2", True), ("use_stableadamw", False))
    elif named := next((name for name, field in fields.items() if key == name or key in info(field).also), None):
        default = fields[named].get_default(call_default_factory=True)
        if value is None:
            yield named, default
        elif isinstance(default, list) == isinstance(value, tuple | list):  # not beta1 alone
            yield named, list(value) if isinstance(value, tuple) else value
