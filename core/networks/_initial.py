"""The weights that a low-rank update begins with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from core.errors import Problem
from core.settings import Settings, setting

if TYPE_CHECKING:
    from core.networks._modules.low_rank import LowRankChange


class FirstWeights(Settings):
    """The settings of the first weights."""

    initial: Literal["default", "orthogonal", "pissa"] = setting(
        "default",
        "First weights",
        "default: down random, up zero. orthogonal: both random and at right angles, so that both learn from the first "
        "step. pissa: the base's own strongest directions, which learn faster; the file has twice the rank.",
        level="advanced",
        also=("init_lora_weights", "use_data_init"),
    )
    pissa_iterations: int = setting(
        16,
        "PiSSA iterations",
        "Of the quick search for the strongest directions. 0: the exact one, which takes minutes.",
        ge=0,
        le=100,
        level="advanced",
        shown_if={"initial": ["pissa"]},
    )
    freeze_down: bool = setting(
        False,
        "Freeze the down half",
        "Only the up half of each update is trained, which needs less memory (LoRA-FA).",
        level="advanced",
        also=("lora_fa",),
    )

    def ranks(self) -> Mapping[str, int]:
        """Path of a setting -> the rank that it gives."""
        return {}

    def check(self) -> Iterator[Problem]:
        yield from super().check()
        for path, rank in self.ranks().items():
            if self.initial == "orthogonal" and rank % 2:
                yield Problem(path, f"must be even for orthogonal first weights (it is {rank})", {path: rank + 1})

    def begin(self, change: LowRankChange) -> None:
        """Give a new update its first weights, and freeze what isn't trained."""
        from core.networks._modules.first_weights import begin_normal, begin_orthogonal

        if self.initial == "orthogonal":
            begin_orthogonal(change)
        elif self.initial == "default" and self.freeze_down:
            begin_normal(change)
        if self.freeze_down:
            change.lora_down.weight.requires_grad_(False)

    def first_arguments(self) -> dict[str, Any]:
        """What the file's metadata tell of it."""
        return {"initial": self.initial if self.initial != "default" else "", "freeze_down": self.freeze_down}
