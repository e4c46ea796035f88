"""Every algorithm with settings worth a test, and a small model with each kind of layer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.contracts import Model, Network, PartLayers
from core.networks._adapter import Adapter
from core.networks.boft import Boft
from core.networks.dylora import Dylora
from core.networks.full import Full
from core.networks.glora import Glora
from core.networks.ia3 import Ia3
from core.networks.locon import Locon
from core.networks.loha import Loha
from core.networks.lokr import Lokr
from core.networks.lora import Lora
from core.networks.norms import Norms
from core.networks.oft import Oft
from core.networks.tlora import Tlora

# alpha is never the rank, so that a scale that is missing or taken twice shows
SMALL = {"rank": 2, "alpha": 3.0}
ALL = {**SMALL, "layers": "all"}
CASES: dict[str, tuple[type[Adapter], dict[str, Any]]] = {
    "lora": (Lora, ALL),
    "lora, rank-stabilised": (Lora, {**ALL, "rank_stabilised": True}),
    "lora, trained factor": (Lora, {**ALL, "use_scalar": True}),
    "lora, pissa": (Lora, {**ALL, "initial": "pissa"}),
    "lora, dora by input": (Lora, {**ALL, "decompose": True}),
    "lora, dora by output": (Lora, {**ALL, "decompose": True, "decompose_by": "output"}),
    "locon": (Locon, {**ALL, "conv_rank": 3, "conv_alpha": 2.0}),
    "locon, tucker": (Locon, {**ALL, "conv_rank": 3, "conv_alpha": 2.0, "tucker": True}),
    "locon, tucker and dora": (Locon, {**ALL, "tucker": True, "decompose": True}),
    "loha": (Loha, ALL),
    "loha, tucker": (Loha, {**ALL, "tucker": True}),
    "loha, dora": (Loha, {**ALL, "decompose": True}),
    "loha, trained factor": (Loha, {**ALL, "use_scalar": True}),
    "lokr": (Lokr, {**ALL, "factor": 2}),
    "lokr, rank-stabilised": (Lokr, {**ALL, "factor": 2, "rank_stabilised": True}),
    "lokr, both of low rank": (Lokr, {**ALL, "factor": 6, "rank": 1, "decompose_both": True}),
    "lokr, whole": (Lokr, {**ALL, "full_matrix": True}),
    "lokr, tucker": (Lokr, {**ALL, "factor": 2, "tucker": True}),
    "lokr, unbalanced": (Lokr, {**ALL, "factor": 2, "unbalanced_factorization": True}),
    "lokr, dora": (Lokr, {**ALL, "factor": 2, "decompose": True}),
    "dylora": (Dylora, {**ALL, "rank": 4, "block_size": 2}),
    "glora": (Glora, ALL),
    "ia3": (Ia3, {"layers": "all"}),
    "ia3, on the input": (Ia3, {"layers": "all", "train_on_input": True}),
    "oft": (Oft, {"layers": "all", "block_size": 3}),
    "oft, rescaled, bound": (Oft, {"layers": "all", "block_size": 3, "rescaled": True, "constraint": 0.01}),
    "oft, large blocks": (Oft, {"layers": "all", "block_size": 32}),
    "boft": (Boft, {"layers": "all", "block_size": 6}),
    "boft, rescaled, bound": (Boft, {"layers": "all", "block_size": 6, "rescaled": True, "constraint": 0.01}),
    "full": (Full, {"layers": "all"}),
    "norms": (Norms, {}),
    "lora, with norms": (Lora, {**ALL, "train_norms": True}),
    "tlora": (Tlora, {**SMALL, "layers": "linear"}),
}
RUNS = [pytest.param(*case, id=name) for name, case in CASES.items()]
"""Each case by its name: class and settings."""


class Denoiser(nn.Module):
    """Each kind of layer: 3x3 with stride, 1x1, linear with and without bias, both norms."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.point = nn.Conv2d(6, 24, 3, stride=2, padding=1), nn.Conv2d(24, 12, 1)
        self.group, self.norm = nn.GroupNorm(3, 24), nn.LayerNorm(12)
        self.to_q, self.to_out = nn.Linear(12, 24, bias=False), nn.Linear(24, 12)

    def forward(self, x: Tensor) -> Tensor:
        x = self.point(F.silu(self.group(self.conv(x)))).flatten(2).transpose(1, 2)
        return x + self.to_out(torch.tanh(self.to_q(self.norm(x))))


def tiny_model() -> Model:
    torch.manual_seed(0)
    return Model("sd15", {"denoiser": Denoiser().requires_grad_(False).eval()}, {}, {})


def attach(cls: type[Adapter], settings: dict[str, Any], model: Model, **more: Any) -> Network:
    torch.manual_seed(1)
    return cls(**settings, **more).attach(model, {"denoiser": PartLayers({})})  # type: ignore[arg-type]


def picture() -> Tensor:
    return torch.randn(2, 6, 8, 8, generator=torch.Generator().manual_seed(3))


def disturb(network: Network, size: float = 0.1) -> None:
    """Move every trained weight, as training does."""
    generator = torch.Generator().manual_seed(2)
    for module in network.modules()["denoiser"].values():  # type: ignore[operator]
        disturb_one(module, size, generator)


def disturb_one(module: nn.Module, size: float, generator: torch.Generator | None = None) -> None:
    """Move the trained weights of one layer."""
    generator = generator or torch.Generator().manual_seed(2)
    for parameter in module.parameters():
        if parameter.requires_grad:
            parameter.data += torch.randn(parameter.shape, generator=generator).to(parameter) * size


def modules(network: Network) -> dict[str, Any]:
    return {key.replace("/", "."): module for key, module in network.modules()["denoiser"].items()}  # type: ignore[operator]


@contextmanager
def in_training(model: Model) -> Iterator[nn.Module]:
    yield model.parts["denoiser"].train()
    model.parts["denoiser"].eval()


def input_of(layer: Any, samples: int) -> Tensor:
    """A random input of a layer."""
    if isinstance(layer, nn.Conv2d | nn.GroupNorm):
        channels = layer.in_channels if isinstance(layer, nn.Conv2d) else layer.num_channels
        return torch.randn(samples, channels, 7, 5)
    return torch.randn(samples, 5, layer.in_features if isinstance(layer, nn.Linear) else layer.normalized_shape[0])
