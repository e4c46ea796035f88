"""Weights of single pictures: read beside them, told where they are wrong, frozen with the run, and multiplied."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from core.dataset.folders import list_folder
from core.dataset.loss_weights import read_loss_weights
from core.dataset.manifest import Manifest
from core.dataset.reporting import make_report
from core.dataset.settings import Buckets, Concept
from core.dataset.survey import look_through, survey
from core.errors import PictureError

Folder = Callable[..., Path]


def written(folder: Path, text: str) -> Concept:
    (folder / "loss_weights.toml").write_text(text, encoding="utf-8")
    return Concept(name="cats", folder=str(folder))


@pytest.fixture
def folder(make_folder: Folder) -> Path:
    return make_folder((128, 128), (128, 128), (128, 128))


def test_a_picture_without_a_line_counts_1(folder: Path, buckets: Buckets) -> None:
    found = survey([written(folder, '"00.png" = 0.5\n"02.png" = 2\n')], buckets)
    assert [entry.weight for entry in found.entries] == [0.5, 1.0, 2.0]
    assert not found.warnings


def test_names_reach_into_subfolders(folder: Path, buckets: Buckets) -> None:
    (folder / "old").mkdir()
    (folder / "00.png").rename(folder / "old" / "00.png")
    concept = written(folder, '"old/00.png" = 0\n')
    concept.subfolders = True
    weights = {entry.name: entry.weight for entry in survey([concept], buckets).entries}
    assert weights == {"pictures/01.png": 1.0, "pictures/02.png": 1.0, "pictures/old/00.png": 0.0}


def test_tiles_count_as_much_as_their_picture(make_folder: Folder, buckets: Buckets) -> None:
    concept = written(make_folder((700, 700)), '"00.png" = 0.25\n')
    concept.image.detail_crops.enabled = True
    concept.image.detail_crops.tile_resolution = 128
    entries = survey([concept], buckets).entries
    assert any(entry.tile for entry in entries)
    assert {entry.weight for entry in entries} == {0.25}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('"00.png" = -1\n', "'00.png' is -1, and a weight can't be below 0"),
        ('"00.png" = "much"\n', "'00.png' is 'much', which is no number"),
        ('"00.png" = true\n', "'00.png' is True, which is no number"),
        ('"00.png" = nan\n', "'00.png' is nan, which is no weight"),
        ('"00.png" = inf\n', "'00.png' is inf, which is no weight"),
        ("00.png = 1\n", 'quotes, and tables have no place here. Each line has to look like "cat.png" = 0.5'),
        ('"00.png" 1\n', "is no valid TOML"),
    ],
)
def test_what_is_no_weight_stops_the_run_and_is_named(folder: Path, buckets: Buckets, text: str, said: str) -> None:
    concept = written(folder, text)
    with pytest.raises(PictureError) as error:
        survey([concept], buckets)
    assert said in str(error.value) and "loss_weights.toml" in str(error.value)


def test_all_that_is_wrong_is_told_at_once(folder: Path, buckets: Buckets) -> None:
    (problem,) = look_through([written(folder, '"00.png" = -1\n"01.png" = ""\n"02.png" = 3\n')], buckets).problems
    assert "'00.png'" in problem and "'01.png'" in problem and "'02.png'" not in problem


def test_a_file_that_is_no_text_is_a_problem(folder: Path, buckets: Buckets) -> None:
    (folder / "loss_weights.toml").write_bytes(b'"00.png" = 1 # \xff\n')
    (problem,) = look_through([Concept(folder=str(folder))], buckets).problems
    assert "UTF-8" in problem


def test_a_name_without_picture_is_pointed_out(folder: Path, buckets: Buckets) -> None:
    (warning,) = survey([written(folder, '"00.jpg" = 0.5\n"dog.png" = 2\n')], buckets).warnings
    assert "2 names without picture: 00.jpg (is 00.png meant?), dog.png" in warning


def test_a_concept_that_is_only_measured_has_no_use_for_them(folder: Path, buckets: Buckets) -> None:
    concept = written(folder, '"00.png" = 0.5\n')
    concept.kind = "validation"
    (warning,) = read_loss_weights(list_folder(0, concept)).warnings
    assert "has no effect" in warning


def test_the_run_keeps_them(folder: Path, buckets: Buckets) -> None:
    manifest = Manifest(tuple(survey([written(folder, '"00.png" = 0.5\n')], buckets).entries))
    text = manifest.to_json()
    assert Manifest.from_json(text) == manifest
    assert ["weight" in entry for entry in json.loads(text)["entries"]] == [True, False, False]


def test_the_report_counts_them(folder: Path, buckets: Buckets) -> None:
    report = make_report(look_through([written(folder, '"00.png" = 0.5\n"01.png" = 1\n')], buckets), buckets)
    assert report.concepts[0].weighted == 1
    assert [picture.weight for picture in report.pictures] == [0.5, 1.0, 1.0]
    assert "of their own for 1 of 3 pictures" in report.to_text()
