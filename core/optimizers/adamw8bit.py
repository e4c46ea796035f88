"""AdamW with its state in 8 bits, from bitsandbytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.errors import Problem
from core.optimizers._library import LibraryOptimizer
from core.optimizers._settings import adams_betas, check_betas
from core.settings import setting
from core.settings.bases import Availability

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

# what importing or running bitsandbytes raises where its compiled part and the machine don't fit;
# AssertionError is torch's own, where it was built without the device
_BROKEN = (ImportError, OSError, RuntimeError, AttributeError, AssertionError)


class AdamW8bit(LibraryOptimizer):
    """AdamW with a quarter of its state: saves memory where much is trained (Dettmers et al. 2022).

    Small tensors keep 32-bit state, and a small LoRA has hardly any others: there it saves little.
    """

    label: ClassVar[str] = "AdamW 8-bit"
    library: ClassVar[str] = "bitsandbytes"
    module: ClassVar[str] = "bitsandbytes"
    native: ClassVar[bool] = True
    programs_call_it: ClassVar[tuple[str, ...]] = ("AdamW8bit", "ADAMW_8BIT")
    state_bytes_per_weight: ClassVar[float] = 2.0

    name: Literal["adamw8bit"] = "adamw8bit"
    betas: list[float] = adams_betas()
    weight_decay: float = setting(
        0.01, "Weight decay", "Pulls weights towards zero at each step.", ge=0, level="advanced"
    )
    eps: float = setting(1e-8, "Epsilon", "Keeps the division stable.", gt=0, level="advanced")
    min_8bit_size: int = setting(
        4096,
        "Smallest 8-bit tensor",
        "Tensors with fewer weights keep 32-bit state. With the usual 4096 these are all those of a LoRA of rank 4 "
        "on layers up to 1023 wide.",
        ge=1,
        unit="weights",
        level="advanced",
    )

    def check(self) -> Iterator[Problem]:
        yield from check_betas(self.betas)

    @classmethod
    def self_test(cls, device: str) -> Availability:
        """Takes a few steps and compares with AdamW's."""
        installed = cls.availability(device)
        if not installed.works:
            return installed
        try:
            from bitsandbytes import supported_torch_devices

            if device not in supported_torch_devices:
                return cls._broken(f"it has no code for {device}")
            difference = cls._difference_from_adamw(device)
        except _BROKEN as error:
            return cls._broken(str(error).strip() or type(error).__name__)
        # ten steps of 0.01 each lead about 0.1 away; 8 bits stay much closer together than that
        return Availability(True) if difference < 0.01 else cls._broken("its steps are not AdamW's")

    @classmethod
    def _broken(cls, why: str) -> Availability:
        return Availability(False, f"bitsandbytes is installed, but doesn't work on this machine: {why}.", cls.instead)

    @classmethod
    def _difference_from_adamw(cls, device: str) -> float:
        """Largest difference between the weights after ten steps of each."""
        import torch

        from core.optimizers.adamw import AdamW

        start = torch.linspace(-1, 1, 64 * 128).reshape(64, 128)
        ours, theirs = (_descend(config, start.to(device)) for config in (cls(), AdamW()))
        difference = (ours - theirs).abs().max().item()
        return difference if difference == difference else float("inf")

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        from bitsandbytes.optim import AdamW8bit

        beta_1, beta_2 = self.betas
        return AdamW8bit(
            groups,
            betas=(beta_1, beta_2),
            weight_decay=self.weight_decay,
            eps=self.eps,
            min_8bit_size=self.min_8bit_size,
        )


def _descend(config: Any, start: Tensor) -> Tensor:
    """The weights after ten steps down |w - 0.3|^2."""
    import torch

    weights = torch.nn.Parameter(start.clone())
    optimizer = config.build([{"params": [weights], "lr": 0.01}])
    for _ in range(10):
        optimizer.zero_grad()
        (weights - 0.3).square().sum().backward()
        optimizer.step()
    return weights.detach()
