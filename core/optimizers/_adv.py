"""What the optimizers of adv_optm have in common.

Its own stochastic rounding is off (Ochre rounds bf16 weights by draws of its own), and its `torch.compile`. State is
fp32 whatever the weights are. What the library keeps outside of the state that is saved is put into it here, so that
a run that was killed goes on exactly.
Not offered, as of version 2.5.16: Nesterov for ADOPT and Prodigy (it mixes the bare gradient into what was divided or
scaled already), factored state for Muon (the matrix that is made orthogonal is another one then: a near-square),
and spectral normalisation and centred decay (they need weights to be marked).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from core.errors import Problem
from core.optimizers._library import LibraryOptimizer
from core.settings import setting

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

    OptimizerT = TypeVar("OptimizerT", bound=Optimizer)


class AdvancedOptimizer(LibraryOptimizer):
    """An optimizer of the library adv_optm."""

    library: ClassVar[str] = "adv_optm"
    module: ClassVar[str] = "adv_optm"
    fused_backward: ClassVar[bool] = True

    cautious_wd: bool = setting(
        False,
        "Cautious decay",
        "Weight decay leaves out weights that the step moves away from zero (Chen et al. 2025).",
        level="advanced",
    )
    orthogonal_gradient: Literal["disabled", "flattened", "iterative"] = setting(
        "disabled",
        "Orthogonal gradient",
        "Leaves out what would only make weights longer or shorter, against overfitting: of each tensor as a whole "
        "(flattened), or of each row and column (iterative).",
        level="advanced",
    )

    def shared(self) -> dict[str, Any]:
        """The library's arguments that all of them have."""
        return {
            "cautious_wd": self.cautious_wd,
            "orthogonal_gradient": self.orthogonal_gradient,
            "stochastic_rounding": False,
        }


class FactoredState(AdvancedOptimizer):
    """One that can keep its state in hardly any memory."""

    nnmf_factor: bool = setting(
        False,
        "Factored state",
        "Keeps each memory as one row, one column and a bit for each sign: about a fortieth of the state, for steps "
        "that are less exact (SMMF, Park and Lee 2024).",
    )

    def state_bytes(self) -> float:
        return 0.25 if self.nnmf_factor else self.state_bytes_per_weight

    def precision(self) -> Literal["fp32", "factored"]:
        """The library's `state_precision`."""
        return "factored" if self.nnmf_factor else "fp32"


class KourkoutasBeta(FactoredState):
    """One whose second beta may follow the gradients."""

    kourkoutas_beta: bool = setting(
        False,
        "Kourkoutas beta",
        "Forgets the gradients' squares sooner while gradients are unusually large (Kassinos 2025), for each tensor by "
        "itself.",
        level="advanced",
    )
    beta2_min: float = setting(
        0.9,
        "Least second beta",
        "The second beta at its shortest memory.",
        ge=0,
        lt=1,
        shown_if={"kourkoutas_beta": [True]},
        level="advanced",
    )
    ema_alpha: float = setting(
        0.95,
        "Usual length",
        "How long the gradients' lengths are remembered, to which the present one is compared.",
        ge=0,
        lt=1,
        shown_if={"kourkoutas_beta": [True]},
        level="advanced",
    )
    k_warmup_steps: int = setting(
        0,
        "Follow after",
        "The second beta begins to follow the gradients little by little over so many steps.",
        ge=0,
        unit="steps",
        shown_if={"kourkoutas_beta": [True]},
        level="advanced",
    )

    def kourkoutas(self) -> dict[str, Any]:
        """The library's arguments for it."""
        return {
            "kourkoutas_beta": self.kourkoutas_beta,
            "beta2_min": self.beta2_min,
            "ema_alpha": self.ema_alpha,
            "k_warmup_steps": self.k_warmup_steps,
            "layer_key_fn": id,  # else all tensors of one shape have one beta, and none could be stepped alone
        }

    def check_kourkoutas(self, second_beta: float) -> Iterator[Problem]:
        """The least second beta must be less than the second beta."""
        if self.kourkoutas_beta and self.beta2_min >= second_beta:
            yield Problem("beta2_min", f"must be less than the second beta ({second_beta:g})")


def use_atan2() -> Any:
    """The setting of Adam-atan2. The library corrects the mean after the arc tangent: the first steps are longer."""
    return setting(
        False,
        "Adam-atan2",
        "Divides by the arc tangent, which needs no epsilon and has no spikes (Everett et al. 2024).",
        level="advanced",
    )


def nesterov(default: bool = False) -> Any:
    """The setting of Nesterov momentum."""
    return setting(
        default,
        "Nesterov",
        "The present gradient counts once more in each step. Takes the place of the library's former Simplified "
        "AdEMAMix.",
        level="advanced",
        also=("Simplified_AdEMAMix",),
    )


def readable(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Groups with an entry that the library asks for when it reads a state, and which some of its classes lack."""
    return [{**group, "actual_state_precision": "fp32"} for group in groups]


def settled(optimizer: OptimizerT) -> OptimizerT:
    """The optimizer, with fp32 state, and with everything that it remembers in its state."""
    import torch

    for state in optimizer.state.values():
        for name, value in state.items():
            if isinstance(value, torch.Tensor) and value.dtype in (torch.bfloat16, torch.float16):
                state[name] = value.float()  # still zero
    if getattr(optimizer, "kourkoutas_beta", False):
        _remember_sums(optimizer)
    return optimizer


def _remember_sums(optimizer: Any) -> None:
    """Let each tensor's state hold the square of its last gradient's length, which sets the next step's second beta.

    The library has it in a helper, which a state that is loaded doesn't reach.
    """
    import torch

    memory: dict[Any, dict[str, Tensor]] = optimizer.kourkoutas_helper.layer_state
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    known = False

    def share(*_: Any) -> None:
        nonlocal known
        if known:
            return
        known = True
        for weight in weights:
            state = optimizer.state[weight]
            if "kourkoutas_sum" not in state:
                state["kourkoutas_sum"] = torch.zeros((), device=weight.device)
            memory.setdefault(optimizer.layer_key_fn(weight), {})["sum_sq_accumulator"] = state["kourkoutas_sum"]

    def ask_again(*_: Any) -> None:
        nonlocal known
        known = False

    optimizer.register_step_pre_hook(share)
    optimizer.register_load_state_dict_post_hook(ask_again)
