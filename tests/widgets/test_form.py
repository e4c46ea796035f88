"""The form made from the LoRA job's settings: what goes in comes out, what is wrong stays and is named."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Literal, get_args

import ipywidgets as ipw
import pytest

from core.config.lora import LoraConfig
from core.config.toml_file import merge, to_data
from core.errors import Problem
from core.settings import Settings, setting
from core.settings.checks import validate
from widgets.field import Row, element_type, from_text, to_text
from widgets.form import Form
from widgets.tables import Cards, Choice, Group, Node


def problems(data: dict[str, Any]) -> list[Problem]:
    return validate(LoraConfig, data)[1]


def rows(node: Node, path: str = "") -> Iterator[tuple[str, Row]]:
    """Every row of a form, by path."""
    if isinstance(node, Row):
        yield path, node
    elif isinstance(node, Choice):
        yield f"{path}.name", node.chooser
        yield from rows(node._group(), path)
    elif isinstance(node, Cards):
        for index, card in enumerate(node.cards):
            yield from rows(card.node, f"{path}.{index}")
    elif isinstance(node, Group):
        for name, child in node.children.items():
            yield from rows(child, f"{path}.{name}" if path else name)


def full_data() -> dict[str, Any]:
    """Defaults, with an entry in each list."""
    data = to_data(LoraConfig())
    return merge(data, {"weightings": [{"name": "min_snr", "gamma": 5.0}], "sampling": {"prompts": [{"prompt": "a"}]}})


def at(data: Any, path: str) -> Any:
    for key in path.split("."):
        data = data[int(key)] if isinstance(data, list) else data[key]
    return data


def other(row: Row) -> Any:
    """A value of the row's type that it doesn't have now."""
    value = row.data()
    if row.options:
        return next((option for _, option in row.options if option != value), value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return _entries(row) if isinstance(value, list) else f"{value}x"


def _entries(row: Row) -> list[Any]:
    """Two entries of a list's type."""
    kind = element_type(row.field.annotation)
    numbers: dict[Any, list[Any]] = {int: [2, 4], float: [0.5, 0.25], str: ["a tag"]}
    return numbers[kind] if kind in numbers else list(get_args(kind))[:2]


def type_in(row: Row, value: Any) -> None:
    """What a user does: change the input."""
    row.widget  # noqa: B018  builds it
    chosen = isinstance(row._input, ipw.Checkbox | ipw.Dropdown)
    row._input.value = value if chosen else to_text(value)


def test_defaults_come_out_as_they_went_in() -> None:
    assert Form(LoraConfig).data() == to_data(LoraConfig())
    form = Form(LoraConfig, full_data())
    assert validate(LoraConfig, form.data())[0] == validate(LoraConfig, full_data())[0]


def test_every_row_shows_its_value_and_gives_it_back() -> None:
    form = Form(LoraConfig, full_data())
    before = form.data()
    for _, row in rows(form._root):
        row.widget  # noqa: B018  builds it
    assert form.data() == before


@pytest.mark.parametrize("path", [path for path, _ in rows(Form(LoraConfig, full_data())._root)])
def test_what_is_typed_reaches_the_data(path: str) -> None:
    form = Form(LoraConfig, full_data())
    row = dict(rows(form._root))[path]
    new = other(row)
    type_in(row, new)
    assert at(form.data(), path) == new


@pytest.mark.parametrize(
    ("typed", "value"), [("1e-4", 1e-4), ("0.0001", 1e-4), (" 2 ", 2.0), ("-3", -3.0), ("1e-4x", "1e-4x"), ("", "")]
)
def test_numbers_as_people_write_them(typed: str, value: Any) -> None:
    assert from_text(typed, float) == value


def test_whole_numbers_stay_whole() -> None:
    assert from_text("16", int) == 16
    assert isinstance(from_text("1e3", int), int)
    assert from_text("2.5", int) == 2.5
    assert from_text("9007199254740993", int) == 9007199254740993
    assert from_text("0.9, 0.99", list[float]) == [0.9, 0.99]


def test_a_wrong_value_stays_and_is_named_beside_it() -> None:
    form = Form(LoraConfig, full_data(), problems)
    row = form.row("parts.denoiser.learning_rate")
    type_in(row, "1e-4x")
    assert row._input.value == "1e-4x"
    assert "Must be a number" in row._note.value
    assert "ochre-wrong" in row._input._dom_classes
    type_in(row, "1e-4")
    assert "ochre-problem" not in row._note.value
    assert "ochre-wrong" not in row._input._dom_classes


def test_a_problem_is_shown_only_where_the_user_was() -> None:
    form = Form(LoraConfig, full_data(), problems)
    source = form.row("base.source")
    source.widget  # noqa: B018  builds it
    type_in(form.row("training.epochs"), "0")
    assert "at least 1" in form.row("training.epochs")._note.value
    assert "ochre-problem" not in source._note.value
    form.show(problems(form.data() | {"training": {"epochs": 1}}))
    assert "ochre-problem" in source._note.value


def test_every_problem_has_a_place() -> None:
    form = Form(LoraConfig, full_data())
    paths = [path for path, _ in rows(form._root) if "." in path]  # `version` is no row of a section
    form.show([Problem(path, f"wrong at {path}") for path in paths])
    for path, row in rows(form._root):
        if path not in paths:
            continue
        row.widget  # noqa: B018  builds it
        assert f"Wrong at {path}." in row._note.value


def test_an_unknown_setting_is_shown_at_its_table() -> None:
    form = Form(LoraConfig, merge(full_data(), {"training": {"epochz": 3}}))
    body = form.body("training")
    found = problems(form.data())
    assert [problem.path for problem in found] == ["training.epochz"]
    form.show(found)
    assert any("did you mean" in str(getattr(child, "value", "")) for child in body.children)


def test_advanced_rows_come_when_asked_for_or_wrong() -> None:
    form = Form(LoraConfig, full_data(), problems)
    body = form.body("training")
    count = len(body.children)
    form.show([Problem("training.max_grad_norm", "too much")])
    assert len(body.children) > count


class Crop(Settings):
    """A setting that applies only with some values of its neighbour, and one that may be missing."""

    way: Literal["centre", "random"] = setting("centre", "Way", "Where.")
    jitter: int | None = setting(None, "Jitter", "How far.", unit="px", shown_if={"way": ["random"]})


class Job(Settings):
    """A job of one section."""

    crop: Crop = setting(Crop(), "Crop", "How.")


def test_a_row_is_shown_where_it_applies() -> None:
    form = Form(Job)
    body = form.body("crop")
    assert len(body.children) == 1
    type_in(form.row("crop.way"), "random")
    assert [child.children[0].description for child in body.children] == ["Way", "Jitter (px)"]


def test_an_optional_setting_may_be_left_empty() -> None:
    form = Form(Job)
    assert form.data() == {"crop": {"way": "centre"}}
    type_in(form.row("crop.jitter"), "4")
    assert form.data() == {"crop": {"way": "centre", "jitter": 4}}
    type_in(form.row("crop.jitter"), "")
    assert form.data() == {"crop": {"way": "centre"}}


def test_choosing_another_plugin_replaces_its_table() -> None:
    form = Form(LoraConfig, full_data(), problems)
    chooser = dict(rows(form._root))["optimizer.name"]
    type_in(dict(rows(form._root))["optimizer.weight_decay"], 0.5)
    type_in(chooser, "prodigy")
    assert form.data()["optimizer"]["name"] == "prodigy"
    assert "d_coef" in form.data()["optimizer"]
    type_in(chooser, "adamw")
    assert form.data()["optimizer"]["weight_decay"] == 0.5
    assert validate(LoraConfig, form.data())[0] is not None


def test_cards_are_added_and_removed() -> None:
    form = Form(LoraConfig, full_data(), problems)
    cards = form.cards("concepts")
    form.body("concepts")
    cards.add()
    type_in(form.row("concepts.1.trigger_word"), "ochrestar")
    cards.remove(cards.cards[0])
    assert [concept["trigger_word"] for concept in form.data()["concepts"]] == ["ochrestar"]
    type_in(form.row("concepts.0.repeats"), "many")
    assert "Must be a number" in form.row("concepts.0.repeats")._note.value


def test_a_replacement_is_one_click() -> None:
    form = Form(LoraConfig, full_data(), problems)
    row = dict(rows(form._root))["optimizer.name"]
    row.widget  # noqa: B018  builds it
    form.show([Problem("optimizer.name", "doesn't work here", {"optimizer": {"name": "lion"}})])
    button = row._box.children[-1]
    assert isinstance(button, ipw.Button)
    button.click()
    assert form.data()["optimizer"]["name"] == "lion"
    assert validate(LoraConfig, form.data())[0] is not None


def test_search_finds_what_other_programs_call_it() -> None:
    form = Form(LoraConfig, full_data())
    box = form.sections(["networks", "training", "saving"])
    box.children[0].value = "network_dim"
    shown = [section.widget.layout.display != "none" for section in form._sections.values()]
    assert shown == [True, False, False]
    box.children[0].value = ""
    assert all(section.widget.layout.display is None for section in form._sections.values())


def test_nothing_is_built_before_it_is_opened() -> None:
    form = Form(LoraConfig, full_data())
    form.sections(["networks", "training"])
    assert form.row("training.epochs")._box is None
    form._sections["training"].open()
    assert form.row("training.epochs")._box is not None


def test_a_form_needs_neither_torch_nor_diffusers_and_opens_in_a_second() -> None:
    code = (
        "import time, sys, ipywidgets\n"
        "start = time.process_time()\n"
        "from core.config.lora import LoraConfig\n"
        "from widgets.form import Form\n"
        "form = Form(LoraConfig)\n"
        "form.sections(['parts', 'networks', 'training', 'optimizer'])\n"
        "took = time.process_time() - start\n"
        "assert not {'torch', 'diffusers', 'transformers'} & set(sys.modules)\n"
        "assert took < 1.5, took  # of processor time; half a second on a quiet machine\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_true_in_a_file_is_yes_where_that_is_to_choose_from() -> None:
    form = Form(LoraConfig, merge(full_data(), {"parts": {"text_1": {"train": True}, "text_2": {"train": False}}}))
    row = form.row("parts.text_1.train")
    assert (row.data(), form.row("parts.text_2.train").data()) == ("yes", "no")
    assert row.widget and [value for _, value in row._input.options] == ["default", "yes", "no"]


def test_what_every_schedule_has_stays_when_another_is_chosen() -> None:
    form = Form(LoraConfig, full_data())
    form.row("schedule.warmup_fraction").choose(0.1)
    form.row("schedule.minimum").choose(0.3)
    form.row("schedule.name").choose("rex_with_restarts")
    form.row("schedule.warmup_steps").choose(7)
    assert (
        form.data()["schedule"] | {"warmup_fraction": 0.1, "warmup_steps": 7, "minimum": 0.0, "d": 0.9}
        == form.data()["schedule"]
    )
    form.row("schedule.name").choose("cosine")  # its own minimum is still there
    assert form.data()["schedule"] == {"name": "cosine", "warmup_fraction": 0.1, "warmup_steps": 7, "minimum": 0.3}
