"""Trained modules, attached to the layers of a model: found by pattern, registered, taken off again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from core.contracts import Model, Part
from core.errors import OchreError
from core.networks._groups import optimizer_groups
from core.networks._modules.change import Change
from core.networks._norms import Limited, is_product, limit_norms
from core.networks._plain import plain_lora, with_one_alpha
from core.networks._rules import Said

if TYPE_CHECKING:
    from core.networks._adapter import Adapter

SUBMODULE = "ochre_network"
"""Name under which a part holds what is attached to it. DDP and `.to()` see it there."""

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Target:
    """A layer to change, by its path. rank, alpha: of its update. said: what the rules say of it."""

    path: str
    layer: nn.Module
    rank: int
    alpha: float
    said: Said


class Attached:
    """A network of one trained module per layer (contracts.Network).

    The changes are added to the layers' outputs, not to their weights: a bf16 base would round small updates of its
    weights away.
    """

    def __init__(self, adapter: Adapter, model: Model, targets: Mapping[Part, Sequence[Target]]) -> None:
        """targets: the layers of each part that are changed."""
        self._adapter = adapter
        self._modules: dict[Part, nn.ModuleDict] = {}
        self._limited: Limited | None = None
        self._remarks: list[str] = []
        self._targets = {(part, _key(target.path)): target for part, found in targets.items() for target in found}
        for part, layers in targets.items():
            self._modules[part] = self._attach(model.parts[part], layers)

    def _attach(self, part: nn.Module, layers: Sequence[Target]) -> nn.ModuleDict:
        attached = nn.ModuleDict()
        for target in layers:
            module: Any = self._make(target)
            module.apply_to()
            attached[_key(target.path)] = module
        part.add_module(SUBMODULE, attached.train(part.training))
        return attached

    def _make(self, target: Target) -> Change:
        """The trained module of a layer, on its device; its buffers (alpha ...) stay fp32."""
        module = self._adapter.build(target)
        module.to(device=target.layer.weight.device, dtype=torch.float32)  # type: ignore[arg-type]
        module.hold_in(DTYPES[self._adapter.weight_dtype])
        return module

    def modules(self) -> Mapping[Part, nn.Module]:
        """The trained modules of each part."""
        return self._modules

    def layers(self) -> Iterator[tuple[Part, str]]:
        """Part and path of each changed layer."""
        for part, modules in self._modules.items():
            for key in modules:
                yield part, _path(key)

    def changes(self) -> Iterator[tuple[tuple[Part, str], Change]]:
        """The trained module of each layer, with the layer's part and path."""
        for part, modules in self._modules.items():
            for key, module in modules.items():
                yield (part, _path(key)), module  # type: ignore[misc]

    def groups(self, rates: Mapping[Part, float]) -> list[dict[str, Any]]:
        """Optimizer groups by part and by what the rules say; see `optimizer_groups`."""
        changes = {
            part: [(self._targets[part, key].said, module) for key, module in modules.items()]
            for part, modules in self._modules.items()
        }
        return optimizer_groups(changes, rates, self._adapter.up_ratio)

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """Inside, the model is as it was before."""
        modules: list[Any] = [module for part in self._modules.values() for module in part.values()]
        for module in reversed(modules):  # the last put on is the first taken off
            module.restore()
        try:
            yield
        finally:
            for module in modules:
                module.apply_to()

    def before_step(self, levels: Tensor) -> None:
        """Tell the denoiser's modules the noise levels, if the algorithm goes by them."""
        at = self._adapter.at_levels(levels)
        if at is not None:
            for module in self._modules.get("denoiser", nn.ModuleDict()).children():
                module.at = at  # type: ignore[assignment]

    def after_step(self) -> None:
        """Scale the updates down that became larger than the limit."""
        if limit := self._adapter.norm_limit():
            every = [module for modules in self._modules.values() for module in modules.values() if is_product(module)]
            self._limited = limit_norms(every, limit)

    def norms(self) -> dict[str, float]:
        """The norm of each part's trained weights; with a limit of norms, also what it did in the last step."""
        found = {
            part: float(torch.stack([t.float().norm() for m in modules.values() for t in m.trained().values()]).norm())  # type: ignore[operator]
            for part, modules in self._modules.items()
        }
        return found | (self._limited.curves() if self._limited else {})

    def beside(self, lora_name: Callable[[Part, str], str]) -> dict[str, dict[str, Tensor]]:
        """The plain LoRA of the same effect, if it is wished."""
        self._remarks = []
        rank = self._adapter.rank_beside()
        if not rank:
            return {}
        changes = (
            (lora_name(part, _path(key)), module)
            for part, inside in self._modules.items()
            for key, module in inside.items()
        )
        plain = plain_lora(changes, rank)  # type: ignore[arg-type]
        self._remarks = [plain.told()]
        return {"plain": plain.tensors}

    def remarks(self) -> list[str]:
        """How much of the change the plain LoRA holds."""
        return list(self._remarks)

    def state(self) -> dict[str, Tensor]:
        """The trained weights: `part.path.weight` -> tensor."""
        return {
            f"{part}.{key}.{name}": tensor
            for part, modules in self._modules.items()
            for key, module in modules.items()
            for name, tensor in module.trained().items()  # type: ignore[operator]
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
                for suffix, tensor in module.to_file().items():  # type: ignore[operator]
                    exported[f"{lora_name(part, _path(key))}.{suffix}"] = tensor.detach().float().cpu().contiguous()
        return with_one_alpha(exported)

    def metadata(self) -> dict[str, str]:
        """kohya's `ss_network_*` entries."""
        return self._adapter.metadata()


def _shape(tensors: Mapping[str, Tensor], name: str) -> str:
    return "x".join(str(side) for side in tensors[name].shape) if name in tensors else "nothing"


def _key(path: str) -> str:
    return path.replace(".", "/")  # a ModuleDict's keys can't have dots


def _path(key: str) -> str:
    return key.replace("/", ".")
