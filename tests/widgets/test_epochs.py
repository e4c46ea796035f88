"""The choice of an epoch, on events as a run writes them: which files there are, which is best, what each shows."""

from __future__ import annotations

import re
from pathlib import Path

import ipywidgets as ipw
import pytest
from PIL import Image

from core.training.events import Event, Finished, Sampled, Saved, Started, Step, Stopped, Validated
from widgets.epochs import Candidate, EpochChoice, candidates, file_note
from widgets.loss_chart import LossCurve, validation_lines

LOSSES = {10: 0.30, 20: 0.20, 30: 0.25}


def _started() -> Started:
    return Started(step=0, total_steps=30, steps_per_epoch=10, epochs=3, family="SD", device="cpu", trained_weights=10)


def _step(number: int) -> Step:
    return Step(
        step=number,
        epoch=(number - 1) // 10 + 1,
        loss=1 / number,
        learning_rates={"denoiser": 1e-4},
        gradient_norm=1.0,
        images=1,
        images_per_second=1.0,
        seconds_left=1.0,
    )


def _validated(step: int, best: bool) -> Validated:
    mean = LOSSES[step]
    return Validated(step=step, losses={"<b>": mean - 0.1, "two": mean + 0.1}, mean=mean, judged=mean, best=best)


def _sampled(folder: Path, step: int) -> Sampled:
    (folder / "samples").mkdir(exist_ok=True)
    Image.new("RGB", (64, 64), (8 * step, 0, 0)).save(folder / "samples" / f"{step}.png")
    return Sampled(step=step, paths=[f"samples/{step}.png"], prompts=["a <star>"], rows=["00"], seeds=[1])


@pytest.fixture
def events(tmp_path: Path) -> list[Event]:
    """Three epochs of ten steps: a file after each, samples before, in the midst of the second, and at its end."""
    found: list[Event] = [_started(), _sampled(tmp_path, 0)]
    best = {10, 20}
    for number in range(1, 31):
        found.append(_step(number))
        if number in (15, 20):
            found.append(_sampled(tmp_path, number))
        if number % 10 == 0:
            found.append(_validated(number, number in best))
            path = tmp_path / f"my-{number}.safetensors"
            path.write_bytes(b"0" * number)
            found.append(Saved(step=number, path=str(path), why="end" if number == 30 else "due"))
    return [*found, Finished(step=30, path=str(tmp_path / "my-30.safetensors"))]


def _nothing(_: Candidate) -> list[ipw.Widget]:
    return []


def test_files_are_named_by_their_epoch_and_the_last_best_is_the_best(events: list[Event]) -> None:
    found = candidates(events)
    assert [candidate.label for candidate in found] == ["Epoch 1 · 0.3000", "Epoch 2 · 0.2000 ★", "Epoch 3 · 0.2500"]


def test_what_is_gone_is_no_choice(events: list[Event], tmp_path: Path) -> None:
    (tmp_path / "my-20.safetensors").unlink()
    assert [candidate.step for candidate in candidates(events)] == [10, 30]
    assert not any(candidate.best for candidate in candidates(events))


def test_a_file_that_is_written_anew_belongs_to_its_last_step(events: list[Event], tmp_path: Path) -> None:
    best = tmp_path / "my-best.safetensors"
    best.write_bytes(b"1")
    for step in (10, 20):
        events.insert(-1, Saved(step=step, path=str(best), why="best"))
    names = {candidate.step: [path.name for path in candidate.files] for candidate in candidates(events)}
    assert names == {
        10: ["my-10.safetensors"],
        20: ["my-20.safetensors", "my-best.safetensors"],
        30: ["my-30.safetensors"],
    }


def test_a_run_that_was_stopped_within_an_epoch_has_a_step_there(events: list[Event], tmp_path: Path) -> None:
    stopped = [event for event in events if getattr(event, "step", 0) <= 25 and not isinstance(event, Finished)]
    path = tmp_path / "my-step25.safetensors"
    path.write_bytes(b"1")
    found = candidates([*stopped, Saved(step=25, path=str(path), why="asked"), Stopped(step=25, backup="")])
    assert [candidate.label for candidate in found] == ["Epoch 1 · 0.3000", "Epoch 2 · 0.2000 ★", "Step 25"]


def test_the_best_is_shown_first_with_its_samples_beside_those_before(events: list[Event], tmp_path: Path) -> None:
    choice = EpochChoice(tmp_path, events, _nothing, _nothing)
    assert choice.chosen.step == 20
    assert "Before" in choice.samples.value and "Step 20" in choice.samples.value
    assert "a &lt;star&gt;" in choice.samples.value
    assert choice.chart.value.count('class="saved"') == 3
    assert len(re.findall('class="best"', choice.chart.value)) == 1


def test_another_choice_shows_its_file_and_the_samples_up_to_it(events: list[Event], tmp_path: Path) -> None:
    shown: list[int] = []

    def above(candidate: Candidate) -> list[ipw.Widget]:
        shown.append(candidate.step)
        return [ipw.HTML(file_note(candidate))]

    choice = EpochChoice(tmp_path, events, above, _nothing)
    before = choice.chart.value
    choice.chooser.value = 10
    assert shown == [20, 10]
    assert "Before" in choice.samples.value and "Step" not in choice.samples.value
    assert (
        re.search('class="mark" x1="([^"]+)"', choice.chart.value)[1]
        != re.search('class="mark" x1="([^"]+)"', before)[1]
    )  # type: ignore[index]
    choice.chooser.value = 30
    assert "Step 20" in choice.samples.value
    html = choice._head.children[0].value
    assert "my-30.safetensors" in html and "30 bytes" in html and "epoch 3" in html
    assert "0.2500 (&lt;b&gt; 0.1500, two 0.3500)" in html


def test_many_files_are_in_a_dropdown(events: list[Event], tmp_path: Path) -> None:
    for number in range(1, 20):
        path = tmp_path / f"more-{number}.safetensors"
        path.write_bytes(b"1")
        events.append(Saved(step=number, path=str(path), why="due"))
    choice = EpochChoice(tmp_path, events, _nothing, _nothing)
    assert isinstance(choice.chooser, ipw.Dropdown) and len(choice.chooser.options) == 21


def test_the_chart_draws_each_concept_and_the_average_of_the_weights() -> None:
    curve = LossCurve()
    for number in range(1, 31):
        curve.add(number, 1.0)
        if number in LOSSES:
            event = _validated(number, best=number == 20)
            event.ema_mean = LOSSES[number] / 2
            curve.add_validation(event)
    assert validation_lines(curve.validated) == {
        "all": LOSSES,
        "all, averaged weights": {10: 0.15, 20: 0.1, 30: 0.125},
        "<b>": {step: pytest.approx(loss - 0.1) for step, loss in LOSSES.items()},
        "two": {step: pytest.approx(loss + 0.1) for step, loss in LOSSES.items()},
    }
    svg = curve.svg(30)
    assert "<b>" not in svg and "&lt;b&gt;" in svg
    assert all(f'<polyline class="line-{place}"' in svg for place in range(4))
    assert "best so far: 0.2 after step 20" in svg
    curve.cut_back(15)
    assert [event.step for event in curve.validated] == [10]
    assert curve.svg(30).count('<polyline class="line-0"') == 1


def test_without_validation_there_is_one_drawing() -> None:
    curve = LossCurve()
    curve.add(1, 0.5)
    assert "Validation" not in curve.svg(10) and 'viewBox="0 0 900 240"' in curve.svg(10)
