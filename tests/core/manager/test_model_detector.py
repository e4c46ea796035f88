"""The detector: tells a base model by its header or configs, without reading its weights."""

import shutil
import time

import pytest
import torch
from safetensors.torch import save_file

from core.config.lora import LoraConfig
from core.config.toml_file import to_toml
from core.errors import ModelFileError
from core.families._saving import save_folder, save_single_file
from core.manager.model_detector import ModelDetector
from core.registry import registry


@pytest.fixture(scope="module", params=["sd15", "sdxl"])
def name(request):
    return request.param


@pytest.fixture(scope="module")
def model(name):
    return registry("families").get(name)().tiny()


@pytest.fixture(scope="module")
def file(model, name, tmp_path_factory):
    return save_single_file(model, tmp_path_factory.mktemp(name) / "a model.safetensors")


def test_a_single_file(name, file):
    found = ModelDetector().detect(str(file))
    assert (found.family, found.variant, found.prediction, found.path) == (name, "base", None, file)
    assert found.label == registry("families").get(name).label
    assert found.size == file.stat().st_size
    assert "epsilon is assumed" in found.why[-1]


def test_a_v_prediction_folder(name, model, tmp_path):
    model.prediction, model.zero_terminal_snr = "v_prediction", True
    folder = save_folder(model, tmp_path / "m")
    model.prediction, model.zero_terminal_snr = "epsilon", False
    found = ModelDetector().detect(str(folder))
    assert (found.family, found.prediction, found.zero_terminal_snr) == (name, "v_prediction", True)
    assert not any("assumed" in reason for reason in found.why)
    assert found.size == sum(path.stat().st_size for path in folder.rglob("*.safetensors"))


def test_the_base_of_a_backup(name, file, tmp_path):
    config = LoraConfig.model_validate({"base": {"source": str(file)}, "concepts": [{"folder": "pictures"}]})
    (tmp_path / "run.toml").write_text(to_toml(config))
    save_file({"weight": torch.zeros(1)}, tmp_path / "network.safetensors")
    assert ModelDetector().detect(str(tmp_path)).path == file


def test_a_half_downloaded_file(file, tmp_path):
    half = shutil.copy(file, tmp_path / "half.safetensors")
    with half.open("r+b") as opened:
        opened.truncate(file.stat().st_size // 2)
    with pytest.raises(ModelFileError, match="not whole"):
        ModelDetector().detect(str(half))


def test_a_lora_is_no_model(tmp_path):
    save_file({"lora_unet_x.lora_down.weight": torch.zeros(2, 2)}, tmp_path / "l.safetensors")
    with pytest.raises(ModelFileError, match=r"LoRA.*Stable Diffusion 1\.5 or SDXL"):
        ModelDetector().detect(str(tmp_path / "l.safetensors"))


def test_weights_are_not_read(file, tmp_path):
    """A file with room for 2 GB of weights, of which none is there on the disk, takes no time."""
    import json

    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        header = json.loads(opened.read(length))
    end = max(entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__")
    header["spare"] = {"dtype": "F32", "shape": [500_000_000], "data_offsets": [end, end + 2_000_000_000]}
    text = json.dumps(header).encode()
    large = tmp_path / "large.safetensors"
    with large.open("wb") as opened:
        opened.write(len(text).to_bytes(8, "little") + text)
        opened.truncate(8 + len(text) + end + 2_000_000_000)
    begin = time.monotonic()
    ModelDetector().detect(str(large))
    assert time.monotonic() - begin < 1
