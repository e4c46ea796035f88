"""A run encodes what the cache lacks, says what it uses of it, and is told at once that it can't be written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from core.dataset.cache import Cache
from core.manager.training_executor import Job
from core.registry import registry
from core.training.cache_usage import cache_summary, clear_cache, prune_cache
from core.training.encoding import identity
from core.training.events import Event, Failed, Finished, Phase, read_events
from core.training.run_folder import RunFolder

Train = Callable[..., tuple[Job, Event | None]]


def entries(folder: Path) -> dict[str, int]:
    """Name -> when it was written, of all files of the cache."""
    return {path.name: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")}


def changes(workspace: Path, pictures: Path) -> dict[str, object]:
    return {"concept": {"folder": str(pictures)}, "saving": {"workspace": str(workspace)}, "training": {"max_steps": 1}}


@pytest.fixture
def own(pictures: Path, tmp_path: Path) -> Path:
    """Pictures of this test's own."""
    return shutil.copytree(pictures, tmp_path / "pictures")


def test_a_second_run_encodes_only_what_is_new(train: Train, own: Path, tmp_path: Path) -> None:
    _, ending = train(changes=changes(tmp_path / "one", own))
    assert isinstance(ending, Finished), ending
    before = entries(tmp_path / "cache")
    assert len(before) == 6 + 6
    (own / "3.txt").write_text("a ball, green")
    (own / "4.png").rename(own / "other name.png")
    (own / "4.txt").rename(own / "other name.txt")
    _, ending = train(changes=changes(tmp_path / "two", own))
    assert isinstance(ending, Finished), ending
    after = entries(tmp_path / "cache")
    assert len(after.keys() - before.keys()) == 1
    assert all(after[name] == written for name, written in before.items())


def test_a_run_says_what_it_uses(train: Train, own: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (own / "3.txt").write_text(f"a ball, number {name}")
        _, ending = train(changes=changes(tmp_path / name, own))
        assert isinstance(ending, Finished), ending
    cache = tmp_path / "cache"
    summary = cache_summary(cache)
    assert summary.workspaces == [tmp_path / "one", tmp_path / "two"]
    assert {kind: amount.files for kind, amount in summary.kinds.items()} == {"latents": 6, "text": 7}
    assert summary.unused == {}
    shutil.rmtree(tmp_path / "one")
    assert {kind: amount.files for kind, amount in prune_cache(cache).items()} == {"text": 1}
    assert len(entries(cache)) == 12
    clear_cache(cache)
    assert entries(cache) == {}


def test_a_cache_that_cannot_be_written_is_told_before_any_work(train: Train, own: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file in its place")
    job, ending = train(changes=changes(tmp_path / "one", own))
    assert isinstance(ending, Failed)
    assert str(tmp_path / "cache") in ending.what and "can't be written" in ending.what
    folder = RunFolder(job.workspace)
    titles = [event.title for event in read_events(folder.events_path)[0] if isinstance(event, Phase)]
    assert not folder.manifest_path.exists() and "Reading the pictures" not in titles


def test_without_caching_the_cache_folder_is_not_touched(train: Train, own: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file in its place")
    memory = {"memory": {"latent_caching": False, "text_caching": False}}
    _, ending = train(changes=changes(tmp_path / "one", own) | memory)
    assert isinstance(ending, Finished), ending


def test_a_cache_that_vanishes_after_it_was_filled_is_told_with_a_file(
    train: Train, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    get = Cache.get

    def vanishes(cache: Cache, kind: str, key: str) -> dict[str, torch.Tensor] | None:
        shutil.rmtree(cache.folder, ignore_errors=True)
        return get(cache, kind, key)  # type: ignore[arg-type]

    monkeypatch.setattr(Cache, "get", vanishes)
    _, ending = train(changes=changes(tmp_path / "one", own))
    assert isinstance(ending, Failed)
    assert f"{tmp_path / 'cache'}/latents/" in ending.what and ".safetensors is gone" in ending.what


@pytest.mark.parametrize(("part", "fact"), [("vae", "scaling_factor"), ("vae", "act_fn"), ("text_1", "hidden_act")])
def test_what_the_config_says_tells_encoders_apart(part: str, fact: str) -> None:
    module: nn.Module = registry("families").get("sd15")().tiny().parts[part]
    before = identity(module, [fact])
    assert identity(module, [fact]) == before
    config = module.config
    if part == "vae":
        module.register_to_config(**{fact: "other"})  # type: ignore[operator]
    else:
        setattr(config, fact, "other")
    assert identity(module, [fact]) != before
    assert identity(module, []) == identity(module, [])
