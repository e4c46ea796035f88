"""What a panel is told of the optimizers, on machines where a library is missing, broken, crashing or hanging."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.config.lora import LoraConfig
from core.devices import Machine
from core.manager.optimizer_registry import OptimizerRegistry
from core.registry import registry
from core.settings.checks import validate

ROOT = Path(__file__).parents[3]
CPU = Machine("cpu", "Fast 9000", 16.0, 16.0, ("bf16", "fp32"), ())


def test_lists_every_optimizer_and_network() -> None:
    optimizers = OptimizerRegistry(CPU).entries()
    assert [entry.name for entry in optimizers] == registry("optimizers").names()
    assert {entry.name for entry in optimizers} >= {"adamw", "adamw8bit", "lion", "adafactor", "prodigy"}
    assert all(entry.availability.works and entry.label and entry.description for entry in optimizers)
    networks = OptimizerRegistry(CPU).networks()
    assert [entry.name for entry in networks] == registry("networks").names()
    by_name = {entry.name: entry for entry in networks}
    assert not any(by_name["lora"].loads_in.values()) and "ComfyUI" in by_name["lora"].loads_in
    assert by_name["loha"].loads_in["diffusers"] == "Refuses the file." and not by_name["loha"].loads_in["ComfyUI"]
    assert by_name["lokr"].settings["factor"] == "Factor" and "network_dim" in by_name["lokr"].also


def test_what_works_is_no_problem() -> None:
    assert OptimizerRegistry(CPU).problem("adamw") is None
    assert OptimizerRegistry(CPU).problem("adamw8bit") is None


def test_an_unknown_name() -> None:
    with pytest.raises(KeyError, match="adamw8bit"):
        OptimizerRegistry(CPU).check("adamw9bit")


@pytest.mark.parametrize("name", ["adamw8bit", "lion", "adafactor", "prodigy"])
def test_a_missing_library_is_a_problem_with_a_whole_replacement(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With none of the folders on the path where libraries are installed, none of them is found."""
    cls = registry("optimizers").get(name)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if "site-packages" not in entry])
    monkeypatch.delitem(sys.modules, cls.module, raising=False)
    problem = OptimizerRegistry(CPU).problem(name)
    assert problem is not None and problem.path == "optimizer.name"
    assert cls.library in problem.message and "AdamW does the same job" in problem.message
    assert problem.replacement == {"optimizer": registry("optimizers").get("adamw")().model_dump()}
    config, _ = validate(LoraConfig, problem.replacement)
    assert config is not None and config.optimizer.name == "adamw"


def _ask(library: str, tmp_path: Path, timeout: int = 100) -> str:
    """The problem with adamw8bit where bitsandbytes is this code, found by a process that must live on."""
    (tmp_path / "bitsandbytes").mkdir()
    (tmp_path / "bitsandbytes/__init__.py").write_text(library)
    code = f"""
from core.devices import Machine
from core.manager import optimizer_registry
optimizer_registry._TIMEOUT = {timeout}
here = optimizer_registry.OptimizerRegistry(Machine("cpu", "Fast", 16.0, 16.0, ("fp32",), ()))
assert here.check("adamw8bit").works, "the quick look doesn't import it"
problem = here.problem("adamw8bit", deep=True)
assert problem.replacement["optimizer"]["name"] == "adamw"
print(problem.message)
"""
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_a_library_that_raises(tmp_path: Path) -> None:
    answer = _ask("print('noise')\nraise RuntimeError('CUDA Setup failed despite CUDA being available')", tmp_path)
    assert "CUDA Setup failed" in answer and "AdamW does the same job" in answer


def test_a_library_that_ends_the_process(tmp_path: Path) -> None:
    answer = _ask("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", tmp_path)
    assert "crashed (signal 11)" in answer


def test_a_library_that_exits(tmp_path: Path) -> None:
    assert "crashed (status 3)" in _ask("import os; os._exit(3)", tmp_path)


def test_a_library_that_hangs(tmp_path: Path) -> None:
    assert "didn't end within 1 s" in _ask("import time; time.sleep(60)", tmp_path, timeout=1)


@pytest.mark.slow
def test_a_library_that_works_passes_its_trial() -> None:
    assert OptimizerRegistry(CPU).check("adamw8bit", deep=True).works
