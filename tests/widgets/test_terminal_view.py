"""A run in the terminal: what is said of it, and which ending is told."""

from io import StringIO
from pathlib import Path

from rich.console import Console

from core.manager.training_executor import Job
from core.training import events as e
from widgets.terminal_view import TerminalView, figures

STEP = e.Step(
    step=3,
    epoch=1,
    loss=0.0412,
    learning_rates={"denoiser": 2.1e-4, "text_1": 5e-5},
    gradient_norm=1.0,
    images=4,
    images_per_second=24.31,
    seconds_left=75,
)


def shown(tmp_path: Path, *events: e.Event) -> tuple[str, e.Event | None]:
    log = e.EventLog(tmp_path / "events.jsonl")
    for event in events:
        log(event)
    out = StringIO()
    ending = TerminalView(Job(tmp_path), Console(file=out, width=160)).follow()
    return out.getvalue(), ending


def test_a_steps_figures_are_loss_rates_speed_and_time_left() -> None:
    assert figures(STEP) == "loss 0.0412  lr 2.10e-04 5.00e-05  24.3 images/s  0:01:15 left"


def test_a_run_is_told_to_its_end(tmp_path: Path) -> None:
    started = e.Started(
        step=0, total_steps=3, steps_per_epoch=3, epochs=1, family="SDXL", device="cpu", trained_weights=12_345
    )
    text, ending = shown(
        tmp_path,
        e.Message(text="Left out: a.png: It is broken [sic].", level="warning"),
        started,
        STEP,
        e.Validated(step=3, losses={"hands": 0.12345, "faces": 0.2}),
        e.Sampled(step=3, paths=["samples/step-00000003/00.png"], prompts=["a cat"]),
        e.Saved(step=3, path="output/cat.safetensors"),
        e.Finished(step=3, path="output/cat.safetensors"),
    )
    assert "Left out: a.png: It is broken [sic]." in text  # brackets are no markup
    assert "SDXL on cpu; 12,345 trained weights; 3 steps" in text
    assert f"samples in {tmp_path}/samples/step-00000003" in text
    assert "step 3: validation loss hands 0.1235, faces 0.2000" in text
    assert "saved output/cat.safetensors" in text
    assert "3/3" in text
    assert isinstance(ending, e.Finished)


def test_an_error_is_told_with_what_to_do(tmp_path: Path) -> None:
    text, ending = shown(tmp_path, e.Failed(what="The disk is full.", why="0.0 GB are free.", do="Make room."))
    assert "The disk is full.\n0.0 GB are free.\nMake room." in text
    assert isinstance(ending, e.Failed)


def test_a_run_that_was_killed_is_told_so(tmp_path: Path) -> None:
    text, ending = shown(tmp_path, STEP)
    assert "ended without a word" in text
    assert ending is None
