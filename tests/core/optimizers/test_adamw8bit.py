"""bitsandbytes' AdamW: what of it is in 8 bits, and what is said where it doesn't work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from core.optimizers.adamw8bit import AdamW8bit

ROOT = Path(__file__).parents[3]

BROKEN = {
    "ImportError": "import a_library_that_is_not_there",
    "OSError": "import ctypes; ctypes.CDLL('libnowhere.so.99')",
    "RuntimeError": "raise RuntimeError('CUDA Setup failed')",
    "AttributeError": "None.cget_managed_ptr",
}


def test_small_tensors_keep_32_bits() -> None:
    large, small = (torch.nn.Parameter(torch.ones(rows, 64)) for rows in (64, 63))
    for weight in (large, small):
        weight.grad = torch.ones_like(weight)
    optimizer = AdamW8bit().build([{"params": [large, small], "lr": 1e-3}])
    optimizer.step()
    assert optimizer.state[large]["state1"].dtype == torch.uint8
    assert optimizer.state[small]["state1"].dtype == torch.float32


def test_the_size_from_which_8_bits_are_used_is_a_setting() -> None:
    weight = torch.nn.Parameter(torch.ones(16, 16))
    weight.grad = torch.ones_like(weight)
    optimizer = AdamW8bit(min_8bit_size=256).build([{"params": [weight], "lr": 1e-3}])
    optimizer.step()
    assert optimizer.state[weight]["state1"].dtype == torch.uint8


def test_works_here_in_earnest() -> None:
    assert AdamW8bit.self_test("cpu").works


def test_a_device_that_it_has_no_code_for() -> None:
    answer = AdamW8bit.self_test("vulkan")
    assert not answer.works and "vulkan" in answer.reason and answer.instead == "adamw"


@pytest.mark.parametrize("error", BROKEN)
def test_a_broken_library_is_a_reason_and_no_exception(error: str, tmp_path: Path) -> None:
    """A bitsandbytes that raises on import, as it does where its compiled part doesn't fit the machine."""
    package = tmp_path / "bitsandbytes"
    package.mkdir()
    (package / "__init__.py").write_text(BROKEN[error])
    code = (
        "from core.optimizers.adamw8bit import AdamW8bit as A\n"
        "assert A.availability('cuda').works\n"
        "answer = A.self_test('cuda')\n"
        "assert not answer.works and answer.instead == 'adamw', answer\n"
        "print(answer.reason)"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("bitsandbytes is installed, but doesn't work on this machine:")


def test_steps_that_are_not_adamws_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that computes nonsense without an error is caught by the comparison."""
    from bitsandbytes.optim import AdamW8bit as Theirs

    monkeypatch.setattr(Theirs, "step", lambda self: None)
    answer = AdamW8bit.self_test("cpu")
    assert not answer.works and "not AdamW's" in answer.reason


def test_betas_outside_their_bounds_are_a_problem() -> None:
    assert [problem.path for problem in AdamW8bit(betas=[0.9, 1.0]).check()] == ["betas.1"]
