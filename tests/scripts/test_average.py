"""The command that averages a run's LoRAs, on the files of a real run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from core.tools.average_loras import power_weights
from scripts import average


def save(folder: Path, name: str, step: int, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    tensors = {
        "lora_unet_a.lora_up.weight": torch.randn(6, 2, generator=draw),
        "lora_unet_a.lora_down.weight": torch.randn(2, 5, generator=draw),
        "lora_unet_a.alpha": torch.tensor(2.0),
    }
    save_file(tensors, folder / f"{name}.safetensors", {"ss_steps": str(step)})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for place, name in enumerate(("ball-000001", "ball-000002", "ball")):
        save(tmp_path, name, 10 * (place + 1), place)
    return tmp_path


def change(path: Path) -> torch.Tensor:
    tensors = load_file(path)
    up, down = tensors["lora_unet_a.lora_up.weight"], tensors["lora_unet_a.lora_down.weight"]
    return up.double() @ down.double() * (float(tensors["lora_unet_a.alpha"]) / up.shape[1])


def expected(folder: Path, weights: list[float]) -> torch.Tensor:
    names = ("ball-000001", "ball-000002", "ball")[-len(weights) :]
    parts = [w * change(folder / f"{name}.safetensors") for w, name in zip(weights, names, strict=True)]
    return torch.stack(parts).sum(0)


@pytest.mark.parametrize(
    "options, weights",
    [
        ([], power_weights([1, 2, 3], 0.2)),
        (["--sigma-rel", "0.1"], power_weights([1, 2, 3], 0.1)),
        (["--beta", "0.5"], [0.25, 0.25, 0.5]),
        (["--from-step", "20", "--beta", "0.5"], [1 / 3, 2 / 3]),
    ],
)
def test_a_run_is_averaged_with_the_weights_that_are_told(
    options: list[str], weights: list[float], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert average.main(["--folder", str(folder), "--name", "ball", "--rank", "0", *options]) == 0
    torch.testing.assert_close(
        change(folder / "ball-average.safetensors"), expected(folder, weights), rtol=1e-5, atol=1e-5
    )
    told = capsys.readouterr().out
    assert f"{weights[-1]:7.2%}  ball.safetensors  (step 30)" in told and "Written:" in told
    assert average.main(["--folder", str(folder), "--name", "ball"]) == 2
    assert "exists already" in capsys.readouterr().err
    assert average.main(["--folder", str(folder), "--name", "ball", "--overwrite"]) == 0
    assert "kept; least in lora_unet_a" in capsys.readouterr().out


def test_files_one_by_one_at_equal_distances(folder: Path) -> None:
    files = [str(folder / f"{name}.safetensors") for name in ("ball-000001", "ball-000002", "ball")]
    output = folder / "mine.safetensors"
    arguments = ["--files", *files, "--equal-distances", "--rank", "0", "--output", str(output)]
    assert average.main(arguments) == 0
    torch.testing.assert_close(change(output), expected(folder, power_weights([1, 2, 3], 0.2)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--name", "cube"], "no LoRA called cube"),
        ([], "--name"),
        (["--name", "ball", "--from-step", "99"], "Nothing was saved from step 99 on"),
        (["--name", "ball", "--from-step", "30"], "needs two"),
        (["--name", "ball", "--sigma-rel", "2"], "must be above 0"),
        (["--name", "ball", "--rank", "-1"], "can't be below 0"),
    ],
)
def test_mistakes_are_told(arguments: list[str], said: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert average.main(["--folder", str(folder), *arguments]) == 2
    assert said in capsys.readouterr().err
    assert not (folder / "ball-average.safetensors").exists()
