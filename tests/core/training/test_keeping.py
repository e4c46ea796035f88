"""Of the LoRAs saved on the way the last ones stay; nobody else's file is ever touched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.manager.training_executor import Job
from core.training.events import Deleted, Event, EventLog, Finished, Message, Saved
from core.training.keeping import Kept

Train = Callable[..., tuple[Job, Event | None]]


def saved(folder: Path, step: int, why: str = "due", beside: bool = False) -> Saved:
    names = [f"cat-{step}{suffix}.safetensors" for suffix in ("", "-no-ema")[: 1 + beside]]
    for name in names:
        (folder / name).touch()
    return Saved(step=step, path=str(folder / names[0]), why=why, beside=[str(folder / name) for name in names[1:]])


def names(folder: Path) -> set[str]:
    return {path.stem.removeprefix("cat-") for path in folder.glob("cat*")}


def test_the_last_ones_stay_with_what_lies_beside(tmp_path: Path) -> None:
    (tmp_path / "cat-0.safetensors").touch()  # another's
    kept = Kept(2, tmp_path / "events.jsonl")
    for step in (1, 2, 3, 4):
        kept.add(saved(tmp_path, step, beside=True))
    assert names(tmp_path) == {"0", "3", "3-no-ema", "4", "4-no-ema"}


def test_what_was_asked_for_the_best_and_the_end_stay(tmp_path: Path) -> None:
    kept = Kept(1, tmp_path / "events.jsonl")
    for step, why in ((1, "due"), (2, "asked"), (3, "best"), (4, "due"), (5, "end")):
        kept.add(saved(tmp_path, step, why))
    assert names(tmp_path) == {"2", "3", "4", "5"}


def test_a_file_that_was_asked_for_again_stays(tmp_path: Path) -> None:
    kept = Kept(1, tmp_path / "events.jsonl")
    for step, why in ((1, "due"), (1, "asked"), (2, "due"), (3, "due")):
        kept.add(saved(tmp_path, step, why))
    assert names(tmp_path) == {"1", "3"}


def test_all_stay_unless_asked(tmp_path: Path) -> None:
    kept = Kept(0, tmp_path / "events.jsonl")
    assert all(kept.add(saved(tmp_path, step)) == ([], []) for step in range(5))
    assert len(names(tmp_path)) == 5


def test_files_of_earlier_sessions_count_and_missing_ones_dont_hurt(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    for step in (1, 2):
        log(saved(tmp_path, step))
    (tmp_path / "cat-1.safetensors").unlink()
    kept = Kept(2, log.path)
    assert kept.add(saved(tmp_path, 3)) == ([], [])
    assert kept.add(saved(tmp_path, 4)) == ([str(tmp_path / "cat-2.safetensors")], [])
    assert names(tmp_path) == {"3", "4"}


def test_what_cannot_be_deleted_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept(1, tmp_path / "events.jsonl")
    kept.add(saved(tmp_path, 1))
    (tmp_path / "cat-1.safetensors").unlink()
    (tmp_path / "cat-1.safetensors").mkdir()  # in the place of the file
    (failed,) = kept.add(saved(tmp_path, 2))[1]
    assert "cat-1.safetensors" in failed


def test_a_run_keeps_the_last_ones_and_skips_the_first(train: Train, tmp_path: Path) -> None:
    def files(**saving: Any) -> tuple[set[str], list[Any]]:
        workspace = tmp_path / str(len(list(tmp_path.iterdir())))
        changes = {"saving": {"workspace": str(workspace), "name": "cat", **saving}, "training": {"max_steps": 6}}
        job, ending = train("sd15", changes)
        assert isinstance(ending, Finished), ending
        told = [event for event in job.events()[0] if isinstance(event, Deleted | Message)]
        return {path.stem for path in (workspace / "output").iterdir()}, told

    assert files(every="1 step", skip_first="4 steps")[0] == {"cat-step00000004", "cat-step00000005", "cat"}
    found, told = files(every="1 step", keep_last=2)
    assert found == {"cat-step00000004", "cat-step00000005", "cat"}
    assert [event.step for event in told if isinstance(event, Deleted)] == [3, 4, 5]
