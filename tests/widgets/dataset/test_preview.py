"""What the model will see, in the panel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.config.lora import LoraConfig
from core.config.toml_file import merge, to_data
from core.contracts import Size
from core.dataset.views import View
from core.errors import OchreError
from core.settings.checks import validate
from widgets.dataset.look import Look
from widgets.dataset.preview import Preview, changes

ROOT = Path(__file__).parents[3]


def look_at(folder: str, **crops: Any) -> Look:
    image = {"flip": "random", "detail_crops": crops}
    concepts = [{"name": "glim", "folder": folder, "trigger_word": "glim", "image": image}]
    sizes = {"resolution": "64", "step": 8, "minimum": 48, "maximum": 96}
    data = merge(to_data(LoraConfig()), {"concepts": concepts, "buckets": sizes, "base": {"source": "a model"}})
    return Look(lambda: data, lambda data: validate(LoraConfig, data))


def test_eight_pictures_with_their_captions_and_others_at_a_click() -> None:
    preview = Preview(look_at(str(ROOT / "demo" / "pictures")).plan)
    first = preview._report.widget.value
    assert first.count("data:image/jpeg") == 8
    assert first.count("glim, on a") == 8
    preview.widget.children[1].click()
    assert preview._report.widget.value != first
    assert "epoch 2" in preview._report.widget.value


def test_tiles_whose_captions_come_later_are_told_of() -> None:
    folder = str(ROOT / "demo" / "pictures")
    assert "when the run starts" not in Preview(look_at(folder, enabled=True).plan)._report.widget.value
    captioned = look_at(folder, enabled=True, enable_captioning=True, tile_resolution=64, overlap=16)
    assert "when the run starts" in Preview(captioned.plan)._report.widget.value


def test_what_stands_in_the_way_is_said(tmp_path: Path) -> None:
    preview = Preview(look_at(str(tmp_path / "none")).plan)
    assert "none doesn&#x27;t exist" in preview._report.widget.value


def test_pictures_are_looked_at_again_only_where_their_settings_changed() -> None:
    look = look_at(str(ROOT / "demo" / "pictures"))
    found = look.latest()
    assert look.latest() is found
    look._data()["saving"]["name"] = "other"
    assert look.latest() is found
    look._data()["concepts"][0]["folder"] = str(ROOT / "demo" / "regularisation")
    assert len(look.latest().survey.entries) == 24
    look._data()["concepts"][0]["repeats"] = "many"
    with pytest.raises(OchreError, match="repeats"):
        look.latest()


def test_changes_are_told_in_words() -> None:
    bucket = Size(64, 64)
    assert changes(View(bucket)) == []
    assert changes(View(bucket, angle=-0.01, contrast=1.001)) == []
    view = View(bucket, flip=True, angle=-2.5, brightness=1.1, saturation=0.75, hue=0.05)
    assert changes(view) == ["mirrored", "turned by -2.5°", "brightness +10 %", "saturation -25 %", "hue +18°"]
