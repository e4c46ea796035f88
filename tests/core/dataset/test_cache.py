"""The cache's files: found by their keys, whole or not at all, checked, shared by processes."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from core.dataset.cache import Cache, Kind
from core.errors import OchreError, WorkspaceError

KEY = "ab" * 20


def test_tensors_come_back_as_they_went(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    tensors = {"a": torch.randn(3, 4), "b": torch.randn(2).to(torch.bfloat16), "c": torch.randn(4, 3).T}
    assert cache.get("text", KEY) is None
    assert not cache.has("text", KEY)
    cache.put("text", KEY, tensors)
    path = cache.path("text", KEY)
    assert path == tmp_path / "text" / "ab" / f"{KEY}.safetensors"
    assert cache.has("text", KEY) and not cache.has("latents", KEY)
    found = cache.get("text", KEY)
    assert found is not None and found.keys() == tensors.keys()
    other = load_file(path)  # by the library, which knows nothing of us
    for name, tensor in tensors.items():
        assert torch.equal(found[name], tensor) and found[name].dtype == tensor.dtype
        assert torch.equal(other[name], tensor)
    assert cache.get("latents", KEY) is None
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("damage", ["half", "empty", "nonsense", "without its end", "zeros", "brackets"])
def test_a_broken_file_is_missing_and_said_so(damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = Cache(tmp_path)
    cache.put("latents", KEY, {"latents": torch.randn(4, 8, 8)})
    path = cache.path("latents", KEY)
    whole = path.read_bytes()
    damaged = {
        "half": whole[: len(whole) // 2],
        "empty": b"",
        "nonsense": b"x" * len(whole),
        "without its end": whole[:-1],
        "zeros": bytes(len(whole)),
        "brackets": (4000).to_bytes(8, "little") + b"[" * 4000,
    }
    path.write_bytes(damaged[damage])
    with caplog.at_level(logging.WARNING):
        assert not cache.has("latents", KEY)
    assert str(path) in caplog.text
    assert cache.get("latents", KEY) is None
    assert not path.exists()
    cache.put("latents", KEY, {"latents": torch.ones(2)})
    assert cache.has("latents", KEY)


def test_changed_content_is_found_out_when_it_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = Cache(tmp_path)
    cache.put("latents", KEY, {"latents": torch.zeros(4, 8, 8)})
    path = cache.path("latents", KEY)
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        assert cache.get("latents", KEY) is None
    assert "not what was written" in caplog.text
    assert not cache.has("latents", KEY), "so that the next start makes it again"


@pytest.mark.parametrize("place", ["a file", "inside a file", "/proc/ochre", "kind"])
def test_a_folder_that_cannot_be_written_is_an_error_that_names_it(place: str, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "text").write_text("a file where a kind's folder would be")
    folders = {"a file": tmp_path / "taken", "inside a file": tmp_path / "taken" / "in", "kind": tmp_path / "cache"}
    folder = folders.get(place, Path(place))
    with pytest.raises(WorkspaceError, match="cache folder") as caught:
        Cache(folder).check_writable()
    assert str(folder) in str(caught.value) and "cache_dir" in str(caught.value)


def test_a_folder_that_can_be_written_stays_empty(tmp_path: Path) -> None:
    Cache(tmp_path / "new" / "cache").check_writable()
    assert [path for path in (tmp_path / "new").rglob("*") if path.is_file()] == []


def test_an_entry_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    (tmp_path / "cache").write_text("a file came in its place")
    with pytest.raises(OchreError, match="can't be written") as caught:
        cache.put("latents", KEY, {"latents": torch.zeros(1)})
    assert str(cache.path("latents", KEY)) in str(caught.value)
    assert not cache.has("latents", KEY) and cache.get("latents", KEY) is None


@pytest.mark.slow
def test_two_processes_write_and_read_the_same_entries_at_once(tmp_path: Path) -> None:
    code = f"""
import torch
from core.dataset.cache import Cache
cache, kind = Cache({str(tmp_path)!r}), "latents"
for turn in range(40):
    for number in range(10):
        key = f"{{number:02d}}" * 20
        found = cache.get(kind, key)
        assert found is None or torch.equal(found["latents"], torch.full((4, 64, 64), float(number))), number
        cache.put(kind, key, {{"latents": torch.full((4, 64, 64), float(number))}})
        assert cache.has(kind, key)
"""
    runs = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for run in runs:
        _, errors = run.communicate(timeout=120)
        assert run.returncode == 0, errors
        assert "broken" not in errors
    kind: Kind = "latents"
    assert len(list((tmp_path / kind).rglob("*.safetensors"))) == 10
    assert list(tmp_path.rglob("*.part")) == []
