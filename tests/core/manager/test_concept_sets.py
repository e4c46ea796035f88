"""Sets of concepts: saved under a name, loaded as they were, never overwritten unasked; a broken file is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.config.lora import LoraConfig
from core.config.toml_file import to_data
from core.dataset.settings import Concept, ConceptImage, ConceptText, DetailCrops
from core.errors import OchreError, SettingsError
from core.manager.concept_sets import ConceptSets, name_of
from core.settings.checks import validate


@pytest.fixture
def sets(tmp_path: Path) -> ConceptSets:
    return ConceptSets(tmp_path)


@pytest.fixture
def concepts(tmp_path: Path) -> list[Concept]:
    """Two concepts with settings of every kind; the second's folder is not there."""
    (tmp_path / "cats").mkdir()
    text = ConceptText(tag_dropout="random", tag_dropout_list=['a "b"', "c\\d", "é, 猫"], caps=["upper"])
    image = ConceptImage(flip="random", detail_crops=DetailCrops(enabled=True, scales=[2, 4]))
    return [
        Concept(name="cats", folder=str(tmp_path / "cats"), trigger_word="sks", repeats=0.5, text=text, image=image),
        Concept(name="dogs", folder=str(tmp_path / "dogs"), kind="regularisation", resolution="512, 768"),
    ]


def test_a_set_comes_back_as_it_was(sets: ConceptSets, concepts: list[Concept], tmp_path: Path) -> None:
    assert sets.names() == [] and sets.sets() == {}
    assert sets.save("Cats & Dogs", concepts, explanation="Both.") == "cats_dogs"
    assert sets.names() == ["cats_dogs"]
    assert (tmp_path / "concepts/user/cats_dogs.toml").is_file()
    loaded = sets.load("cats_dogs")
    assert loaded.concepts == concepts
    assert (loaded.about.title, loaded.about.explanation) == ("Cats & Dogs", "Both.")
    assert sets.sets() == {"cats_dogs": loaded} and sets.broken() == []


def test_it_can_be_laid_into_another_run(sets: ConceptSets, concepts: list[Concept]) -> None:
    name = sets.save("pets", concepts)
    data = to_data(LoraConfig()) | {"concepts": [to_data(concept) for concept in sets.load(name).concepts]}
    config, problems = validate(LoraConfig, data)
    assert config and config.concepts == concepts
    assert [problem.path for problem in problems] == ["base.source"]


def test_what_is_not_on_this_machine_is_told(sets: ConceptSets, concepts: list[Concept], tmp_path: Path) -> None:
    metadata = ConceptText(prompt_source="metadata_file", metadata_path=str(tmp_path / "none.json"))
    more = Concept(name="fine", folder=str(tmp_path / "cats"), text=metadata)
    off = Concept(name="off", folder=str(tmp_path / "away"), enabled=False)
    missing = sets.load(sets.save("pets", [*concepts, more, off])).missing()
    assert [problem.path for problem in missing] == ["concepts.1.folder", "concepts.2.text.metadata_path"]
    assert str(tmp_path / "dogs") in missing[0].message


def test_nothing_is_overwritten_unasked(sets: ConceptSets, concepts: list[Concept]) -> None:
    sets.save("pets", concepts)
    with pytest.raises(OchreError, match="There is a set of concepts 'pets' already"):
        sets.save("Pets!", concepts[:1])
    assert len(sets.load("pets").concepts) == 2
    sets.save("Pets!", concepts[:1], overwrite=True)
    assert len(sets.load("pets").concepts) == 1


def test_delete(sets: ConceptSets, concepts: list[Concept]) -> None:
    sets.save("pets", concepts)
    sets.delete("pets")
    assert sets.names() == []
    for name in ("pets", "../pets", "/pets"):
        with pytest.raises(OchreError, match="There is none yet"):
            sets.delete(name)
    sets.save("cats", concepts)
    with pytest.raises(OchreError, match="There are cats"):
        sets.load("pets")


def test_a_set_that_can_not_be_used_breaks_no_other(sets: ConceptSets, concepts: list[Concept]) -> None:
    sets.save("pets", concepts)
    folder = sets.folder
    (folder / "typo.toml").write_text('[about]\ntitle = "T"\n[[concepts]]\nfoldr = "x"\nrepeats = "two"\n')
    (folder / "empty.toml").write_text("concepts = []\n")
    (folder / "no.toml").write_text("a = [\n")
    (folder / "newer.toml").write_text('version = 99\n[[concepts]]\nfolder = "x"\n')
    assert list(sets.sets()) == ["pets"]
    words = [str(error) for error in sets.broken()]
    assert len(words) == 4
    assert all(str(folder) in each for each in words)
    with pytest.raises(SettingsError) as caught:
        sets.load("typo")
    told = {problem.path: problem.message for problem in caught.value.problems}
    assert "did you mean 'folder'" in told["concepts.0.foldr"]
    assert "must be a number" in told["concepts.0.repeats"]
    with pytest.raises(SettingsError, match=r"newer Ochre"):
        sets.load("newer")
    with pytest.raises(SettingsError, match="at least 1 entries"):
        sets.load("empty")


def test_what_can_not_be_saved(sets: ConceptSets, concepts: list[Concept], tmp_path: Path) -> None:
    with pytest.raises(OchreError, match="no concepts"):
        sets.save("pets", [])
    wrong = Concept(name="x", folder="x", resolution="big")
    with pytest.raises(SettingsError) as caught:
        sets.save("pets", [concepts[0], wrong])
    assert [problem.path for problem in caught.value.problems] == ["concepts.1.resolution"]
    assert sets.names() == []
    (tmp_path / "file").write_text("")
    with pytest.raises(OchreError, match="can't be made"):
        ConceptSets(tmp_path / "file").save("pets", concepts)


@pytest.mark.parametrize(
    ("title", "words"),
    [("", "needs a title"), ("../..", "needs a title"), ("  ", "needs a title"), ("CON", "on Windows"),
     ("lpt1", "on Windows"), ("x" * 101, "too long"), ("猫" * 40, "too long"), ("cat\udcff", "not UTF-8")],
)  # fmt: skip
def test_a_title_that_no_file_can_have(sets: ConceptSets, concepts: list[Concept], title: str, words: str) -> None:
    with pytest.raises(OchreError, match=words):
        sets.save(title, concepts)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
@given(title=st.text(max_size=120))
def test_every_other_title_is_a_file_in_the_folder(tmp_path: Path, title: str) -> None:
    try:
        name = name_of(title)
    except OchreError:
        return
    path = tmp_path / f"{name}.toml"
    path.write_text("")
    assert [found.stem for found in tmp_path.glob("*.toml")] == [name]
    path.unlink()
