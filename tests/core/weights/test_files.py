"""Reading one tensor at a time, writing all or nothing, and the hashes of files and models."""

import hashlib
import os
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save, save_file

from core.errors import ModelFileError, OchreError
from core.weights.files import (
    fingerprint,
    kohya_hashes,
    legacy_hash,
    model_hash,
    open_tensors,
    sha256_of,
    write_safetensors,
)

BASE = torch.arange(12.0)
TENSORS = {
    "bfloat": torch.randn(3, 4).bfloat16(),
    "number": torch.tensor(3),
    "rows": BASE[:6].reshape(2, 3),
    "same rows": BASE[:6].reshape(2, 3),
    "columns": BASE.reshape(3, 4).T,
    "whole": BASE,
    "tied": BASE,
    "trained": torch.nn.Parameter(torch.randn(2)),
    "empty": torch.zeros(0, 2),
}


def assert_equal(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert ours[name].dtype == tensor.dtype
        assert torch.equal(ours[name], tensor), name


def test_what_is_written_is_read_back(tmp_path):
    path = write_safetensors(tmp_path / "new folder" / "model.safetensors", TENSORS, {"a": "b"})
    assert_equal(load_file(path), TENSORS)
    with open_tensors(path) as reader:
        assert reader.header.metadata == {"a": "b"}
        assert_equal({key: reader.read(key) for key in reader.keys()}, TENSORS)  # noqa: SIM118
        assert reader.info("columns").shape == (4, 3)
    assert [file.name for file in path.parent.iterdir()] == ["model.safetensors"]


def test_a_file_is_replaced_only_when_that_is_wished(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_text("mine")
    with pytest.raises(OchreError, match="exists already"):
        write_safetensors(path, TENSORS, {})
    assert path.read_text() == "mine"
    write_safetensors(path, TENSORS, {}, overwrite=True)
    assert_equal(load_file(path), TENSORS)


def test_new_files_are_readable_as_the_user_set_it(tmp_path):
    old = os.umask(0o027)
    try:
        path = write_safetensors(tmp_path / "model.safetensors", TENSORS, {})
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_full_disk_is_seen_before_the_start(tmp_path):
    free = shutil.disk_usage(tmp_path).free
    endless = torch.zeros(1).expand(free // 4 + 10**9)  # in memory it is one number
    path = tmp_path / "model.safetensors"
    with pytest.raises(OchreError, match=r"There is no room.*It needs .* GB, and .* are free"):
        write_safetensors(path, {"a": endless}, {})
    assert not any(tmp_path.iterdir())


LIMITED = """
import resource, signal, sys
from pathlib import Path
import torch
from core.errors import OchreError
from core.weights.files import write_safetensors

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write_safetensors(Path(sys.argv[1]), {"a": torch.zeros(100_000)}, {}, overwrite=True)
except OchreError as error:
    print(error)
"""


def test_a_write_that_breaks_off_leaves_the_old_file(tmp_path):
    """The operating system itself ends the write after 100 kB of 400."""
    path = write_safetensors(tmp_path / "model.safetensors", TENSORS, {})
    before = path.read_bytes()
    done = subprocess.run([sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, check=True)
    assert "model.safetensors can't be written" in done.stdout
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]


def test_a_damaged_file_is_not_opened(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.ones(8)}, path)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ModelFileError, match="4 bytes are missing"), open_tensors(path):
        pass


def test_hashes_of_files(tmp_path):
    tensors = {"a": torch.randn(500_000), "b": torch.randn(4).half()}
    path = write_safetensors(tmp_path / "model.safetensors", tensors, {"ss_seed": "1", "other": "x"})
    data = path.read_bytes()
    assert sha256_of(path) == hashlib.sha256(data).hexdigest()
    assert legacy_hash(path) == hashlib.sha256(data[0x100000:0x110000]).hexdigest()[:8]
    numbers = tensors["a"].numpy().tobytes() + tensors["b"].numpy().tobytes()
    assert model_hash(path) == hashlib.sha256(numbers).hexdigest()


def test_kohyas_hashes_are_of_the_file_with_its_own_metadata_only(tmp_path):
    tensors = {"a": torch.randn(500_000), "b": torch.randn(4).half()}
    hashes = kohya_hashes(tensors, {"ss_seed": "1", "modelspec.title": "cat"})
    path = tmp_path / "model.safetensors"
    path.write_bytes(save(tensors, {"ss_seed": "1"}))
    assert hashes == {"sshs_model_hash": model_hash(path), "sshs_legacy_hash": legacy_hash(path)}


def test_a_fingerprint_sees_every_change_and_no_order():
    state = {"a": torch.tensor([1.0, 2.0]).bfloat16(), "b": torch.tensor(3)}
    same = fingerprint(state)
    assert fingerprint(dict(reversed(state.items()))) == same
    assert fingerprint({"a": torch.tensor([[1.0], [2.0]]).bfloat16()[:, 0], "b": torch.tensor(3)}) == same
    others = [
        {**state, "b": torch.tensor(4)},
        {**state, "a": state["a"].float()},
        {**state, "a": state["a"].half()},
        {**state, "a": state["a"].reshape(1, 2)},
        {"c": state["a"], "b": state["b"]},
        {"a": state["a"]},
    ]
    assert len({same, *map(fingerprint, others)}) == 7
