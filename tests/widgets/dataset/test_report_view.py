"""The report in the panel: the overview, a table that leaves nothing out, one concept's numbers, the JSON file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import ipywidgets as ipw
import pytest
from PIL import Image

from core.config.lora import LoraConfig
from core.config.toml_file import merge, to_data
from core.settings.checks import validate
from widgets.dataset.look import Look
from widgets.dataset.overview import LINES_FOLDED, LINES_SHOWN, listed
from widgets.dataset.report_view import SAVED, ReportView
from widgets.dataset.statistics import Statistics


def text(widget: ipw.Widget) -> str:
    own = f"{getattr(widget, 'value', '')}{getattr(widget, 'description', '')}"
    return own + "".join(text(child) for child in getattr(widget, "children", ()))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three pictures of cats, one of them small and one of them a copy, and a file that is none."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "cats"
    folder.mkdir()
    for number, side in enumerate((192, 40)):
        Image.effect_mandelbrot((side, side), (-2 + number, -1.5, 1, 1.5), 60).convert("RGB").save(
            folder / f"{number}.png"
        )
        (folder / f"{number}.txt").write_text("cat, on a mat" if number else "cat, in a hat" + ", very" * 60)
    shutil.copy(folder / "0.png", folder / "2.png")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def data_of(*concepts: dict[str, Any]) -> dict[str, Any]:
    sizes = {"resolution": "128", "step": 32, "minimum": 64, "maximum": 256}
    return merge(to_data(LoraConfig()), {"concepts": list(concepts), "buckets": sizes, "base": {"source": "a model"}})


def look_at(data: dict[str, Any]) -> Look:
    return Look(lambda: data, lambda data: validate(LoraConfig, data))


def view_of(data: dict[str, Any]) -> ReportView:
    view = ReportView(look_at(data))
    view.refresh()
    return view


def test_the_overview_tells_what_is_worth_a_look(folder: Path) -> None:
    concept = {"name": "cat", "folder": "cats", "repeats": 2.5, "image": {"flip": "random"}}
    shown = text(view_of(data_of(concept)).widget)
    assert "<b>3 pictures</b>" in shown
    assert "3 pictures (and 1 left out), each shown 2.5 times in an epoch" in shown
    assert shown.count("data:image/jpeg") == 3
    assert "128x128: 3" in shown  # read to those who don't see the bar
    assert "broken.png" in shown
    assert "cats/0.png, cats/2.png" in shown
    assert "only one version of it is kept" in shown


def test_the_table_leaves_no_picture_out(folder: Path) -> None:
    view = view_of(data_of({"name": "cat", "folder": "cats"}))
    assert view.tabs
    view.tabs.choose("Every picture (4)")
    shown = text(view.widget)
    for name in ("0.png", "1.png", "2.png", "broken.png"):
        assert f"<td>cats/{name}</td>" in shown
    assert "<td>128x128</td><td>3.2</td>" in shown
    assert "left out: " in shown
    kinds = [label for label, _ in view.tabs._built["Every picture (4)"].children[0].children[0].children[0].options]
    assert kinds == [
        "All (4)",
        "Left out (1)",
        "Used (3)",
        "Enlarged (1)",
        "Without caption (1)",
        "Caption too long (1)",
    ]


def test_a_problem_is_told_beside_what_was_found(folder: Path) -> None:
    data = data_of({"name": "cat", "folder": "cats"}, {"name": "dog", "folder": "dogs"})
    shown = text(view_of(data).widget)
    assert "One thing stands in the way." in shown
    assert "The folder dogs doesn&#x27;t exist" in shown
    assert "<b>3 pictures</b>" in shown


def test_wrong_settings_are_named(folder: Path) -> None:
    assert "repeats" in text(view_of(data_of({"name": "cat", "folder": "cats", "repeats": 0})).widget)


def test_the_whole_report_is_saved_as_json(folder: Path) -> None:
    view = view_of(data_of({"name": "cat", "folder": "cats"}))
    buttons = [one for one in walk(view.widget) if isinstance(one, ipw.Button) and "JSON" in one.description]
    buttons[0].click()
    data = json.loads(SAVED.read_text(encoding="utf-8"))
    assert [picture["name"] for picture in data["pictures"]] == [
        f"cats/{name}.png" for name in ("0", "1", "2", "broken")
    ]
    assert str(SAVED) in text(view.widget)


def walk(widget: ipw.Widget) -> Any:
    yield widget
    for child in getattr(widget, "children", ()):
        yield from walk(child)


def test_a_concept_in_numbers(folder: Path) -> None:
    look = look_at(data_of({"name": "off", "enabled": False}, {"name": "cat", "folder": "cats"}))
    numbers = Statistics(look, lambda: 1)
    numbers.refresh()
    shown = text(numbers.widget)
    facts = {
        "Pictures": "3 pictures, and 1 left out",
        "Smaller than their bucket": "1",
        "Missing": "1",
        "Too long": "1",
    }
    for name, value in facts.items():
        assert f"<dt>{name}</dt><dd>{value}</dd>" in shown
    assert "40x40, cats/1.png" in shown
    assert "cat: 2" in shown
    assert "on a mat: 1" in shown
    assert "75 are used" in shown
    numbers._index = lambda: 0
    numbers.refresh()
    assert "switched off" in text(numbers.widget)


def test_numbers_are_counted_again_at_a_click(folder: Path) -> None:
    numbers = Statistics(look_at(data_of({"name": "cat", "folder": "cats"})), lambda: 0)
    numbers.refresh()
    (folder / "broken.png").unlink()
    numbers.refresh()
    assert "1 left out" in text(numbers.widget)
    numbers.widget.children[1].click()
    assert "1 left out" not in text(numbers.widget)


def test_a_large_set_leaves_the_notebook_small(folder: Path) -> None:
    for number in range(3, 300):
        shutil.copy(folder / "1.png", folder / f"{number}.png")
    view = view_of(data_of({"name": "cat", "folder": "cats"}))
    assert view.tabs
    view.tabs.choose("Every picture (301)")
    assert len(text(view.widget)) < 200_000


def test_a_long_list_is_folded_and_its_end_only_counted() -> None:
    html = listed("Left out", (f"{number}.png" for number in range(1000)))
    before, _, folded = html.partition("<details>")
    assert before.count("<li>") == LINES_SHOWN
    assert folded.count("<li>") == LINES_FOLDED + 1
    assert f"and {1000 - LINES_SHOWN - LINES_FOLDED} more" in folded
    assert listed("Left out", []) == ""
