"""Drawings before the start: points lie where schedule and density say, and nothing typed gets out as HTML."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest

from core.config.lora import LoraConfig
from core.registry import registry
from core.settings.bases.schedule import RunLength
from widgets.plot import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Frame, reach, short, step_labels, ticks
from widgets.schedule_plot import Learner, learners_of, schedule_plot
from widgets.times_plot import BINS, times_plot

RUN = RunLength(200, 4, 50)


def _config(**changes: Any) -> LoraConfig:
    return LoraConfig.model_validate(changes)


def _lines(svg: str) -> dict[str, list[tuple[float, float]]]:
    """Class of each polyline -> its points. What isn't well-formed XML is an error here."""
    found = {}
    for line in ElementTree.fromstring(svg).iter("polyline"):
        pairs = [point.split(",") for point in line.attrib["points"].split()]
        found[line.attrib["class"]] = [(float(x), float(y)) for x, y in pairs]
    return found


def _step_and_share(point: tuple[float, float], highest: float) -> tuple[float, float]:
    """A point of the drawing in steps, and as a share of the highest rate; the frame ends 5 % above that."""
    step = (point[0] - LEFT) / (WIDTH - LEFT - RIGHT) * RUN.steps
    return step, (HEIGHT - BOTTOM - point[1]) / (HEIGHT - TOP - BOTTOM) * 1.05 * highest


@pytest.mark.parametrize("name", registry("schedules").names())
def test_the_line_is_the_schedule(name: str) -> None:
    config = _config(schedule={"name": name, "warmup_steps": 20})
    line = _lines(schedule_plot(config, [Learner("denoiser", 1e-4)], RUN))["line-0"]
    assert len(line) == RUN.steps + 1  # the last rate holds to the end of the last step
    for point in line[:-1]:
        step, rate = _step_and_share(point, 1.0)
        assert rate == pytest.approx(config.schedule.factor(round(step), RUN.steps), abs=1e-3)


def test_each_rate_has_a_line_and_a_part_that_stops_falls_to_zero() -> None:
    learners = [Learner("denoiser", 1e-3), Learner("text_1", 5e-4, stop=100), Learner("text_2", 1e-3)]
    svg = schedule_plot(_config(schedule={"name": "constant"}), learners, RUN)
    lines = _lines(svg)
    assert set(lines) == {"line-0", "line-1"}
    assert "denoiser, text_2: 0.001" in svg and "text_1: 5e-4" in svg
    shares = [_step_and_share(point, 1e-3) for point in lines["line-1"]]
    assert all(rate == pytest.approx(5e-4 if step < 100 else 0.0, abs=1e-6) for step, rate in shares)


def test_what_learns_at_a_rate_of_its_own() -> None:
    config = _config(
        parts={"text_1": {"train": "yes", "learning_rate": 5e-5, "stop_after": "2 epochs"}},
        networks=[
            {
                "name": "lora",
                "lora_plus_ratio": 16,
                "rules": [
                    {"blocks": "MID", "learning_rate": 3e-4},
                    {"pattern": "attn2", "learning_rate_factor": 0.5},
                    {"pattern": "ff", "rank": 4},
                ],
            },
            {"name": "embedding", "token": "<glim>", "learning_rate": 2e-3, "stop_after": "30 steps"},
        ],
    )
    assert learners_of(config, config.parts.rates(), RUN) == [
        Learner("denoiser", 1e-4),
        Learner("text_1", 5e-5, 100),
        Learner("denoiser up", pytest.approx(1.6e-3)),
        Learner("text_1 up", pytest.approx(8e-4), 100),
        Learner("rule 1", 3e-4),
        Learner("denoiser rule 2", 5e-5),
        Learner("embedding <glim>", 2e-3, 30),
    ]
    svg = schedule_plot(config, learners_of(config, config.parts.rates(), RUN), RUN)
    assert "<glim>" not in svg and "&lt;glim&gt;" in svg
    assert _lines(svg).keys() == {f"line-{place}" for place in range(4)}
    assert "and 3 more" in svg


def test_a_length_that_is_not_known_is_said_to_be_assumed() -> None:
    learners = [Learner("denoiser", 1e-4)]
    assert "over the run&#x27;s 200 steps" in schedule_plot(_config(), learners, RUN)
    assert "drawn for 200 steps" in schedule_plot(_config(), learners, RUN, known=False)
    assert "the run&#x27;s 1 step<" in schedule_plot(_config(), learners, RunLength(1, 1, 1))


def test_an_optimizer_with_a_rate_of_its_own_has_no_drawing() -> None:
    own = _config(optimizer={"name": "adafactor", "relative_step": True})
    assert "Adafactor sets the learning rate by itself" in schedule_plot(own, [Learner("denoiser", 1e-4)], RUN)


def test_an_optimizer_that_finds_a_factor_is_told_to_do_so() -> None:
    html = schedule_plot(_config(optimizer={"name": "prodigy"}), [Learner("denoiser", 1.0)], RUN)
    assert "Prodigy multiplies this by a factor that it finds" in html
    assert "multiplies" not in schedule_plot(_config(), [Learner("denoiser", 1.0)], RUN)


def test_a_class_that_cannot_be_used_is_told_in_place_of_the_drawing() -> None:
    config = _config(schedule={"name": "custom", "class_path": "nowhere.<b>", "arguments": []})
    html = schedule_plot(config, [Learner("denoiser", 1e-4)], RUN)
    assert "can&#x27;t be drawn" in html and "<b>nowhere" not in html and "&lt;b&gt;" in html


@pytest.mark.parametrize("name", registry("times").names())
def test_the_area_below_the_density_is_one(name: str) -> None:
    config = _config(times={"name": name})
    line = _lines(times_plot(config.times, 64, 64))["smooth"]
    svg = times_plot(config.times, 64, 64)
    (top,) = [
        max(
            float(y)
            for _, y in [p.split(",") for p in re.findall(r'polygon class="area" points="([^"]+)', svg)[0].split()]
        )
    ]
    assert top == 180 - BOTTOM  # it begins and ends at the lower edge
    assert len(line) == 2 * BINS
    labelled = [
        (float(y), float(text)) for y, text in re.findall(r'y="([\d.]+)" text-anchor="end">([\d.]+)</text>', svg)
    ]
    (y0, v0), (y1, v1) = labelled[0], labelled[1]
    scale = (v1 - v0) / (y1 - y0)
    heights = [v0 + (y + 4 - y0) * scale for _, y in line]
    assert sum(heights) / len(heights) == pytest.approx(1.0, abs=0.02)


def test_a_shift_by_resolution_is_told() -> None:
    times = _config(times={"name": "uniform", "dynamic_shift": "flux"}).times
    assert "the shift is 3.16" in times_plot(times, 128, 128)
    assert times_plot(_config(times={"name": "uniform", "first": 900, "end": 100}).times, 64, 64) == ""


@pytest.mark.parametrize(
    ("value", "words"),
    [(0, "0"), (1, "1"), (1e-4, "1e-4"), (2.5e-5, "2.5e-5"), (0.0012, "0.0012"), (1200, "1,200"), (2e7, "2e7")],
)
def test_numbers_in_few_letters(value: float, words: str) -> None:
    assert short(value) == words


@pytest.mark.parametrize("highest", [1e-9, 3.3e-5, 1.0, 7.0, 12345.0])
def test_ticks_are_round_and_within(highest: float) -> None:
    low, high = reach([0.0, highest])
    found = ticks(low, high)
    assert 3 <= len(found) <= 6 and all(low <= value <= high for value in found)
    assert all(float(f"{value:.2g}") == pytest.approx(value, rel=1e-9) for value in found)


def test_words_beside_a_drawing_are_escaped() -> None:
    svg = Frame((0, 1), (0, 1)).drawing("<script>", "", {"line-0": "<b>"})
    assert "<script>" not in svg and "<b>" not in svg
    ElementTree.fromstring(svg)
    assert list(step_labels(3)) == [0, 1, 2, 3]
