"""What runs use is kept, what none uses goes, and nothing that isn't ours is ever touched."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import pytest
import torch

from core.config.lora import LoraConfig
from core.dataset.cache import Cache, Kind
from core.errors import WorkspaceError
from core.settings.checks import load
from core.training import cache_usage
from core.training.cache_usage import (
    DEFAULT,
    Amount,
    Usage,
    begin_usage,
    cache_folder,
    cache_summary,
    clear_cache,
    prune_cache,
)
from core.training.run_folder import RunFolder, propose_workspace

KEYS = [f"{number:02x}" * 20 for number in range(6)]


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """Three pictures and three captions, and a caption of a tile."""
    cache = Cache(tmp_path / "cache")
    for key in KEYS[:3]:
        cache.put("latents", key, {"latents": torch.zeros(4, 8, 8)})
    for key in KEYS[3:]:
        cache.put("text", key, {"hidden": torch.zeros(7, 8)})
    tile = cache.folder / "tile_captions" / "ab" / f"{'ab' * 20}.json"
    tile.parent.mkdir(parents=True)
    tile.write_text('{"caption": "a hand"}')
    return cache


def workspace(tmp_path: Path, name: str) -> Path:
    path = tmp_path / name
    path.mkdir()
    (path / "run.toml").write_text("")
    return path


def use(cache: Cache, workspace: Path, latents: list[str], text: list[str]) -> Usage:
    usage = Usage(cache, workspace)
    usage.begin()
    usage.record("latents", latents)
    usage.record("text", text)
    return usage


def there(cache: Cache) -> set[str]:
    return {key for key in KEYS for kind in ("latents", "text") if cache.path(kind, key).exists()}


def test_the_summary_counts_kinds_and_what_nobody_uses(cache: Cache, tmp_path: Path) -> None:
    use(cache, workspace(tmp_path, "one"), KEYS[:1], KEYS[3:5])
    use(cache, gone := workspace(tmp_path, "two"), KEYS[1:2], [])
    shutil.rmtree(gone)
    summary = cache_summary(cache.folder)
    size = cache.path("latents", KEYS[0]).stat().st_size
    text = cache.path("text", KEYS[3]).stat().st_size
    assert summary.kinds["latents"] == Amount(3, 3 * size)
    assert summary.kinds["text"] == Amount(3, 3 * text)
    assert summary.kinds["tile_captions"].files == 1
    assert summary.unused == {"latents": Amount(2, 2 * size), "text": Amount(1, text)}
    assert summary.total.files == 7 and summary.prunable == Amount(3, 2 * size + text)
    assert (summary.workspaces, summary.gone, summary.running) == ([tmp_path / "one"], [gone], [])
    assert there(cache) == set(KEYS)


def test_pruning_removes_what_no_existing_workspace_uses(cache: Cache, tmp_path: Path) -> None:
    use(cache, workspace(tmp_path, "one"), KEYS[:1], KEYS[3:5])
    use(cache, gone := workspace(tmp_path, "two"), KEYS[1:2], [])
    shutil.rmtree(gone)
    expected = cache_summary(cache.folder).unused
    assert prune_cache(cache.folder) == expected
    assert there(cache) == {KEYS[0], KEYS[3], KEYS[4]}
    assert cache_summary(cache.folder).gone == []
    assert cache_summary(cache.folder).kinds["tile_captions"].files == 1
    assert prune_cache(cache.folder) == {}


def test_a_run_that_goes_on_keeps_what_it_uses(cache: Cache, tmp_path: Path) -> None:
    folder = RunFolder(workspace(tmp_path, "one"))
    use(cache, folder.path, KEYS[:1], KEYS[3:4])
    unfinished = cache.folder / "latents" / "00" / f".{KEYS[0]}.safetensors.{'0' * 32}.part"
    unfinished.write_bytes(b"being written")
    lock = folder.lock()
    try:
        assert cache_summary(cache.folder).running == [folder.path]
        with pytest.raises(WorkspaceError, match="in use by the run") as caught:
            clear_cache(cache.folder)
        assert str(folder.path) in str(caught.value)
        assert there(cache) == set(KEYS)
        prune_cache(cache.folder)
        assert there(cache) == {KEYS[0], KEYS[3]}
        assert unfinished.exists()
    finally:
        lock.release()
    prune_cache(cache.folder)
    assert not unfinished.exists()
    assert there(cache) == {KEYS[0], KEYS[3]}


def test_clearing_removes_all_that_is_ours_and_nothing_else(cache: Cache, tmp_path: Path) -> None:
    use(cache, workspace(tmp_path, "one"), KEYS[:1], [])
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / f"{KEYS[0]}.safetensors").write_text("of somebody else")
    strangers = [
        cache.folder / "notes.txt",
        cache.folder / "latents" / "model.safetensors",
        cache.folder / "latents" / "00" / "model.safetensors",
        cache.folder / "latents" / "00" / f"{KEYS[1]}.safetensors",  # in the folder of other letters
        cache.folder / "latents" / "holiday" / f"{KEYS[0]}.safetensors",
        cache.folder / "pictures" / "00" / f"{KEYS[0]}.safetensors",
        cache.folder / "runs" / "notes.json",
    ]
    for path in strangers:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("not ours")
    link = cache.folder / "text" / "ff"
    link.symlink_to(outside)
    removed = clear_cache(cache.folder)
    assert {kind: amount.files for kind, amount in removed.items()} == {"latents": 3, "text": 3, "tile_captions": 1}
    assert there(cache) == set()
    assert all(path.exists() for path in [*strangers, link, outside / f"{KEYS[0]}.safetensors"])
    summary = cache_summary(cache.folder)
    assert summary.total == Amount() and summary.workspaces == []


def test_what_an_earlier_session_used_stays_until_the_next_one_says_what_it_uses(cache: Cache, tmp_path: Path) -> None:
    place = workspace(tmp_path, "one")
    use(cache, place, KEYS[:2], KEYS[3:4])
    again = Usage(cache, place)
    again.begin()
    prune_cache(cache.folder)
    assert there(cache) == {*KEYS[:2], KEYS[3]}
    again.record("latents", KEYS[:1])
    again.record("text", KEYS[3:4])
    again.record("text", KEYS[4:5])
    prune_cache(cache.folder)
    assert there(cache) == {KEYS[0], KEYS[3]}


def test_a_run_that_begins_while_another_prunes_waits(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it could find an entry there that is removed a moment later."""
    place, kind = workspace(tmp_path, "one"), "latents"
    seen: list[bool] = []

    def begins(kind: Kind = kind) -> None:
        use(cache, place, KEYS[:1], [])
        seen.append(cache.has(kind, KEYS[0]))

    thread, delete = threading.Thread(target=begins), cache_usage._delete

    def slowly(path: Path) -> None:
        if not thread.ident:
            thread.start()
            thread.join(0.5)
            assert thread.is_alive() and not seen
        delete(path)

    monkeypatch.setattr(cache_usage, "_delete", slowly)
    prune_cache(cache.folder)
    thread.join(10)
    assert seen == [False]


def test_a_record_that_cannot_be_read_stops_everything(cache: Cache, tmp_path: Path) -> None:
    use(cache, workspace(tmp_path, "one"), KEYS[:1], [])
    record = next((cache.folder / "runs").glob("*.json"))
    for text in ("{", "[]", json.dumps({"version": 9}), json.dumps({"version": 1, "workspace": "/x"})):
        record.write_text(text)
        for attempt in (prune_cache, clear_cache, cache_summary):
            with pytest.raises(WorkspaceError, match="can't be read") as caught:
                attempt(cache.folder)
            assert str(record) in str(caught.value)
    assert there(cache) == set(KEYS)


def test_a_folder_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert cache_summary(tmp_path / "none").total == Amount()
    assert prune_cache(tmp_path / "none") == {} == clear_cache(tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("caching", [{"latent_caching": True}, {"text_caching": True}, {"captions tiles": True}, {}])
def test_the_folder_is_only_asked_for_where_something_is_kept(caching: dict[str, bool], tmp_path: Path) -> None:
    crops = {"enabled": True, "enable_captioning": "captions tiles" in caching}
    memory = {"latent_caching": False, "text_caching": False, "cache_dir": str(tmp_path / "cache")}
    data = {
        "base": {"source": "model.safetensors"},
        "concepts": [{"folder": "pictures", "image": {"detail_crops": crops}}],
        "memory": memory | {name: True for name in caching if name in memory},
    }
    config = load(LoraConfig, data)
    begin_usage(config, tmp_path / "run")
    assert (tmp_path / "cache").exists() == bool(caching)
    (tmp_path / "other").write_text("a file")
    config.memory.cache_dir = str(tmp_path / "other")
    if caching:
        with pytest.raises(WorkspaceError, match="other can't be written"):
            begin_usage(config, tmp_path / "run")
    else:
        begin_usage(config, tmp_path / "run")


def test_the_cache_lies_beside_the_workspace_unless_it_is_set(tmp_path: Path) -> None:
    config = load(LoraConfig, {"base": {"source": "a"}, "concepts": [{"folder": "b"}]})
    assert cache_folder(config, tmp_path / "runs" / "one") == tmp_path / "runs" / "cache"
    assert cache_folder(config, propose_workspace("demo")) == DEFAULT
    config.memory.cache_dir = "/elsewhere"
    assert cache_folder(config, tmp_path / "one") == Path("/elsewhere")
