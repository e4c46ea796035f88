"""What a run knows of the file that it starts from."""

import hashlib
from pathlib import Path

from core.contracts import Match
from core.registry import registry
from core.training.base_model import BaseModel


def base_at(path: Path) -> BaseModel:
    return BaseModel(path, registry("families").get("sd15")(), Match("sd15", "base", "epsilon", ()))


def test_a_file_is_read_for_its_hashes_only_once(tmp_path: Path) -> None:
    path, data = tmp_path / "base.safetensors", bytes(range(256)) * 8192
    path.write_bytes(data)
    base = base_at(path)
    expected = {
        "sd_model_hash": hashlib.sha256(data[0x100000:0x110000]).hexdigest()[:8],
        "new_sd_model_hash": hashlib.sha256(data).hexdigest(),
    }
    assert base.hashes == expected
    path.unlink()
    assert base.hashes == expected


def test_a_folder_has_no_hashes(tmp_path: Path) -> None:
    assert base_at(tmp_path).hashes == {}
