"""Settings of cost: the numbers stay equal, and the cost is another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from core.contracts import Framing, Model
from core.registry import registry
from core.training.setup import switch_on_checkpointing

Step = tuple[float, list[Tensor], int]


def one_step(part: str, checkpointing: bool) -> Step:
    """The loss, the gradients, and the bytes that wait for the backward pass, of a step through a tiny model."""
    family = registry("families").get("sd15")()
    model: Model = family.tiny()
    trained = model.parts[part].train().requires_grad_(True)
    if checkpointing:
        switch_on_checkpointing(trained)
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    weights = {parameter.data_ptr() for parameter in trained.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = loss_of(family, model)
    waiting = sum(size for place, size in kept.items() if place not in weights)
    loss.backward()
    return float(loss), [p.grad for p in trained.parameters() if p.grad is not None], waiting


def loss_of(family: Any, model: Model) -> Tensor:
    encoded = [{"text_1": one} for one in family.encode_text(model, "text_1", ["a ball", "two balls"])]
    conditions = family.collate(encoded, [Framing((64, 64), (0, 0), (64, 64))] * 2)
    noisy = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    return family.predict(model, noisy, torch.tensor([100, 800]), conditions).square().mean()


@pytest.mark.parametrize("part", ["denoiser", "text_1"])
def test_gradient_checkpointing_keeps_less_for_equal_gradients(part: str) -> None:
    loss, gradients, waiting = one_step(part, checkpointing=False)
    again, recomputed, fewer = one_step(part, checkpointing=True)
    assert again == loss
    assert len(gradients) == len(recomputed) > 0
    assert all(torch.equal(one, other) for one, other in zip(gradients, recomputed, strict=True))
    assert fewer < 0.97 * waiting  # a tiny text encoder has little to keep


@pytest.mark.parametrize(
    "changes",
    [
        {"memory": {"gradient_checkpointing": True}},
        {"memory": {"fused_backward": True}, "training": {"max_grad_norm": 0.0}},
    ],
    ids=["gradient checkpointing", "fused backward"],
)
def test_a_whole_run_learns_the_same(changes: dict[str, Any], train: Callable[..., Any], tmp_path: Any) -> None:
    from safetensors.torch import load_file

    base = {"training": {"max_steps": 3, **changes.get("training", {})}}
    results = []
    for number, memory in enumerate([{}, changes["memory"]]):
        _, ending = train("sd15", base | {"memory": memory, "saving": {"workspace": str(tmp_path / str(number))}})
        results.append(load_file(ending.path))
    one, other = results
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
