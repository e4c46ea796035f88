"""The view of a run, on events as a run writes them."""

from __future__ import annotations

import asyncio
import math
import re
from pathlib import Path

import pytest
from PIL import Image

from core.manager.training_executor import Job
from core.training.events import (
    Deleted,
    Failed,
    Finished,
    Message,
    Phase,
    Sampled,
    Saved,
    Started,
    Step,
    Stopped,
    Validated,
)
from core.training.run_folder import RunFolder
from widgets.loss_chart import MOST_POINTS, LossCurve
from widgets.run_progress import Progress
from widgets.run_view import RunView, ending_note
from widgets.thumbnails import SIDE, image
from widgets.wording import duration, file_size


def started(step: int = 0) -> Started:
    return Started(
        step=step, total_steps=40, steps_per_epoch=10, epochs=4, family="SD", device="cpu", trained_weights=10
    )


def step(number: int, loss: float = 0.1) -> Step:
    return Step(
        step=number,
        epoch=(number - 1) // 10 + 1,
        loss=loss,
        learning_rates={"denoiser": 1e-4},
        gradient_norm=1.0,
        images=4,
        images_per_second=3.21,
        seconds_left=200.0,
        host_memory=1_400_000_000,
    )


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def test_the_view_follows_a_run_to_its_end(folder: RunFolder) -> None:
    lock = folder.lock()
    view = RunView(Job(folder.path))
    folder.report(Phase(title="Caching pictures", done=3, total=12))
    assert not view.look()
    assert "Caching pictures (3 of 12)" in view._headline.value
    assert view._bar.value == 0.25
    folder.report(started())
    for number in range(1, 11):
        folder.report(step(number))
    assert "Validation" not in view._figures.value
    folder.report(Validated(step=10, losses={"hands": 0.1, "faces": 0.3}))
    assert not view.look()
    assert view._bar.value == 0.25
    assert "<span>Validation</span><b>0.2000</b>" in view._figures.value
    assert "3.21" in view._figures.value
    assert "3 min 20 s" in view._figures.value
    assert "<polyline" in view._chart.value
    folder.report(Finished(step=40, path="out/my.safetensors"))
    assert view.look()
    assert "out/my.safetensors" in view._ending.value
    assert all(button.disabled for button in view._buttons)
    lock.release()


def test_buttons_ask_the_run(folder: RunFolder) -> None:
    lock = folder.lock()
    view = RunView(Job(folder.path))
    for button in view._buttons:
        button.click()
    assert folder.take_requests() == {"stop", "sample", "save"}
    assert "asked for" in view._log.value
    lock.release()


def test_a_killed_run_is_told_as_such(folder: RunFolder) -> None:
    folder.path.mkdir()
    folder.report(started())
    folder.report(step(1))
    view = RunView(Job(folder.path))
    assert asyncio.run(view.follow()) is None
    assert "without a word" in view._ending.value


def test_samples_before_and_latest_are_shown_small(folder: RunFolder) -> None:
    lock = folder.lock()
    (folder.path / "samples").mkdir()
    for number in (0, 10, 20):
        Image.new("RGB", (1024, 512), (number * 10, 0, 0)).save(folder.path / "samples" / f"{number}.png")
        folder.report(Sampled(step=number, paths=[f"samples/{number}.png"], prompts=["a <star>"]))
    view = RunView(Job(folder.path))
    view.look()
    html = view._samples.value
    assert html.count("<img") == 2
    assert "Before" in html
    assert "Step 20" in html
    assert "a &lt;star&gt;" in html
    assert len(html) < 2 * SIDE * SIDE
    lock.release()


def test_a_missing_sample_is_named(tmp_path: Path) -> None:
    assert "gone.png can't be shown" in image(tmp_path / "gone.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    assert "broken.png can't be shown" in image(tmp_path / "broken.png")


def test_going_on_from_a_backup_draws_no_step_twice() -> None:
    progress = Progress()
    for event in [started(), *(step(number) for number in range(1, 31)), Sampled(step=30, paths=[], prompts=[])]:
        progress.add(event)
    progress.add(started(20))
    assert progress.curve.steps == list(range(1, 21))
    assert progress.samples == []
    progress.add(step(21))
    assert progress.curve.steps == list(range(1, 22))


def test_a_file_that_was_cut_back_is_read_anew(folder: RunFolder) -> None:
    lock = folder.lock()
    folder.report(started())
    for number in range(1, 31):
        folder.report(step(number))
    view = RunView(Job(folder.path))
    view.look()
    folder.report.cut_back(10)
    view.look()
    assert view.progress.curve.steps == list(range(1, 11))
    lock.release()


def test_messages_and_files_are_listed() -> None:
    progress = Progress()
    progress.add(Message(text="a small picture", level="warning"))
    progress.add(Saved(step=4, path="x.safetensors"))
    progress.add(Deleted(step=4, paths=["out/a.safetensors", "out/b.safetensors"]))
    assert progress.messages == [
        "Note: a small picture",
        "Step 4: saved x.safetensors",
        "Step 4: deleted a.safetensors, b.safetensors, as newer files are there",
    ]


def test_what_is_measured_is_told_with_the_best() -> None:
    progress = Progress()
    progress.add(Validated(step=4, losses={"a": 0.1, "b": 0.3}, mean=0.15, judged=0.15, best=True))
    progress.add(Validated(step=8, losses={"a": 0.2, "b": 0.3}, mean=0.25, judged=0.25))
    assert progress.messages == [
        "Step 4: validation loss a 0.1000, b 0.3000 (the best so far)",
        "Step 8: validation loss a 0.2000, b 0.3000",
    ]
    assert [event.step for event in progress.curve.validated] == [4, 8]


def test_endings_say_what_to_do(tmp_path: Path) -> None:
    assert "train --config-path" in ending_note(Stopped(step=3, backup="b"), tmp_path)
    failed = ending_note(
        Failed(what="No <memory>.", why="The GPU is full.", do="Use a smaller batch.", details="T"), tmp_path
    )
    assert "No &lt;memory&gt;." in failed
    assert "The GPU is full." in failed
    assert "Use a smaller batch." in failed
    assert "<details>" in failed


def test_a_long_run_draws_few_points() -> None:
    curve = LossCurve()
    for number in range(1, 20_001):
        curve.add(number, 0.1 + 0.05 * math.sin(number))
    svg = curve.svg(20_000)
    lines = re.findall(r'points="([^"]+)"', svg)
    assert [len(line.split()) for line in lines] == [MOST_POINTS, MOST_POINTS]
    assert len(svg) < 20_000


def test_the_smooth_curve_is_the_mean_of_equal_losses() -> None:
    curve = LossCurve()
    for number in range(1, 6):
        curve.add(number, 0.25)
    assert curve.smooth == pytest.approx([0.25] * 5)


@pytest.mark.parametrize("losses", [[0.0], [0.1, 0.1], [1e-9, 2e-9], [0.1, 1e6], [-1.0, 1.0]])
def test_any_losses_can_be_drawn(losses: list[float]) -> None:
    curve = LossCurve()
    for number, loss in enumerate(losses, start=1):
        curve.add(number, loss)
    points = re.findall(r"[\d.]+,([\d.]+)", curve.svg(10))
    assert all(0 <= float(y) <= 240 for y in points)


def test_words_for_numbers() -> None:
    assert [duration(seconds) for seconds in (0, 45, 200, 7500)] == ["0 s", "45 s", "3 min 20 s", "2 h 5 min"]
    assert [file_size(count) for count in (900, 820_000, 37_400_000)] == ["900 bytes", "820 KB", "37.4 MB"]
