"""Sets of concepts are saved and loaded, kohya's files taken over, in the panel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from core.config.lora import LoraConfig
from core.config.toml_file import merge, to_data
from core.manager.concept_sets import ConceptSets
from core.settings.checks import validate
from widgets.dataset.kohya_box import KohyaBox
from widgets.dataset.sets_box import SetsBox
from widgets.form import Form

TOML = """
[general]
shuffle_caption = true
caption_extension = ".txt"

[[datasets]]
resolution = 640
batch_size = 3

  [[datasets.subsets]]
  image_dir = "10_cat"
  num_repeats = 4
  face_crop_aug_range = "1.0,2.0"
"""


@pytest.fixture
def form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Form:
    monkeypatch.chdir(tmp_path)
    Path("10_cat").mkdir()
    Image.new("RGB", (64, 64)).save("10_cat/1.png")
    Path("dataset.toml").write_text(TOML)
    concepts = [{"name": "dog", "folder": "10_cat", "image": {"flip": "random"}}]
    data = merge(to_data(LoraConfig()), {"concepts": concepts, "base": {"source": "a model"}})
    return Form(LoraConfig, data, lambda data: validate(LoraConfig, data)[1])


def names(form: Form) -> list[Any]:
    return [concept["name"] for concept in form.data()["concepts"]]


@pytest.fixture
def sets(form: Form, tmp_path: Path) -> SetsBox:
    return SetsBox(form, ConceptSets(tmp_path / "profiles"))


def test_concepts_are_saved_and_loaded_as_they_were(form: Form, sets: SetsBox) -> None:
    before = form.data()["concepts"]
    assert sets.load.disabled
    sets.title.value = "My dogs"
    sets.save.click()
    assert "Saved." in sets.said.value
    form.replace({"concepts": [{"name": "bird", "folder": "10_cat"}]})
    sets.load.click()
    assert form.data()["concepts"] == before
    sets._take_over.back.click()
    assert names(form) == ["bird"]
    assert sets._take_over.back.layout.display == "none"
    sets.add.click()
    assert names(form) == ["bird", "dog"]


def test_a_set_is_replaced_only_after_a_question(form: Form, sets: SetsBox) -> None:
    sets.title.value = "dogs"
    sets.save.click()
    form.replace({"concepts.0.name": "hound"})
    sets.save.click()
    assert "already" in sets.said.value
    assert sets._sets.load("dogs").concepts[0].name == "dog"
    assert sets._question in sets.widget.children
    sets.sure.click()
    assert sets._sets.load("dogs").concepts[0].name == "hound"
    assert sets._question not in sets.widget.children


def test_concepts_that_are_wrong_and_titles_that_are_none_are_not_saved(form: Form, sets: SetsBox) -> None:
    sets.save.click()
    assert "needs a title" in sets.said.value
    sets.title.value = "dogs"
    form.replace({"concepts.0.repeats": "many"})
    sets.save.click()
    assert "repeats" in sets.said.value
    assert sets._sets.names() == []


def test_a_set_is_deleted_only_after_a_question(form: Form, sets: SetsBox) -> None:
    sets.title.value = "dogs"
    sets.save.click()
    sets.delete.click()
    sets._no.click()
    assert sets._sets.names() == ["dogs"]
    sets.delete.click()
    sets.sure.click()
    assert sets._sets.names() == []
    assert Path("10_cat/1.png").exists()


def test_folders_that_are_not_here_are_named(form: Form, sets: SetsBox) -> None:
    sets.title.value = "dogs"
    form.replace({"concepts.0.folder": "elsewhere/dogs"})
    sets.save.click()
    sets.load.click()
    assert "elsewhere/dogs isn&#x27;t there" in sets.said.value


def test_a_kohya_config_is_shown_and_then_taken_over(form: Form) -> None:
    box = KohyaBox(form)
    before = form.data()
    box.path.value = "dataset.toml"
    box.read.click()
    assert form.data() == before
    for words in ("Understood (1)", "10_cat", "4×", "buckets.resolution = 640", "face_crop_aug_range"):
        assert words in box.said.value
    box.add.click()
    assert len(names(form)) == 2
    taken = form.data()["concepts"][1]
    assert (taken["repeats"], taken["text"]["shuffle_tags"]) == (4, True)
    assert form.data()["buckets"]["resolution"] == "640"
    assert form.data()["training"]["train_batch_size"] == 3
    box._take_over.back.click()
    assert form.data() == before


def test_kohyas_folders_are_taken_over_in_place_of_the_present_ones(form: Form, tmp_path: Path) -> None:
    box = KohyaBox(form)
    box.path.value = str(tmp_path)
    box.read.click()
    box.replace.click()
    (taken,) = form.data()["concepts"]
    assert (taken["trigger_word"], taken["repeats"]) == ("cat", 10)


@pytest.mark.parametrize("path", ["none.toml", "10_cat", "10_cat/1.png"])
def test_what_cannot_be_read_is_explained(form: Form, path: str) -> None:
    box = KohyaBox(form)
    box.path.value = path
    box.read.click()
    assert path in box.said.value
    assert box._ask not in box.widget.children
