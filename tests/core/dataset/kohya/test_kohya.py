"""kohya's dataset configs and folders: each key becomes a setting or is noted, with kohya's own way of falling back."""

from __future__ import annotations

import json
import math
import string
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from core.config.lora import LoraConfig
from core.config.toml_file import set_values, to_data
from core.contracts import Size
from core.dataset.buckets import Resolution, bucket_for
from core.dataset.captions import CaptionDraw, caption_for
from core.dataset.kohya.keys import COMMAND_LINE, KEYS, Key
from core.dataset.kohya.page import kohya_page
from core.dataset.kohya.reading import Imported, read_config, read_folder, read_kohya
from core.dataset.settings import Buckets, Concept
from core.dataset.survey import survey
from core.errors import OchreError, PictureError, SettingsError
from core.settings.checks import validate


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """A folder with the folders cat, dog, reg and masks, and a metadata file for cat."""
    for name in ("cat", "dog", "reg", "masks"):
        (tmp_path / name).mkdir()
    entries = {str(tmp_path / "cat/0.png"): {"caption": "a cat"}}
    (tmp_path / "cat.json").write_text(json.dumps(entries), encoding="utf-8")
    return tmp_path


def config(folder: Path, text: str) -> Path:
    """A config file beside the folders."""
    path = folder / "dataset.toml"
    path.write_text(text, encoding="utf-8")
    return path


def imported(folder: Path, text: str) -> Imported:
    return read_config(config(folder, text))


def one(folder: Path, keys: str, above: str = "") -> tuple[Concept, dict[str, str]]:
    """The concept of one subset with some keys, and what is noted of it, by key."""
    found = imported(folder, f"{above}\n[[datasets]]\nresolution = 512\n[[datasets.subsets]]\nimage_dir='cat'\n{keys}")
    assert len(found.concepts) == 1
    notes: defaultdict[str, str] = defaultdict(str)
    for note in found.notes:
        notes[note.place.rpartition(".")[2]] += note.text
    return found.concepts[0], notes


def problems_of(folder: Path, text: str) -> dict[str, str]:
    path = config(folder, text)
    with pytest.raises(SettingsError) as caught:
        read_config(path)
    assert str(path) in str(caught.value)
    return {problem.path: problem.message for problem in caught.value.problems}


# -- the config as a whole

SEVERAL = """
[general]
shuffle_caption = true
caption_extension = '.txt'
keep_tokens = 1

[[datasets]]
resolution = 512
batch_size = 4
keep_tokens = 2

  [[datasets.subsets]]
  image_dir = 'cat'
  class_tokens = 'sks cat'

  [[datasets.subsets]]
  image_dir = 'dog'
  class_tokens = 'sks dog'
  keep_tokens = 3

  [[datasets.subsets]]
  is_reg = true
  image_dir = 'reg'
  class_tokens = 'animal'
  keep_tokens = 1

[[datasets]]
resolution = [768, 768]
batch_size = 2

  [[datasets.subsets]]
  image_dir = 'cat'
  metadata_file = 'cat.json'
"""
"""The keys of the first example in sd-scripts' docs/config_README-en.md, which tells the values that count."""


def test_the_value_nearest_to_the_pictures_counts(folders: Path) -> None:
    found = imported(folders, SEVERAL)
    cat, dog, reg, fine = found.concepts
    assert [concept.text.keep_tags for concept in found.concepts] == [2, 3, 1, 1]
    assert [concept.name for concept in found.concepts] == ["sks cat", "sks dog", "animal", "cat"]
    assert [concept.kind for concept in found.concepts] == ["standard", "standard", "regularisation", "standard"]
    assert [concept.trigger_word for concept in found.concepts] == ["sks cat", "sks dog", "animal", ""]
    assert [Path(concept.folder) for concept in found.concepts] == [folders / n for n in ("cat", "dog", "reg", "cat")]
    assert all(concept.text.shuffle_tags and concept.text.caption_lines == "first" for concept in found.concepts)
    assert cat.text.caption_extension == dog.text.caption_extension == ".txt"
    assert reg.text.prompt_source == "caption_file"
    assert (fine.text.prompt_source, Path(fine.text.metadata_path)) == ("metadata_file", folders / "cat.json")
    assert [concept.resolution for concept in found.concepts] == ["", "", "", "768"]


def test_several_datasets_become_one_run(folders: Path) -> None:
    found = imported(folders, SEVERAL)
    assert found.settings["buckets.resolution"] == "512"
    assert found.settings["training.train_batch_size"] == 2
    lost = next(note for note in found.left_out if note.place == "datasets.0.batch_size")
    assert lost.value == 4 and "2" in lost.text and str(lost).startswith("datasets.0.batch_size = 4: ")
    data = set_values(to_data(LoraConfig()), found.settings)
    data["concepts"] = [to_data(concept) for concept in found.concepts]
    _, problems = validate(LoraConfig, data)
    assert [problem.path for problem in problems] == ["base.source"]


def test_the_example_with_separators_shows_what_kohya_shows(folders: Path) -> None:
    """The keys of the example with prefix, suffix and separators; the captions are those that its text promises."""
    found = imported(
        folders,
        """
        [general]
        flip_aug = true
        color_aug = false
        resolution = [1024, 1024]

        [[datasets]]
        batch_size = 6
        enable_bucket = true
        bucket_no_upscale = true
        caption_extension = ".txt"
        keep_tokens_separator= "|||"
        shuffle_caption = true
        caption_tag_dropout_rate = 0.1
        secondary_separator = ";;;"
        enable_wildcard = true

          [[datasets.subsets]]
          image_dir = "cat"
          num_repeats = 1
          caption_prefix = "1girl, hatsune miku, vocaloid |||"
          caption_suffix = ", anime screencap ||| masterpiece, rating: general"
        """,
    )
    concept = found.concepts[0]
    assert found.settings == {
        "buckets.resolution": "1024",
        "buckets.aspect_ratio_bucketing": True,
        "buckets.minimum": 256,
        "buckets.maximum": 1024,
        "buckets.step": 64,
        "buckets.no_upscale": True,
        "training.train_batch_size": 6,
    }
    assert concept.image.flip == "random" and concept.image.hue == "off"
    assert (concept.text.tag_dropout, concept.text.tag_dropout_probability) == ("random", 0.1)
    shown = set()
    for number in range(60):
        draw = CaptionDraw(seed=1, key=1, times_shown=number, epoch=number, sample=number, kept=False)
        caption = caption_for(concept, ["smile, sky;;;cloud;;;day, {red|blue} hat"], draw)
        tags = caption.split(", ")
        assert tags[:3] == ["1girl", "hatsune miku", "vocaloid"] and tags[-2:] == ["masterpiece", "rating: general"]
        assert "|||" not in caption and ";;;" not in caption
        assert ("sky" in tags) == ("sky, cloud, day" in caption)
        shown |= set(tags[3:-2])
    assert shown == {"smile", "sky", "cloud", "day", "red hat", "blue hat", "anime screencap"}
    noted = {note.place.rpartition(".")[2] for note in found.notes}
    assert "the first one does" in str([str(note) for note in found.notes])
    assert {"flip_aug", "shuffle_caption", "bucket_no_upscale", "caption_prefix"} <= noted
    assert "color_aug" not in noted and "datasets.0.batch_size" in found.used


def test_json_is_a_config_too(folders: Path) -> None:
    data = {"datasets": [{"resolution": 512, "keep_tokens": None, "subsets": [{"image_dir": "cat", "keep_tokens": 2}]}]}
    path = folders / "dataset.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    found = read_config(path)
    assert found.concepts[0].text.keep_tags == 2
    assert [note.text for note in found.notes if note.place == "datasets.0.keep_tokens"] == [
        "null counts as not given."
    ]


def test_the_same_folder_at_two_resolutions(folders: Path) -> None:
    """As in sd-scripts' docs: in different datasets they are no duplicates, in one the later is left out."""
    subset = "[[datasets.subsets]]\nimage_dir = 'cat'\n"
    found = imported(folders, f"[[datasets]]\nresolution=512\n{subset}[[datasets]]\nresolution=768\n{subset}")
    assert [(c.name, c.resolution, c.enabled) for c in found.concepts] == [("cat", "", True), ("cat (2)", "768", True)]
    found = imported(folders, f"[[datasets]]\nresolution=512\n{subset}{subset}")
    assert [concept.enabled for concept in found.concepts] == [True, False]
    assert [note.place for note in found.notes if "leaves it out" in note.text] == ["datasets.0.subsets.1.image_dir"]


# -- every key is used or noted

_VALUES: Mapping[str, st.SearchStrategy[Any]] = {
    "truth": st.booleans(),
    "whole": st.integers(0, 3),
    "number": st.sampled_from([0, 0.0, 0.5, 1]),
    "text": st.sampled_from(["", "|", "x y", ";;;"]),
    "size": st.sampled_from([512, [512, 512], [640, 768]]),
    "table": st.sampled_from([{}, {"diff_output_preservation": True}, {"other": 1}]),
}
_OF_KEY: Mapping[str, st.SearchStrategy[Any]] = {
    "caption_extension": st.sampled_from([".txt", ".caption"]),
    "caption_separator": st.sampled_from([",", " "]),
    "image_dir": st.sampled_from(["cat", "dog"]),
    "conditioning_data_dir": st.just("masks"),
    "metadata_file": st.just("cat.json"),
    "resolution": st.sampled_from([512, [512, 512], [640, 768]]),
    "batch_size": st.integers(1, 4),
    "min_bucket_reso": st.sampled_from([256, 320]),
    "max_bucket_reso": st.sampled_from([1024, 2048]),
    "bucket_reso_steps": st.sampled_from([32, 64]),
    "num_repeats": st.integers(0, 20),
}
_UNKNOWN = st.one_of(st.sampled_from([*COMMAND_LINE]), st.text(string.ascii_letters + "_. ", min_size=1, max_size=12))


def _keys() -> st.SearchStrategy[dict[str, Any]]:
    """Some of the keys with values of their kind, and some that nobody knows."""
    known = {name: _OF_KEY.get(name, _VALUES[key.kind]) for name, key in KEYS.items()}
    anything = st.dictionaries(
        _UNKNOWN.filter(lambda name: name not in (*KEYS, "subsets")), _VALUES["size"], max_size=2
    )
    chosen = st.fixed_dictionaries({}, optional=known).map(lambda table: table)
    return st.tuples(chosen, anything).map(lambda both: both[0] | both[1])


_SUBSET = _keys().map(lambda table: {"image_dir": "cat"} | table)
_DATASET = st.tuples(_keys(), st.lists(_SUBSET, min_size=1, max_size=3)).map(lambda d: d[0] | {"subsets": d[1]})
_CONFIG = st.tuples(_keys(), st.lists(_DATASET, min_size=1, max_size=2), st.booleans()).map(
    lambda c: {"general": c[0], "datasets": c[1]} | ({"other": 1} if c[2] else {})
)


def _leaves(data: Mapping[str, Any]) -> Iterator[str]:
    yield from (name for name in data if name not in ("general", "datasets"))
    yield from (f"general.{name}" for name in data["general"])
    for index, dataset in enumerate(data["datasets"]):
        yield from (f"datasets.{index}.{name}" for name in dataset if name != "subsets")
        for inner, subset in enumerate(dataset["subsets"]):
            yield from (f"datasets.{index}.subsets.{inner}.{name}" for name in subset)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=60)
@given(data=_CONFIG)
def test_every_key_is_used_or_noted(folders: Path, data: dict[str, Any]) -> None:
    path = folders / "dataset.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    try:
        found = read_config(path)
    except SettingsError as error:  # such as two separators that are the same
        places = set(_leaves(data))
        assert error.problems and all(problem.path in places for problem in error.problems), error
        return
    used, given_places = set(found.used), list(_leaves(data))
    left_out = {note.place for note in found.left_out}
    assert not used & left_out
    assert set(given_places) == (used | left_out) & set(given_places)
    assert used <= set(given_places)
    assert all(note.place in used for note in found.differing)
    assert all(note.text for note in found.notes)
    without_place = left_out - set(given_places)
    assert all(_is_told_of_what_is_missing(found, place) for place in without_place)


def _is_told_of_what_is_missing(found: Imported, place: str) -> bool:
    notes = [note for note in found.left_out if note.place == place]
    return all("isn't given" in note.text or ".custom_attributes." in note.place for note in notes)


def test_keys_that_count_nowhere_say_why(folders: Path) -> None:
    found = imported(
        folders,
        """
        extra = 1
        [general]
        keep_tokens = 1
        num_repeat = 5
        train_batch_size = 4
        alpha_mask = true
        class_tokens = "never"
        caption_extension = ".txt"
        [[datasets]]
        resolution = 512
        batch_size = 1
        network_multiplier = 1.0
        validation_seed = 5
        [[datasets.subsets]]
        image_dir = "cat"
        metadata_file = "cat.json"
        keep_tokens = 2
        resolution = 768
        is_reg = true
        face_crop_aug_range = [1.0, 3.0]
        cache_info = false
        """,
    )
    why = {note.place: note.text for note in found.left_out}
    assert why["extra"] == "It is neither [general] nor [[datasets]]."
    assert "Is num_repeats meant?" in why["general.num_repeat"]
    assert "In Ochre it is training.train_batch_size." in why["general.train_batch_size"]
    assert "[[datasets.subsets]] alone" in why["general.alpha_mask"]
    assert "changes nothing" in why["general.keep_tokens"]
    assert "captions beside pictures" in why["general.class_tokens"]
    assert "captions beside pictures" in why["general.caption_extension"]
    assert "[general] and [[datasets]] alone" in why["datasets.0.subsets.0.resolution"]
    assert why["datasets.0.subsets.0.is_reg"] == "It counts only for subsets with captions beside pictures."
    assert "validation.seed" in why["datasets.0.validation_seed"]
    assert "datasets.0.subsets.0.face_crop_aug_range" in why
    assert "datasets.0.network_multiplier" in found.used
    assert "captions beside pictures" in why["datasets.0.subsets.0.cache_info"]
    assert found.concepts[0].kind == "standard" and found.concepts[0].text.keep_tags == 2


def test_a_share_is_held_out(folders: Path) -> None:
    (folders / "cat/0.caption").write_text("a cat")
    text = "[[datasets]]\nvalidation_split = {}\n[[datasets.subsets]]\nimage_dir = 'cat'"
    assert imported(folders, text.format(0.2)).settings["validation.share"] == 0.2
    assert "validation.share" not in imported(folders, text.format(0)).settings
    with pytest.raises(SettingsError, match=r"validation_split: must be from 0 to 0\.9"):
        imported(folders, text.format(0.95))


def test_what_is_not_given_is_told(folders: Path) -> None:
    (folders / "cat/0.txt").write_text("a cat")
    found = imported(folders, "[[datasets]]\n[[datasets.subsets]]\nimage_dir = 'cat'")
    told = {note.place: note.text for note in found.left_out}
    assert set(told) == {f"general.{n}" for n in ("resolution", "batch_size", "enable_bucket", "caption_extension")}
    assert "kohya's default counts: .caption" in told["general.caption_extension"]
    assert 'write caption_extension = ".txt"' in told["general.caption_extension"]
    assert found.concepts[0].text.caption_extension == ".caption"
    assert "buckets.resolution" not in found.settings
    assert found.settings["buckets.aspect_ratio_bucketing"] is False


# -- what single keys become


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("num_repeats = 10", {"repeats": 10.0}),
        ("enable_wildcard = true", {"text.wildcards": True, "text.caption_lines": "random"}),
        ("enable_wildcard = false", {"text.wildcards": False, "text.caption_lines": "first"}),
        ("caption_dropout_rate = 1", {"text.caption_dropout": 1.0}),
        ("caption_tag_dropout_rate = 0", {"text.tag_dropout": "off"}),
        ("caption_separator = ';'", {"text.separator": ";"}),
        ("random_crop = true", {"image.crop_jitter": True}),
        ("flip_aug = true", {"image.flip": "random"}),
        ("alpha_mask = true", {"image.mask": "alpha", "image.unmasked_weight": 0, "image.unmasked_probability": 0}),
        ("alpha_mask = false", {"image.mask": "off"}),
        ("conditioning_data_dir = 'masks'", {"image.mask": "file", "image.unmasked_weight": 0}),
        ("custom_attributes = {diff_output_preservation = true}", {"kind": "prior_prediction"}),
        ("is_reg = true\ncustom_attributes = {diff_output_preservation = true}", {"kind": "prior_prediction"}),
        ("custom_attributes = {diff_output_preservation = false}", {"kind": "standard"}),
        ("num_repeats = 0", {"repeats": 1.0, "enabled": False}),
        ("caption_extension = '.caption'", {"text.caption_extension": ".caption"}),
    ],
)
def test_a_key_becomes_a_setting(folders: Path, keys: str, expected: dict[str, Any]) -> None:
    concept, _ = one(folders, keys)
    for path, value in expected.items():
        place: Any = concept
        for name in path.split("."):
            place = getattr(place, name)
        assert place == value, path


def test_colours_are_the_nearest_and_noted(folders: Path) -> None:
    """kohya's trainer shifts OpenCV's hue, which goes from 0 to 180, by up to 8."""
    concept, notes = one(folders, "color_aug = true")
    assert concept.image.hue == "random" and math.isclose(concept.image.hue_strength, 8 / 180, abs_tol=0.001)
    assert concept.image.brightness == "random" and concept.image.contrast == "off"
    assert "a third of the showings" in notes["color_aug"]


@pytest.mark.parametrize(
    ("keys", "key", "words"),
    [
        ("class_tokens = 'sks'", "class_tokens", "without a caption"),
        ("class_tokens = 'sks'\nkeep_tokens = 1", "keep_tokens", "set one less"),
        ("is_reg = true", "is_reg", "as many as the others"),
        ("num_repeats = 0", "num_repeats", "isn't enabled"),
        ("caption_prefix = 'photo of'", "caption_prefix", "only a space"),
        ("caption_suffix = 'outdoors'", "caption_suffix", "only a space"),
        ("keep_tokens_separator = '|||'", "keep_tokens_separator", "always taken out"),
        ("caption_separator = ';'", "caption_separator", "a comma"),
        ("metadata_file = 'cat.json'", "metadata_file", "leaves them out"),
        ("conditioning_data_dir = 'masks'", "conditioning_data_dir", "cat-masklabel.png"),
        ("caption_dropout_every_n_epochs = 4", "caption_dropout_every_n_epochs", "caption_dropout"),
        ("token_warmup_step = 100", "token_warmup_step", "from the first step"),
        ("custom_attributes = {other = 1}", "other", "diff_output_preservation alone"),
        ("is_reg = true\ncustom_attributes = {diff_output_preservation = true}", "is_reg", "prior_prediction"),
    ],
)
def test_a_difference_is_noted(folders: Path, keys: str, key: str, words: str) -> None:
    assert words in one(folders, keys)[1][key]


@pytest.mark.parametrize(
    "keys",
    [
        "caption_prefix = 'photo of,'",
        "caption_prefix = 'best quality |||'\nkeep_tokens_separator='|||'\nshuffle_caption=true",
        "caption_suffix = ', outdoors'",
        "class_tokens = ''\nkeep_tokens = 2",
        "color_aug = false\nflip_aug = false\nis_reg = false\ntoken_warmup_min = 1\ntoken_warmup_step = 0.0",
    ],
)
def test_where_nothing_differs_nothing_is_noted(folders: Path, keys: str) -> None:
    said = {"general.batch_size", "general.enable_bucket", "general.caption_extension"}
    found = imported(folders, f"[[datasets]]\nresolution=512\n[[datasets.subsets]]\nimage_dir='{folders}/cat'\n{keys}")
    assert {note.place for note in found.notes} - said <= {"datasets.0.subsets.0.shuffle_caption"}


def test_folders_of_a_metadata_file_alone(folders: Path) -> None:
    text = "[[datasets]]\nresolution=512\n[[datasets.subsets]]\nmetadata_file='cat.json'\n"
    found = imported(folders, text)
    assert [concept.folder for concept in found.concepts] == [str(folders / "cat")]
    assert any("the folders are those that it names" in note.text for note in found.differing)
    entries = {str(folders / name): {"caption": "x"} for name in ("cat/0.png", "dog/0.png")}
    (folders / "cat.json").write_text(json.dumps(entries), encoding="utf-8")
    assert [concept.name for concept in imported(folders, text).concepts] == ["cat", "dog"]
    (folders / "cat.json").write_text(json.dumps({"0.png": {"caption": "x"}}), encoding="utf-8")
    assert "is missing" in problems_of(folders, text)["datasets.0.subsets.0.image_dir"]
    (folders / "cat.json").write_text("no json", encoding="utf-8")
    assert "no JSON" in problems_of(folders, text)["datasets.0.subsets.0.metadata_file"]


# -- sizes


def kohyas_areas(width: int, height: int, step: int = 64, least: int = 256, most: int = 1024) -> set[tuple[int, int]]:
    """The buckets of an area as in the description of kohya's make_bucket_resolutions."""
    area = width * height
    square = int(math.sqrt(area) // step) * step
    sizes = {(square, square)}
    for side in range(least, most + 1, step):
        other = min(most, area // side // step * step)
        if other >= least:
            sizes |= {(side, other), (other, side)}
    return sizes


@pytest.mark.parametrize(("width", "height"), [(512, 512), (512, 768), (640, 960), (768, 1024), (832, 1024)])
def test_with_buckets_a_resolution_is_an_area(folders: Path, width: int, height: int) -> None:
    text = f"[[datasets]]\nenable_bucket=true\nresolution=[{width}, {height}]\n[[datasets.subsets]]\nimage_dir='cat'"
    found = imported(folders, text)
    buckets = buckets_of(found)
    shapes = [Size(height=h, width=w) for w, h in kohyas_areas(width, height)]
    (resolution,) = buckets.resolutions()
    got = {bucket_for(shape, buckets, resolution) for shape in shapes}
    assert {(size.width, size.height) for size in got} == kohyas_areas(width, height)
    assert any("their area" in note.text for note in found.notes) == (width != height)


def buckets_of(found: Imported) -> Buckets:
    data = {path.removeprefix("buckets."): v for path, v in found.settings.items() if path.startswith("buckets.")}
    buckets, problems = validate(Buckets, data)
    assert buckets and not problems
    return buckets


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("resolution=512", (512, 512)),
        ("resolution=[512, 768]", (512, 768)),
        ("resolution=520", (520, 520)),
        ("resolution=2048", (2048, 2048)),
        ("resolution=512\nbucket_no_upscale=true", (512, 512)),
        ("resolution=500", (496, 496)),
    ],
)
@pytest.mark.parametrize("picture", [(300, 400), (3000, 1000), (512, 512)])
def test_without_buckets_every_picture_has_one_size(
    folders: Path, keys: str, expected: tuple[int, int], picture: tuple[int, int]
) -> None:
    found = imported(folders, f"[[datasets]]\n{keys}\n[[datasets.subsets]]\nimage_dir='cat'")
    buckets = buckets_of(found)
    size = bucket_for(Size(height=picture[1], width=picture[0]), buckets, buckets.resolutions()[0])
    assert (size.width, size.height) == expected
    noted = {note.place for note in found.notes}
    assert ("datasets.0.resolution" in noted) == ("500" in keys)
    assert ("datasets.0.bucket_no_upscale" in noted) == ("upscale" in keys)


def test_datasets_with_other_sizes(folders: Path) -> None:
    found = imported(
        folders,
        """
        [general]
        enable_bucket = true
        [[datasets]]
        resolution = 512
        max_bucket_reso = 768
        [[datasets.subsets]]
        image_dir = 'cat'
        [[datasets]]
        resolution = 1280
        min_bucket_reso = 512
        max_bucket_reso = 2048
        bucket_reso_steps = 32
        bucket_no_upscale = true
        [[datasets.subsets]]
        image_dir = 'dog'
        [[datasets]]
        resolution = 640
        enable_bucket = false
        bucket_reso_steps = 8
        [[datasets.subsets]]
        image_dir = 'reg'
        """,
    )
    assert [concept.resolution for concept in found.concepts] == ["", "1280", "640x640"]
    buckets = buckets_of(found)
    assert (buckets.minimum, buckets.maximum, buckets.step, buckets.no_upscale) == (256, 2048, 32, False)
    left_out = {note.place: note.text for note in found.left_out}
    assert "largest, 2048" in left_out["datasets.0.max_bucket_reso"]
    assert "smallest, 256" in left_out["datasets.1.min_bucket_reso"]
    assert "first, false" in left_out["datasets.1.bucket_no_upscale"]
    assert "enable_bucket off" in left_out["datasets.2.bucket_reso_steps"]
    assert buckets.resolutions(found.concepts[2]) == (Resolution(640, 640, exact=True),)


# -- what is wrong


@pytest.mark.parametrize(
    ("keys", "key", "words"),
    [
        ("keep_tokens = 'two'", "keep_tokens", 'must be a whole number (it is "two")'),
        ("keep_tokens = true", "keep_tokens", "must be a whole number"),
        ("flip_aug = 1", "flip_aug", "must be true or false"),
        ("num_repeats = 1.5", "num_repeats", "must be a whole number"),
        ("num_repeats = 20000", "num_repeats", "at most 10000"),
        ("class_tokens = ['sks']", "class_tokens", "must be text in quotes"),
        ("caption_dropout_rate = 'a'", "caption_dropout_rate", "must be a number"),
        ("caption_dropout_rate = 1.5", "caption_dropout_rate", "at most 1"),
        ("caption_tag_dropout_rate = -1", "caption_tag_dropout_rate", "at least 0"),
        ("caption_extension = 'txt'", "caption_extension", "must match"),
        ("keep_tokens_separator = ','", "keep_tokens_separator", "must differ"),
        ("custom_attributes = 1", "custom_attributes", "must be a table"),
        ("custom_attributes = {diff_output_preservation = 1}", "custom_attributes.diff_output_preservation", "true or"),
        ("conditioning_data_dir = 'nowhere'", "conditioning_data_dir", "there is no folder 'nowhere'"),
        ("metadata_file = 'nowhere.json'", "metadata_file", "there is no file 'nowhere.json'"),
        ("metadata_file = ''", "metadata_file", "must not be empty"),
        ("metadata_file = 'cat'", "metadata_file", "there is no file"),
    ],
)
def test_a_wrong_value_is_named(folders: Path, keys: str, key: str, words: str) -> None:
    text = f"[[datasets]]\nresolution=512\n[[datasets.subsets]]\nimage_dir='cat'\n{keys}"
    problems = problems_of(folders, text)
    assert list(problems) == [f"datasets.0.subsets.0.{key}"]
    assert words in problems[f"datasets.0.subsets.0.{key}"]


@pytest.mark.parametrize(
    ("keys", "key", "words"),
    [
        ("resolution = '512'", "resolution", "whole number above 0"),
        ("resolution = [512, 512, 512]", "resolution", "whole number above 0"),
        ("resolution = 0", "resolution", "above 0"),
        ("resolution = 32", "resolution", "out of bounds"),
        ("resolution = 2048\nenable_bucket = true", "resolution", "must lie between"),
        ("resolution = 512\nbatch_size = 0", "batch_size", "at least 1"),
        ("resolution = 512\nbucket_reso_steps = 10", "bucket_reso_steps", "multiple of 8"),
        ("resolution = 512\nbucket_reso_steps = 0", "bucket_reso_steps", "at least 8"),
        ("resolution = 512\nenable_bucket = 1", "enable_bucket", "true or false"),
    ],
)
def test_a_wrong_size_is_named(folders: Path, keys: str, key: str, words: str) -> None:
    problems = problems_of(folders, f"[[datasets]]\n{keys}\n[[datasets.subsets]]\nimage_dir='cat'")
    assert list(problems) == [f"datasets.0.{key}"]
    assert words in problems[f"datasets.0.{key}"]


def test_a_concepts_own_resolution_must_fit_too(folders: Path) -> None:
    text = "\n".join(
        f"[[datasets]]\nenable_bucket=true\nresolution={side}\n[[datasets.subsets]]\nimage_dir='cat'"
        for side in (512, 2048)
    )
    assert "between" in problems_of(folders, text)["datasets.1.resolution"]


def test_a_concepts_own_resolution_must_be_one(folders: Path) -> None:
    text = "\n".join(f"[[datasets]]\nresolution={side}\n[[datasets.subsets]]\nimage_dir='cat'" for side in (512, 32))
    problems = problems_of(folders, text)
    assert list(problems) == ["datasets.1.resolution"] and "out of bounds" in problems["datasets.1.resolution"]


def test_what_one_dataset_does_to_another_is_told(folders: Path) -> None:
    found = imported(
        folders,
        """
        [[datasets]]
        resolution = 512
        enable_bucket = true
        bucket_no_upscale = true
        batch_size = 4
        [[datasets.subsets]]
        image_dir = 'cat'
        [[datasets]]
        resolution = [512, 768]
        [[datasets.subsets]]
        image_dir = 'dog'
        """,
    )
    notes = {note.place: note.text for note in found.notes}
    assert found.concepts[1].resolution == "512x768"
    assert "smaller pictures are left out" in notes["datasets.1.resolution"]
    assert "1, counts, which is kohya's default" in notes["datasets.0.batch_size"]


def test_all_problems_at_once(folders: Path) -> None:
    problems = problems_of(
        folders,
        """
        [general]
        shuffle_caption = "yes"
        [[datasets]]
        resolution = "512"
        [[datasets.subsets]]
        image_dir = "nowhere"
        keep_tokens = -1
        [[datasets.subsets]]
        num_repeats = "a"
        [[datasets.subsets]]
        image_dir = 5
        """,
    )
    assert set(problems) == {
        "general.shuffle_caption",
        "datasets.0.resolution",
        "datasets.0.subsets.0.image_dir",
        "datasets.0.subsets.0.keep_tokens",
        "datasets.0.subsets.1.num_repeats",
        "datasets.0.subsets.1.image_dir",
        "datasets.0.subsets.2.image_dir",
    }


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ("a = [", "", "not valid TOML"),
        ("[general]\nkeep_tokens = 1", "datasets", "[[datasets]]"),
        ("[[datasets]]\nresolution = 512", "datasets.0.subsets", "[[datasets.subsets]]"),
        ("[datasets]\nresolution = 512", "datasets", "two brackets"),
        ("datasets = [1]", "datasets.0", "must be a table"),
        ("general = 1\ndatasets = []", "general", "must be a table"),
        ("[[datasets]]\n[datasets.subsets]\nimage_dir='cat'", "datasets.0.subsets", "two brackets"),
    ],
)
def test_a_broken_file(folders: Path, text: str, path: str, words: str) -> None:
    assert words in problems_of(folders, text)[path]


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(OchreError, match=r"There is no file or folder .*nowhere\.toml"):
        read_kohya(tmp_path / "nowhere.toml")
    (tmp_path / "latin.toml").write_bytes("name = 'é'".encode("latin-1"))
    with pytest.raises(OchreError, match=r"latin\.toml is not UTF-8"):
        read_kohya(tmp_path / "latin.toml")
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(SettingsError, match="must be a table"):
        read_kohya(tmp_path / "list.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(SettingsError, match="not valid JSON"):
        read_kohya(tmp_path / "broken.json")
    (tmp_path / "lines.jsonl").write_text("{}")
    text = "[[datasets]]\n[[datasets.subsets]]\nmetadata_file='lines.jsonl'"
    assert "JSON in lines" in problems_of(tmp_path, text)["datasets.0.subsets.0.metadata_file"]


# -- folders


def test_a_folder_of_folders(tmp_path: Path) -> None:
    train, reg = tmp_path / "train", tmp_path / "class"
    for name in ("train/10_sks dog", "train/3_cat_girl", "train/5", "train/0_none", "train/drafts", "class/1_dog"):
        (tmp_path / name).mkdir(parents=True)
    for number, (name, ending) in enumerate([("10_sks dog", ".caption"), ("3_cat_girl", ".txt")]):
        Image.new("RGB", (128, 128), (number, 0, 0)).save(train / name / "0.png")
        (train / name / f"0{ending}").write_text("sitting\nstanding")
    Image.new("RGB", (128, 128), (7, 0, 0)).save(train / "loose.png")
    Image.new("RGB", (128, 128), (8, 0, 0)).save(reg / "1_dog/0.png")
    found = read_kohya(train, reg)
    summary = [(c.name, c.kind, c.repeats, c.trigger_word, c.text.caption_extension) for c in found.concepts]
    assert summary == [
        ("sks dog", "standard", 10, "sks dog", ".caption"),
        ("cat_girl", "standard", 3, "cat_girl", ".txt"),
        ("dog", "regularisation", 1, "dog", ".txt"),
    ]
    assert found.settings == {}
    left_out = {note.place: note.text for note in found.left_out}
    assert {Path(place).name for place in left_out} == {"5", "0_none", "drafts", "train"}
    assert "call it 5_" in left_out[str(train / "5")]
    assert sum("1 pictures lie in no subfolder" in note.text for note in found.left_out) == 1
    assert "command line" in left_out[str(train)] or any("command line" in n.text for n in found.left_out)
    surveyed = survey(found.concepts, Buckets(resolution="128", step=32, minimum=64, maximum=256))
    assert [entry.captions for entry in surveyed.entries] == [("sitting",), ("sitting",), ()]


def test_a_folder_that_is_no_such(tmp_path: Path) -> None:
    (tmp_path / "set/img/10_cat").mkdir(parents=True)
    with pytest.raises(PictureError, match=r"no subfolder .* give that"):
        read_folder(tmp_path / "set")
    with pytest.raises(PictureError, match="It is itself one"):
        read_folder(tmp_path / "set/img/10_cat")
    with pytest.raises(PictureError, match="Call each folder"):
        read_folder(tmp_path)
    with pytest.raises(OchreError, match="is_reg"):
        read_kohya(config(tmp_path, ""), tmp_path / "set")


# -- the table


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_the_table_names_what_there_is(key: Key) -> None:
    default = to_data(LoraConfig())
    for path in key.ours:
        place: Any = default
        whole = path if path.split(".")[0] in ("buckets", "training", "concepts", "validation") else f"concepts.{path}"
        for name in whole.split("."):
            place = place[0] if isinstance(place, list) else place
            assert name in place, path
            place = place[name]
    assert set(key.settings(key.example)) <= set(key.ours) if key.example is not None else True
    assert key.ours or key.note


def test_every_option_of_the_command_line_leads_somewhere() -> None:
    default = to_data(LoraConfig())
    for ours in filter(None, COMMAND_LINE.values()):
        place: Any = default
        for name in ours.split(" ")[0].split("."):
            place = place[0] if isinstance(place, list) else place
            place = place[name]
    assert not set(COMMAND_LINE) & set(KEYS)


def test_the_page_has_a_row_for_each_key() -> None:
    rows = [line for line in kohya_page().splitlines() if line.startswith("| `")]
    names = [row.split("`")[1] for row in rows]
    assert sorted(names) == sorted([*KEYS, *COMMAND_LINE])
    written = Path(__file__).parents[4] / "docs/import_kohya.md"
    assert written.read_text(encoding="utf-8") == kohya_page()
