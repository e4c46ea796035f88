"""CAME with its momentum in 8 bits: pytorch_optimizer's steps, bitsandbytes' numbers."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from core.optimizers._bitsandbytes import BitsAndBytes, min_8bit_size
from core.optimizers._came import CameSettings
from core.optimizers._library import is_installed
from core.optimizers._zero_rates import named_as
from core.settings import setting
from core.settings.bases import Availability, Finding, OptimizerConfig

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer


class Came8bit(CameSettings):
    """CAME with a quarter of its state, a ninth of AdamW's.

    Rows and columns stay fp32, as does all of small tensors. Between steps the momentum is kept in blocks of 8-bit
    numbers with a scale each, as bitsandbytes' optimizers do (Dettmers et al. 2022); only one tensor's is unpacked at
    a time. No library has this optimizer.
    """

    label: ClassVar[str] = "CAME 8-bit"
    native: ClassVar[bool] = True
    programs_call_it: ClassVar[tuple[str, ...]] = ("CAME_8BIT", "Came8bit")
    state_bytes_per_weight: ClassVar[float] = 1.5
    instead: ClassVar[str] = "came"

    name: Literal["came8bit"] = "came8bit"
    min_8bit_size: int = min_8bit_size()
    quant_block_size: Literal[64, 128, 256, 512, 1024, 2048, 4096] = setting(
        2048,
        "8-bit block",
        "So many numbers share one scale: smaller blocks are more exact, and take a little more memory.",
        unit="weights",
        level="advanced",
    )

    @classmethod
    def availability(cls, device: str) -> Availability:
        if not is_installed(BitsAndBytes.module):
            reason = f"{cls.label} needs the library {BitsAndBytes.library}, which isn't installed."
            return Availability(False, reason, cls.instead)
        return super().availability(device)

    @classmethod
    def library_findings(cls, device: str) -> list[Finding]:
        return BitsAndBytes.library_findings(device)

    @classmethod
    def like(cls) -> OptimizerConfig:
        from core.optimizers.came import Came

        return Came()

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        return _in_8_bits()(groups, self.min_8bit_size, self.quant_block_size, **self.arguments())


@cache
def _in_8_bits() -> type[Any]:
    """pytorch_optimizer's CAME, which takes one weight after the other, and packs the momentum of each after its step.

    Packed, `exp_avg` is uint8 of the weight's shape, and `absmax` has each block's scale.
    """
    import torch
    from bitsandbytes.functional import create_dynamic_map, dequantize_blockwise, quantize_blockwise
    from pytorch_optimizer import CAME

    class EightBit(CAME):
        def __init__(self, params: Any, smallest: int, block: int, **arguments: Any) -> None:
            super().__init__(params, **arguments)
            self._smallest, self._block = smallest, block
            self._code = create_dynamic_map()  # the 256 values that 8 bits can have

        @torch.no_grad()
        def step(self, closure: Any = None) -> Any:
            assert closure is None
            whole = self.param_groups
            try:
                for group in whole:
                    for weight in group["params"]:
                        if weight.grad is not None:
                            self._unpack(self.state[weight])
                            self.param_groups = [{**group, "params": [weight]}]
                            super().step()
                            self._pack(self.state[weight])
            finally:
                self.param_groups = whole

        def _unpack(self, state: dict[str, Any]) -> None:
            if "absmax" in state:
                packed, scales = state["exp_avg"], state.pop("absmax")
                code = self._code_on(packed)
                state["exp_avg"] = dequantize_blockwise(packed, absmax=scales, code=code, blocksize=self._block)

        def _pack(self, state: dict[str, Any]) -> None:
            momentum = state["exp_avg"]
            if momentum.numel() >= self._smallest:
                packed, scales = quantize_blockwise(momentum, code=self._code_on(momentum), blocksize=self._block)
                state["exp_avg"], state["absmax"] = packed, scales.absmax

        def _code_on(self, tensor: Tensor) -> Tensor:
            self._code = self._code.to(tensor.device)
            return self._code

    return named_as(EightBit, CAME)
