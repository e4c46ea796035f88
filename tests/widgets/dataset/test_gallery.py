"""Concepts as cards: added, opened, edited, duplicated, removed, put back; every setting of a concept in one tab."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ipywidgets as ipw
import pytest
from PIL import Image

from core.config.lora import LoraConfig
from core.dataset.settings import Concept
from core.settings import Settings
from core.settings.checks import validate
from widgets.dataset.details import GENERAL, Details, settings_tabs
from widgets.dataset.gallery import Gallery
from widgets.dataset.glance import Place, glance
from widgets.dataset.look import Look
from widgets.dataset.statistics import Statistics
from widgets.field import Row
from widgets.form import Form
from widgets.tables import Group

CONCEPTS = [
    {"name": "cat", "folder": "cats", "trigger_word": "ochrecat"},
    {"name": "dog", "folder": "10_dog", "kind": "regularisation"},
]


@pytest.fixture
def form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Form:
    monkeypatch.chdir(tmp_path)
    for folder, count in (("cats", 5), ("10_dog", 2)):
        Path(folder).mkdir()
        for number in range(count):
            Image.new("RGB", (64, 48), (40 * number, 90, 120)).save(Path(folder) / f"{number}.png")
    data = {"concepts": CONCEPTS, "base": {"source": "a model"}}
    return Form(LoraConfig, data, lambda data: validate(LoraConfig, data)[1])


@pytest.fixture
def gallery(form: Form) -> Gallery:
    cards = form.cards("concepts")
    look = Look(form.data, lambda data: validate(LoraConfig, data))
    counted = lambda card: Statistics(look, lambda: cards.cards.index(card))  # noqa: E731
    gallery = cards.shown_as = Gallery(cards, counted, lambda card: [f"advice on {card.node.label}"], lambda: None)
    form.body("concepts")
    return gallery


def names(form: Form) -> list[str]:
    return [concept["name"] for concept in form.data()["concepts"]]


def open_card(gallery: Gallery, number: int) -> Details:
    gallery.open(gallery._cards.cards[number])
    assert gallery.opened
    return gallery.opened


def text(widget: ipw.Widget) -> str:
    own = f"{getattr(widget, 'value', '')}{getattr(widget, 'description', '')}"
    return own + "".join(text(child) for child in getattr(widget, "children", ()))


def paths(cls: type[Settings], inside: str = "") -> Iterator[str]:
    """Every setting, by path."""
    for name, field in cls.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Settings):
            yield from paths(kind, f"{inside}{name}.")
        else:
            yield inside + name


def test_a_card_tells_name_kind_pictures_and_whether_it_is_enabled(gallery: Gallery) -> None:
    cat, dog = gallery._tiles.values()
    shown = text(cat.widget)
    assert shown.count("data:image/jpeg") == 3
    assert all(words in shown for words in ("5 pictures", "cat", "standard", "True"))
    assert "2 pictures" in text(dog.widget)
    assert "regularisation" in text(dog.widget)


def test_the_switch_on_a_card_is_the_setting(form: Form, gallery: Gallery) -> None:
    cat = next(iter(gallery._tiles.values()))
    cat._enabled.value = False
    assert form.data()["concepts"][0]["enabled"] is False
    assert "ochre-off" in cat.widget._dom_classes
    form.row("concepts.0.enabled").choose(True)
    assert cat._enabled.value is True


def test_pressing_a_card_opens_and_closes_it(gallery: Gallery) -> None:
    cat, dog = gallery._tiles.values()
    assert gallery.opened is None
    dog._name.click()
    assert gallery.opened
    assert "<b>dog</b>" in text(gallery.opened.widget)
    assert "advice on dog" in text(gallery.opened.widget)
    assert "ochre-open" in dog.widget._dom_classes
    cat._name.click()
    assert "ochre-open" not in dog.widget._dom_classes
    cat._name.click()
    assert gallery.opened is None


def test_every_setting_of_a_concept_stands_in_one_tab(form: Form, gallery: Gallery) -> None:
    group = form.cards("concepts").cards[0].node
    assert isinstance(group, Group)
    tabs = settings_tabs(group)
    assert list(tabs) == [GENERAL, "Augmentation", "Detail crops"]
    details = open_card(gallery, 0)
    for path in paths(Concept):
        title = details._tab_of(path)
        row = form.row(f"concepts.0.{path}")
        owner = path.rpartition(".")[0]
        conditions = row.info.shown_if
        for other, values in conditions.items():
            form.row(".".join(part for part in ("concepts.0", owner, other) if part)).choose(values[0])
        assert [row.widget in tab.widgets() for tab in tabs.values()] == [name == title for name in tabs], path


def test_a_tab_is_built_when_it_is_first_opened(form: Form, gallery: Gallery) -> None:
    details = open_card(gallery, 0)
    flip = form.row("concepts.0.image.flip")
    assert form.row("concepts.0.name")._box is not None
    assert flip._box is None
    details.tabs.choose("Augmentation")
    assert flip._box is not None
    button(details.widget, "Statistics").click()
    assert "<dt>Pictures</dt><dd>5 pictures</dd>" in text(details.widget)


def test_a_row_appears_in_its_tab_when_it_applies(form: Form, gallery: Gallery) -> None:
    details = open_card(gallery, 0)
    details.tabs.choose("Detail crops")
    assert "Overlap" not in text(details.widget)
    form.row("concepts.0.image.detail_crops.enabled").choose(True)
    assert "Overlap" in text(details.widget)
    assert "Detail crops (on)" in text(details.widget)


def test_a_concept_is_added_and_opened(form: Form, gallery: Gallery) -> None:
    gallery._add.click()
    assert len(form.data()["concepts"]) == 3
    assert gallery.opened is gallery._details[form.cards("concepts").cards[2]]
    assert "No folder yet" in text(gallery._tiles[form.cards("concepts").cards[2]].widget)
    assert "New" in text(gallery._tiles[form.cards("concepts").cards[2]].widget)
    form.row("concepts.2.folder").choose("cats")
    assert "cats" in text(gallery._tiles[form.cards("concepts").cards[2]].widget)
    assert "5 pictures" in text(gallery._tiles[form.cards("concepts").cards[2]].widget)


def button(widget: ipw.Widget, words: str) -> ipw.Button:
    found = [one for one in walk(widget) if isinstance(one, ipw.Button) and words in one.description]
    assert len(found) == 1, words
    return found[0]


def walk(widget: ipw.Widget) -> Iterator[ipw.Widget]:
    yield widget
    for child in getattr(widget, "children", ()):
        yield from walk(child)


def test_a_duplicate_has_the_same_settings_and_a_name_of_its_own(form: Form, gallery: Gallery) -> None:
    form.row("concepts.0.image.flip").choose("random")
    button(open_card(gallery, 0).widget, "Duplicate").click()
    assert names(form) == ["cat", "cat 2", "dog"]
    first, second, _ = form.data()["concepts"]
    assert {**second, "name": "cat"} == first
    form.row("concepts.1.image.flip").choose("off")
    assert form.data()["concepts"][0]["image"]["flip"] == "random"


def test_a_removed_concept_can_be_put_back(form: Form, gallery: Gallery) -> None:
    form.row("concepts.0.image.flip").choose("random")
    before = form.data()
    button(open_card(gallery, 0).widget, "Remove").click()
    assert names(form) == ["dog"]
    assert gallery.opened is None
    assert "cat is removed." in text(gallery._box)
    gallery._undo.click()
    assert form.data() == before
    assert "is removed" not in text(gallery._box)


def test_a_folders_name_proposes_repeats_and_a_click_takes_them(form: Form, gallery: Gallery) -> None:
    details = open_card(gallery, 1)
    assert form.data()["concepts"][1]["repeats"] == 1
    button(details.widget, "Use 10").click()
    assert form.data()["concepts"][1]["repeats"] == 10
    assert "Use 10" not in text(details.widget)
    assert "regularisation · 10×" in text(gallery._box)
    assert "proposes" not in text(open_card(gallery, 0).widget)


def test_a_wrong_value_stays_and_marks_its_tab_and_its_card(form: Form, gallery: Gallery) -> None:
    details = open_card(gallery, 0)
    details.tabs.choose("Detail crops")
    form.row("concepts.0.image.detail_crops.enabled").choose(True)
    scales = form.row("concepts.0.image.detail_crops.scales")
    scales.widget  # noqa: B018  builds it
    scales._input.value = "2, many"
    assert scales._input.value == "2, many"
    assert "must be a whole number" in scales._note.value.lower()
    assert "Detail crops (1 to correct)" in text(details.widget)
    assert "1 to correct" in text(next(iter(gallery._tiles.values())).widget)
    scales._input.value = "2, 4"
    assert form.data()["concepts"][0]["image"]["detail_crops"]["scales"] == [2, 4]
    assert "to correct" not in text(gallery._box)


@pytest.mark.parametrize(
    ("path", "typed", "value"),
    [
        ("text.caps", "upper, first", ["upper", "first"]),
        ("text.tag_dropout_list", "a tag\n.{1,3}", ["a tag", ".{1,3}"]),
        ("image.detail_crops.scales", "2,4", [2, 4]),
        ("resolution", "512, 768", "512, 768"),
        ("resolution", "768x1152", "768x1152"),
    ],
)
def test_lists_and_resolutions_as_people_write_them(form: Form, path: str, typed: str, value: Any) -> None:
    row = form.row(f"concepts.0.{path}")
    row.widget  # noqa: B018  builds it
    row._input.value = typed
    assert row.data() == value
    assert "ochre-problem" not in row._note.value
    row._input.value = "768x"
    assert ("ochre-problem" in row._note.value) is (path in ("resolution", "text.caps", "image.detail_crops.scales"))
    assert row._input.value == "768x"


def test_other_data_replace_the_cards(form: Form, gallery: Gallery) -> None:
    open_card(gallery, 1)
    form.fill({**form.data(), "concepts": [{"name": "bird", "folder": "cats"}]})
    assert len(gallery._tiles) == 1
    assert gallery.opened is None
    assert "bird" in text(gallery._box)


def test_a_glance_sees_new_pictures_and_passes_over_broken_ones(form: Form) -> None:
    folder = Path("cats")
    before = Place.of("cats", False)
    (folder / "0.png").write_bytes(b"no picture")
    shutil.copy(folder / "1.png", folder / "9.png")
    assert Place.of("cats", False) != before
    found = glance(before)
    assert found.pictures == 6
    assert len(found.urls) == 3


@pytest.mark.parametrize(
    ("folder", "words"), [("", "No folder yet"), ("none", "doesn't exist"), ("a\0b", "doesn't exist")]
)
def test_a_glance_says_why_there_is_nothing(form: Form, folder: str, words: str) -> None:
    assert words in glance(Place.of(folder, False)).problem


def test_an_offer_is_no_change(form: Form) -> None:
    row = form.row("concepts.0.repeats")
    assert isinstance(row, Row)
    row.offer(5.0, "Use 5")
    assert row.data() == 1
    row.offer(1.0, "Use 1")
    assert row._offer is None
