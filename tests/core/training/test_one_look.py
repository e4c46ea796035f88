"""A step looks at the GPU once: for its losses and the gradients' norm. Each look waits for all that it is doing."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch

from core.training.loop import Progress, one_step
from core.training.setup import Run
from core.training.stepping import brought_over

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


@needs_gpu
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"training": {"gradient_accumulation_steps": 3}},
        {"ema": {"where": "device"}, "weightings": [{"name": "min_snr"}]},
        {"more_concepts": [{"kind": "prior_prediction"}], "parts": {"text_1": {"train": "yes"}}},
    ],
    ids=["plain", "accumulated", "averaged and weighted", "with prior prediction and a text encoder"],
)
def test_a_step_looks_at_the_gpu_once(changes: dict[str, Any], make_run: Callable[..., Run]) -> None:
    run = make_run({"memory": {"precision": "bf16"}, "logging": {"every_n_steps": 100}, **changes})
    progress = Progress()
    for _ in range(2):  # the first steps make the optimizer's state, and record
        one_step(run, progress)
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            one_step(run, progress)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    looks = [f"{one.filename}:{one.lineno}" for one in told if "synchroniz" in str(one.message)]
    assert len(looks) == 1, looks


def test_numbers_are_brought_over_in_their_order() -> None:
    tensors = [torch.tensor([1.0, 2.0]), torch.tensor(3.5), torch.tensor([], dtype=torch.bfloat16), torch.tensor([[4]])]
    assert brought_over(tensors) == [1.0, 2.0, 3.5, 4.0]
