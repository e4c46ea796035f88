"""What Muon and its relatives need: matrices, whose steps are made orthogonal, apart from what is left to Adam."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from core.contracts import Part
from core.errors import Problem, SettingsError
from core.optimizers._library import LibraryOptimizer
from core.settings import setting

if TYPE_CHECKING:
    from torch import Tensor

_EMBEDDINGS = "embedding"


class MatrixOptimizer(LibraryOptimizer):
    """An optimizer for matrices, with Adam for all else."""

    rms_rescaling: bool = setting(
        True,
        "Rates as AdamW's",
        "A step is as long as AdamW's at the same rate. Off, it is Muon's own length, which wants rates of 0.005 to "
        "0.02.",
        also=("use_adjusted_lr",),
    )
    adam_ratio: float = setting(
        1.0,
        "Adam's rate",
        "Biases, norms, scales and embeddings are no matrices: Adam trains them, at their part's rate times this.",
        ge=0,
        also=("muon_adam_lr", "muon_te1_adam_lr", "muon_te2_adam_lr", "MuonWithAuxAdam"),
    )
    adam_groups: str = setting(
        _EMBEDDINGS,
        "Left to Adam",
        "Groups of weights are left to Adam as a whole if their name, which the curves of the rates show, has a match "
        "of this regular expression. Empty: none.",
        level="advanced",
        also=("muon_hidden_layers", "muon_adam_regex"),
    )

    def check(self) -> Iterator[Problem]:
        try:
            re.compile(self.adam_groups)
        except re.error as error:
            yield Problem("adam_groups", f"is no regular expression: {error}")

    def check_rates(self, rates: Mapping[Part, float]) -> Iterator[Problem]:
        yield from super().check_rates(rates)
        highest = max(rates.values(), default=0.0) * self.adam_ratio
        if not self.rms_rescaling and highest > 0.003:
            message = f"gives Adam a rate of {highest:g} beside Muon's own, which is too much; 0.1 or less is usual"
            yield Problem("optimizer.adam_ratio", message, {"optimizer.adam_ratio": 0.05})

    def split(self, groups: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], bool]]:
        """Groups of matrices (True) and of what is left to Adam (False), in the order of `groups`."""
        left = re.compile(self.adam_groups) if self.adam_groups else None
        names = [group["name"] for group in groups]
        if left and self.adam_groups != _EMBEDDINGS and not any(map(left.search, names)):
            message = f"matches no group of weights; there are {', '.join(names)}"
            raise SettingsError([Problem("optimizer.adam_groups", message)])
        for group in groups:
            as_a_whole = bool(left and left.search(group["name"]))
            matrices = [weight for weight in group["params"] if not as_a_whole and is_matrix(weight)]
            chosen = {id(weight) for weight in matrices}
            others = [weight for weight in group["params"] if id(weight) not in chosen]
            if matrices:
                yield {**group, "params": matrices}, True
            if others:
                rate = group["lr"] * self.adam_ratio
                yield {**group, "params": others, "lr": rate, "name": f"{group['name']} adam"}, False


def is_matrix(weight: Tensor) -> bool:
    """Whether a weight maps many numbers to many: that of a linear layer (2 axes) or of a convolution (4, 5 axes).

    Rows or columns alone (biases, DoRA's scales, (IA)3), and stacks of small matrices (OFT's, 3 axes) are none.
    """
    return weight.ndim in (2, 4, 5) and weight.shape[0] > 1 and weight.numel() > weight.shape[0]
