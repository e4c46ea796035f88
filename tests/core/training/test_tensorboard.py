"""TensorBoard's files, read back by TensorBoard's own reader."""

from pathlib import Path

from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from core.training.events import Sampled, Step
from core.training.tensorboard import TensorBoard


def step(number: int, loss: float) -> Step:
    return Step(
        step=number,
        epoch=1,
        loss=loss,
        learning_rates={"denoiser": 1e-4},
        gradient_norm=1.0,
        images=2,
        images_per_second=3.0,
        seconds_left=4.0,
    )


def read(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder))
    found.Reload()
    return found


def test_curves_and_samples_are_there(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), "red").save(tmp_path / "00.png")
    board = TensorBoard(tmp_path / "tensorboard", tmp_path, 0)
    board(step(1, 0.5))
    board(step(2, 0.25))
    board(Sampled(step=2, paths=["00.png"], prompts=["a cat"], rows=["00"]))
    board.close()
    found = read(tmp_path / "tensorboard")
    assert [(event.step, event.value) for event in found.Scalars("loss/train_step")] == [(1, 0.5), (2, 0.25)]
    assert len(found.Scalars("lr/denoiser")) == 2
    assert found.Images("samples/00 a cat")[0].step == 2


def test_what_came_after_the_backup_is_hidden_when_a_run_goes_on(tmp_path: Path) -> None:
    for first, steps in ((0, (1, 2, 3)), (1, (2, 3, 4))):
        board = TensorBoard(tmp_path / "tensorboard", tmp_path, first)
        for number in steps:
            board(step(number, first + number / 10))
        board.close()
    curve = read(tmp_path / "tensorboard").Scalars("loss/train_step")
    assert [event.step for event in curve] == [1, 2, 3, 4]
