"""Events: written line by line, read whole, cut back when a run goes on."""

from pathlib import Path

import pytest

from core.training import events as e

EXAMPLES = [
    e.Started(step=0, total_steps=9, steps_per_epoch=3, epochs=3, family="SD", device="cpu", trained_weights=5),
    e.Phase(title="Caching", done=1, total=2),
    e.Message(text="ü\n"),
    e.Failed(what="a", why="b", do="c"),
]


def step(number: int) -> e.Step:
    return e.Step(
        step=number,
        epoch=1,
        loss=0.5,
        learning_rates={"denoiser": 1e-4},
        gradient_norm=1.0,
        images=2,
        images_per_second=3.0,
        seconds_left=4.0,
    )


@pytest.mark.parametrize("event", [*EXAMPLES, step(1)], ids=lambda event: event.kind)
def test_an_event_comes_back_as_it_was(event: e.Event) -> None:
    line = e.to_line(event)
    assert "\n" not in line
    assert e.from_line(line) == event


def test_a_reader_goes_on_where_it_was_and_leaves_half_lines(tmp_path: Path) -> None:
    log = e.EventLog(tmp_path / "events.jsonl")
    log(step(1))
    first, offset = e.read_events(log.path)
    with log.path.open("a") as file:
        file.write('{"event": "ste')
    assert e.read_events(log.path, offset) == ([], offset)
    with log.path.open("a") as file:
        file.write(e.to_line(step(2))[len('{"event": "ste') :] + "\n")
    second, _ = e.read_events(log.path, offset)
    assert [event.step for event in first + second] == [1, 2]  # type: ignore[attr-defined]


def test_no_file_yet_is_no_events(tmp_path: Path) -> None:
    assert e.read_events(tmp_path / "events.jsonl") == ([], 0)


def test_cut_back_forgets_what_came_after_the_backup(tmp_path: Path) -> None:
    log = e.EventLog(tmp_path / "events.jsonl")
    for event in (step(1), step(2), e.BackedUp(step=2, path="b"), step(3), e.Stopped(step=3, backup="b")):
        log(event)
    log.cut_back(2)
    kept = e.read_events(log.path)[0]
    assert [(event.kind, event.step) for event in kept] == [("step", 1), ("step", 2), ("backed_up", 2)]  # type: ignore[attr-defined]


def test_a_reader_notices_that_the_log_was_cut_back(tmp_path: Path) -> None:
    log = e.EventLog(tmp_path / "events.jsonl")
    for number in range(5):
        log(step(number))
    _, offset = e.read_events(log.path)
    log.cut_back(1)
    again, _ = e.read_events(log.path, offset)
    assert [event.step for event in again] == [0, 1]  # type: ignore[attr-defined]


def test_follow_ends_with_the_run(tmp_path: Path) -> None:
    log = e.EventLog(tmp_path / "events.jsonl")
    log(step(1))
    log(e.Finished(step=1, path="x"))
    assert [event.kind for event in e.follow(log.path, lambda: True)] == ["step", "finished"]
