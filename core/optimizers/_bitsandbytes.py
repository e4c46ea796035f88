"""What the optimizers of bitsandbytes have in common: state in 8 bits, or in pages that leave a full GPU.

8-bit Optimizers via Block-wise Quantization, Dettmers et al. 2022: state in blocks of 256 numbers, each with a scale.
Weight decay of its Adams, Lion and AdEMAMix is AdamW's; with the others it is added to the gradient. Gradients in
bf16 have no GPU code in its SGD, RMSprop and AdaGrad with 32-bit state, which small tensors always have: Ochre's steps
are taken with fp32 copies of bf16 weights anyway.

Its LAMB and LARS aren't offered: in 8 bits (0.50.2) they have no GPU code, and leave out what makes them LAMB and LARS;
in 32 bits, a tensor of zeros never moves, and a LoRA begins with such.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from core.optimizers._library import LibraryOptimizer
from core.optimizers._settings import three_betas
from core.optimizers._zero_rates import named_as
from core.settings import setting
from core.settings.bases import Finding

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

BLOCK = 256
"""Numbers of 8-bit state that share a scale of 4 bytes."""


class BitsAndBytes(LibraryOptimizer):
    """An optimizer of bitsandbytes. theirs: its class."""

    library: ClassVar[str] = "bitsandbytes"
    module: ClassVar[str] = "bitsandbytes"
    native: ClassVar[bool] = True
    fused_backward: ClassVar[bool] = True
    theirs: ClassVar[str]

    def arguments(self) -> dict[str, Any]:
        """What the library's class is given."""
        raise NotImplementedError

    def build(self, groups: list[dict[str, Any]]) -> Optimizer:
        import bitsandbytes.optim

        cls = restoring_pages(getattr(bitsandbytes.optim, self.theirs))
        return cls(groups, lr=self.usual_rate, **self.arguments())  # each group brings its own rate

    @classmethod
    def library_findings(cls, device: str) -> list[Finding]:
        """Whether it has code for `device`, and for the CUDA or ROCm that torch was built for."""
        import torch
        from bitsandbytes import supported_torch_devices

        if device not in supported_torch_devices:
            return [Finding(f"it has no code for {device}", False)]
        if device != "cuda":
            return [Finding(f"it has code for {device}")]
        if not (torch.version.cuda or torch.version.hip):
            return [Finding("torch itself was installed without CUDA or ROCm", False)]
        return [_fits_the_gpu(f"ROCm {torch.version.hip}" if torch.version.hip else f"CUDA {torch.version.cuda}")]


def _fits_the_gpu(platform: str) -> Finding:
    from bitsandbytes.cextension import get_available_cuda_binary_versions, lib

    # its stand-in for a library that can't be loaded has every name that one asks for
    if lib.compiled_with_cuda is True:
        return Finding(f"its library {Path(lib._lib._name).name} fits torch's {platform}")
    kind, there = platform.split()[0], ", ".join(get_available_cuda_binary_versions())
    has = f"it has those for {kind} {there}" if there else "it has none for GPUs"
    return Finding(f"none of its libraries fits torch's {platform}; {has}", False)


@cache
def restoring_pages(cls: Any) -> Any:
    """A class that is `cls`, but that brings restored state back into pages: what was saved of them is no page."""

    class Restoring(cls):
        def load_state_dict(self, state_dict: dict[str, Any], move_to_device: bool = True) -> None:
            super().load_state_dict(state_dict, move_to_device)
            for weight, state in self.state.items():
                for name in ("state1", "state2"):
                    if self.is_paged and name in state:
                        state[name] = self._page(weight, state[name])

        def _page(self, weight: Tensor, saved: Tensor) -> Tensor:
            is_double = saved.shape != weight.shape  # AdEMAMix remembers gradients twice
            make = self._get_state_double_buffer if is_double else self.get_state_buffer
            page = make(weight, dtype=saved.dtype)
            page.copy_(saved)
            return page

    return named_as(Restoring, cls)


def in_8_bits(states: int) -> float:
    """Bytes of state for each weight with so many numbers of 8 bits."""
    return states * (1 + 4 / BLOCK)


def min_8bit_size() -> Any:
    """The setting of which tensors are too small for 8 bits."""
    return setting(
        4096,
        "Smallest 8-bit tensor",
        "Tensors with fewer weights keep 32-bit state. With the usual 4096 these are all those of a LoRA of rank 4 "
        "on layers up to 1023 wide.",
        ge=1,
        unit="weights",
        level="advanced",
    )


def paged() -> Any:
    """The setting of pages."""
    return setting(
        False,
        "Paged",
        "When the GPU's memory is full, state of tensors from 100,000 weights on moves to the computer's, instead of "
        "an error. Without a GPU it has no effect.",
        level="advanced",
        affects="cost",
        also=("is_paged", "PagedAdam", "PagedAdamW", "PagedLion", "PagedAdEMAMix"),
    )


def ademamix_betas() -> Any:
    """The setting of AdEMAMix' three betas."""
    return three_betas(
        (0.9, 0.999, 0.9999), "How long gradients, their squares, and once more gradients are kept in mind."
    )


def ademamix_alpha() -> Any:
    """The setting of how much old gradients count."""
    return setting(
        5.0, "Alpha", "How much the gradients that are remembered longest count, against the fresh ones.", ge=0
    )


def ademamix_warmup() -> Any:
    """The setting of how alpha begins."""
    return setting(
        0,
        "Alpha's warm-up",
        "Alpha grows from 0 over so many steps; the number of the run's steps is usual. 0: it is whole from the start.",
        ge=0,
        unit="steps",
        level="advanced",
    )


def beta3_warmup() -> Any:
    """The setting of how the third beta begins."""
    return setting(
        0,
        "Third beta's warm-up",
        "The third beta grows from the first over so many steps. 0: it is whole from the start.",
        ge=0,
        unit="steps",
        level="advanced",
    )
