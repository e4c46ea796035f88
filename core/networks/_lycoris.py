"""LyCORIS' modules, attached to the layers of a model by us: found by pattern, registered, taken off again."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

os.environ.setdefault(
    "LYCORIS_KERNEL_BACKEND", "torch"
)  # on CUDA it would pick a kernel by itself, with other last bits

import torch
from lycoris.modules.locon import LoConModule
from torch import Tensor, nn

from core.contracts import Model, Part
from core.errors import OchreError

if TYPE_CHECKING:
    from lycoris.modules.base import LycorisBaseModule

SUBMODULE = "ochre_network"
"""Name under which a part holds what is attached to it. DDP and `.to()` see it there."""

Make = Callable[[str, nn.Module], "LycorisBaseModule"]
"""Builds the trained module of one layer: (name, layer) -> module."""


class AttachedModules:
    """A network of one LyCORIS module per layer (contracts.Network).

    The trained weights are fp32 whatever the base is, and are added to the layer's output, not to its weight: a bf16
    base would round small updates of its weights away.
    """

    def __init__(self, model: Model, makers: Mapping[Part, Mapping[str, Make]], metadata: Mapping[str, str]) -> None:
        """makers: part -> module path -> what builds the trained module of that layer."""
        self._metadata = dict(metadata)
        self._modules: dict[Part, nn.ModuleDict] = {}
        for part, layers in makers.items():
            self._modules[part] = self._attach(model.parts[part], layers)

    @staticmethod
    def _attach(part: nn.Module, layers: Mapping[str, Make]) -> nn.ModuleDict:
        attached = nn.ModuleDict()
        for path, make in layers.items():
            layer = part.get_submodule(path)
            module: Any = make(path, layer)
            module.to(device=layer.weight.device, dtype=torch.float32)
            module.apply_to()
            attached[_key(path)] = module
        part.add_module(SUBMODULE, attached)
        return attached

    def modules(self) -> Mapping[Part, nn.Module]:
        """The trained modules of each part."""
        return self._modules

    def layers(self) -> Iterator[tuple[Part, str]]:
        """Part and path of each changed layer."""
        for part, modules in self._modules.items():
            for key in modules:
                yield part, _path(key)

    def groups(self, rates: Mapping[Part, float]) -> list[dict[str, Any]]:
        """One optimizer group a part."""
        return [
            {
                "params": [p for p in modules.parameters() if p.requires_grad],
                "lr": rates[part],
                "name": part,
                "part": part,
            }
            for part, modules in self._modules.items()
        ]

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """Inside, the model is as it was before."""
        modules: list[Any] = [module for part in self._modules.values() for module in part.values()]
        for module in modules:
            module.restore()
        try:
            yield
        finally:
            for module in modules:
                module.apply_to()

    def before_step(self, levels: Tensor) -> None:
        """Nothing to do."""

    def after_step(self) -> None:
        """Nothing to do."""

    def norms(self) -> dict[str, float]:
        """The norm of each part's trained weights."""
        return {
            part: float(torch.stack([p.detach().float().norm() for p in modules.parameters()]).norm())
            for part, modules in self._modules.items()
        }

    def beside(self, lora_name: Callable[[Part, str], str]) -> dict[str, dict[str, Tensor]]:
        """No further files."""
        return {}

    def state(self) -> dict[str, Tensor]:
        """The trained weights: `part.path.weight` -> fp32 tensor."""
        return {
            f"{part}.{name}": parameter.detach()
            for part, modules in self._modules.items()
            for name, parameter in modules.named_parameters()
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take back the trained weights. OchreError if they belong to another network."""
        own = self.state()
        wrong = sorted(name for name in own.keys() | state.keys() if _shape(own, name) != _shape(state, name))
        if wrong:
            raise OchreError(
                f"The saved weights don't fit this network: {len(wrong)} of {len(own.keys() | state.keys())} differ.",
                f"The first is {wrong[0]}: {_shape(state, wrong[0])} in the file, {_shape(own, wrong[0])} here.",
                "Use the network settings (rank, layers, parts) of the run that the weights come from.",
            )
        for name, tensor in own.items():
            tensor.copy_(state[name])

    def export(self, lora_name: Callable[[Part, str], str]) -> dict[str, Tensor]:
        """The tensors of the LoRA file, fp32 on the CPU, under kohya's names."""
        exported = {}
        for part, modules in self._modules.items():
            for key, module in modules.items():
                for suffix, tensor in module.state_dict().items():
                    exported[f"{lora_name(part, _path(key))}.{suffix}"] = tensor.detach().float().cpu().contiguous()
        return exported

    def metadata(self) -> dict[str, str]:
        """kohya's `ss_network_*` entries."""
        return dict(self._metadata)


class LowRankModule(LoConModule):
    """LyCORIS' LoCon module, whose output passes over the layer's output once where LyCORIS' own takes three passes.

    The same numbers but for the last bits: W x + (alpha / rank) * up(down(x)).
    """

    def bypass_forward(self, x: Tensor, scale: float = 1) -> Tensor:
        """The layer's output with the update added."""
        casts = torch.is_autocast_enabled(x.device.type)
        if (self.rank_dropout and self.training) or not (casts or x.dtype == self.lora_down.weight.dtype):
            return super().bypass_forward(x, scale)  # type: ignore[arg-type]
        change = self.dropout(self.lora_up(self.lora_down(x)))
        return torch.add(self.org_forward(x), change, alpha=self.scale * scale)


def find_layers(part: nn.Module, patterns: Sequence[str]) -> list[tuple[str, nn.Module]]:
    """The linear and convolution layers whose path matches any of the patterns, in the model's order."""
    wanted = [re.compile(pattern) for pattern in patterns]
    return [
        (path, module)
        for path, module in part.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and any(pattern.search(path) for pattern in wanted)
    ]


def _shape(tensors: Mapping[str, Tensor], name: str) -> str:
    return "x".join(str(side) for side in tensors[name].shape) if name in tensors else "nothing"


def _key(path: str) -> str:
    return path.replace(".", "/")  # a ModuleDict's keys can't have dots


def _path(key: str) -> str:
    return key.replace("/", ".")
