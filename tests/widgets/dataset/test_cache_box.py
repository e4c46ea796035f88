"""The cache's size is shown; what no run uses goes at a click, the rest only after a question."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from core.dataset.cache import Cache
from core.training.cache_usage import Usage
from core.training.run_folder import RunFolder
from widgets.dataset.cache_box import CacheBox

USED, UNUSED = "ab" * 16, "cd" * 16


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """A cache with a picture that a workspace uses, and one that none does."""
    cache = Cache(tmp_path / "cache")
    for key in (USED, UNUSED):
        cache.put("latents", key, {"latents": torch.zeros(4, 8, 8)})
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "run.toml").write_text("")
    Usage(cache, workspace).record("latents", [USED])
    return cache


@pytest.fixture
def box(cache: Cache) -> CacheBox:
    box = CacheBox(lambda: cache.folder)
    box.refresh()
    return box


def test_the_size_is_shown(box: CacheBox, cache: Cache) -> None:
    size = sum(path.stat().st_size for path in cache.folder.rglob("*.safetensors"))
    assert f"2 files, {size / 1e3:.3g} KB" in box._summary.value
    assert "1 workspace" in box._summary.value
    assert f"{size / 2e3:.3g} KB" in box.prune.description


def test_what_no_run_uses_is_removed(box: CacheBox, cache: Cache) -> None:
    box.prune.click()
    assert cache.has("latents", USED)
    assert not cache.has("latents", UNUSED)
    assert "1 file" in box._said.value
    assert box.prune.disabled
    assert not box.clear.disabled


def test_it_is_cleared_only_after_a_question(box: CacheBox, cache: Cache) -> None:
    box.clear.click()
    assert box._question in box.widget.children
    box._keep.click()
    assert box._question not in box.widget.children
    assert cache.has("latents", USED)
    box.clear.click()
    box.surely.click()
    assert not cache.has("latents", USED)
    assert "2 files" in box._said.value
    assert "empty" in box._summary.value
    assert box.clear.disabled


def test_a_cache_in_use_is_not_cleared(box: CacheBox, cache: Cache, tmp_path: Path) -> None:
    lock = RunFolder(tmp_path / "workspace").lock()
    box.clear.click()
    box.surely.click()
    assert "in use" in box._said.value
    assert cache.has("latents", USED)
    lock.release()


def test_no_folder_is_an_empty_cache(tmp_path: Path) -> None:
    box = CacheBox(lambda: tmp_path / "none")
    box.refresh()
    assert "empty" in box._summary.value
    assert box.clear.disabled
    assert not (tmp_path / "none").exists()
