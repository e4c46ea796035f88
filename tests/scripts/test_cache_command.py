"""`./run-cmd.sh cache` shows what a folder holds, and removes what is asked for."""

from pathlib import Path

import pytest
import torch

from core.dataset.cache import Cache
from core.training.cache_usage import Usage
from core.training.run_folder import RunFolder
from scripts.cache import main

ONE, TWO = "1a" * 20, "2b" * 20


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """A picture that the run in the workspace `run` uses, and a caption that nobody does."""
    cache, workspace = Cache(tmp_path / "cache"), tmp_path / "run"
    workspace.mkdir()
    (workspace / "run.toml").write_text("")
    cache.put("latents", ONE, {"latents": torch.zeros(4, 32, 32)})
    cache.put("text", TWO, {"hidden": torch.zeros(7, 8)})
    Usage(cache, workspace).record("latents", [ONE])
    return cache


def run(cache: Cache, *arguments: str) -> int:
    return main(["--folder", str(cache.folder), *arguments])


def test_it_shows_sizes_and_what_would_go(cache: Cache, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(cache) == 0
    holds, used, would = capsys.readouterr().out.splitlines()
    assert "2 files, 16.8 kB (pictures: 1 files, 16.5 kB; captions: 1 files, " in holds
    assert used == "Used by 1 workspaces."
    assert would.startswith("--prune would remove 1 files, ") and "captions: 1 files" in would
    assert cache.has("latents", ONE) and cache.has("text", TWO)


def test_prune_and_clear(cache: Cache, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(cache, "--prune") == 0
    assert "Removed 1 files" in capsys.readouterr().out.splitlines()[-1]
    assert cache.has("latents", ONE) and not cache.has("text", TWO)
    assert run(cache, "--clear") == 0
    assert "Removed 1 files" in capsys.readouterr().out.splitlines()[-1]
    assert not cache.has("latents", ONE)


def test_clear_while_a_run_is_going_on(cache: Cache, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RunFolder(tmp_path / "run").lock():
        assert run(cache, "--clear") == 2
        told = capsys.readouterr()
        assert "1 with a run that is going on" in told.out and str(tmp_path / "run") in told.err
    assert cache.has("latents", ONE)


def test_a_folder_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--folder", str(tmp_path / "none")]) == 2
    assert "no folder" in capsys.readouterr().err
