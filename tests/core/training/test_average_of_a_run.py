"""What a run saves on its way can be averaged, and programs load the average as they do the files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from core.manager.training_executor import Job
from core.tools.average_loras import average, power_weights, saved_by_run
from core.training.events import Event, Finished

Train = Callable[..., tuple[Job, Event | None]]


def change(tensors: dict[str, torch.Tensor], layer: str) -> torch.Tensor:
    up, down = (tensors[f"{layer}.lora_{name}.weight"].double().flatten(1) for name in ("up", "down"))
    return float(tensors[f"{layer}.alpha"]) / up.shape[1] * up @ down


def test_the_files_of_a_run_become_one(train: Train, tmp_path: Path) -> None:
    changes = {"saving": {"every": "1 epoch", "name": "ball"}, "training": {"epochs": 3}}
    changes["parts"] = {"denoiser": {"learning_rate": 1e-2}}
    _, ending = train("sd15", changes)
    assert isinstance(ending, Finished), ending
    files = saved_by_run(Path(ending.path).parent, "ball")
    assert [one.path.stem for one in files] == ["ball-000001", "ball-000002", "ball"]
    assert [one.step for one in files] == [4, 8, 12]
    weights = power_weights([4, 8, 12], 0.2)
    made = average(files, weights, tmp_path / "ball-average.safetensors")
    assert min(made.kept.values()) > 0.95
    tensors, before = load_file(made.path), [load_file(one.path) for one in files]
    assert tensors.keys() == before[0].keys()
    assert {name: tensor.shape for name, tensor in tensors.items()} == {n: t.shape for n, t in before[0].items()}
    layer = next(name.partition(".")[0] for name in tensors)
    exact = torch.stack([w * change(one, layer) for w, one in zip(weights, before, strict=True)]).sum(0)
    share = float((change(tensors, layer) - exact).norm() / exact.norm())
    assert share == pytest.approx((1 - made.kept[layer] ** 2) ** 0.5, abs=1e-4)
