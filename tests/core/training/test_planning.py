"""What a run will do: steps, files and their names, and what stands in the way of them."""

from pathlib import Path
from typing import Any

import pytest

from core.config.lora import LoraConfig
from core.contracts import Size
from core.dataset.manifest import Entry, Manifest
from core.errors import PictureError, SettingsError
from core.settings.bases.schedule import RunLength
from core.training.planning import (
    advice_on,
    batch_plan,
    check_destination,
    check_plan,
    destination_folder,
    epoch_ends,
    output_files,
    run_length,
    told_files,
    total_steps,
)


def config(**changes: Any) -> LoraConfig:
    return LoraConfig.model_validate({"training": {"epochs": 4, "train_batch_size": 2}, **changes})


def pictures(count: int = 6) -> Manifest:
    sizes = (Size(64, 64),)
    return Manifest(tuple(Entry(f"{i}.png", str(i), 64, 64, (), 0, sizes, f"{i}.png") for i in range(count)))


@pytest.mark.parametrize(("limit", "steps", "ends"), [(0, 12, [3, 6, 9, 12]), (7, 7, [3, 6]), (100, 12, [3, 6, 9, 12])])
def test_steps_are_those_of_the_epochs_up_to_the_limit(limit: int, steps: int, ends: list[int]) -> None:
    job = config(training={"epochs": 4, "train_batch_size": 2, "max_steps": limit})
    plan = batch_plan(job, pictures())
    assert total_steps(job, plan) == steps
    assert epoch_ends(job, plan) == ends


@pytest.mark.parametrize(("limit", "length"), [(0, (12, 4, 3)), (6, (6, 2, 3)), (7, (7, 3, 3)), (2, (2, 1, 3))])
def test_the_length_of_a_run_counts_an_epoch_that_is_cut(limit: int, length: tuple[int, int, int]) -> None:
    job = config(training={"epochs": 4, "train_batch_size": 2, "max_steps": limit})
    assert run_length(job, batch_plan(job, pictures())) == RunLength(*length)


def test_a_schedule_that_does_not_fit_is_a_problem_of_the_config() -> None:
    job = config(schedule={"name": "linear", "warmup_steps": 12})
    with pytest.raises(SettingsError, match="takes 12 of the 12 steps") as error:
        check_plan(job, batch_plan(job, pictures()))
    (problem,) = error.value.problems
    assert problem.path == "schedule.warmup_steps" and problem.replacement == {"schedule.warmup_steps": 1}
    job.schedule.warmup_steps = 11
    check_plan(job, batch_plan(job, pictures()))


def test_changes_of_which_one_version_is_kept_are_pointed_out() -> None:
    changing = {"name": "cats", "image": {"flip": "random"}, "text": {"shuffle_tags": True}}
    assert [line.split(":")[0] for line in advice_on(config(concepts=[changing]))] == ["cats", "cats"]
    assert advice_on(config(concepts=[{**changing, "kind": "validation"}])) == []
    assert advice_on(config(concepts=[changing], memory={"latent_caching": False, "text_caching": False})) == []


def test_epochs_that_show_nothing_are_an_error() -> None:
    job = config(concepts=[{"name": "few", "repeats": 0.1}], training={"epochs": 1})
    with pytest.raises(PictureError, match="In 1 epochs no picture is shown"):
        total_steps(job, batch_plan(job, pictures()))
    job.training.epochs = 10
    assert total_steps(job, batch_plan(job, pictures())) == 6


def test_files_are_named_as_kohya_names_them_and_the_last_is_the_result() -> None:
    job = config(saving={"name": "cat", "every": "2 epochs, 5 steps"})
    assert output_files(job, batch_plan(job, pictures())) == [
        (5, "cat-step00000005.safetensors"),
        (6, "cat-000002.safetensors"),
        (10, "cat-step00000010.safetensors"),
        (12, "cat.safetensors"),
    ]


@pytest.mark.parametrize(
    ("saving", "files"),
    [
        ({"every": "1 epoch, 3 steps"}, [(3, "cat-000001"), (6, "cat-000002"), (9, "cat-000003")]),
        ({"every": "4 steps", "skip_first": "5 steps"}, [(8, "cat-step00000008")]),
        ({"every": "1 epoch", "skip_first": "2 epochs"}, [(6, "cat-000002"), (9, "cat-000003")]),
        ({"every": "1 epoch", "skip_first": "9 epochs"}, []),
        ({"every": "10 minutes"}, []),
        ({"every": "never"}, []),
    ],
)
def test_what_is_written_on_the_way_has_one_name_a_step(saving: dict[str, str], files: list[tuple[int, str]]) -> None:
    """Where an epoch's file and a step's are due, the epoch's."""
    job = config(saving={"name": "cat", **saving})
    *found, last = output_files(job, batch_plan(job, pictures()))
    assert found == [(step, f"{name}.safetensors") for step, name in files]
    assert last == (12, "cat.safetensors")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"saving": {"every": "1 epoch", "keep_last": 1}}, ["3 on the way, of which the last 1 stay", "cat-000003"]),
        ({"saving": {"every": "90 seconds"}}, ["cat-step* (about every 90 seconds)"]),
        ({"saving": {"every": "2 hours, 2 epochs"}}, ["cat-000002", "cat-step* (about every 2 hours)"]),
        ({"validation": {"save_best": True}}, ["cat-best"]),
        ({"ema": {"where": "cpu"}}, ["cat", "cat-no-ema"]),
        ({"ema": {"where": "cpu", "save": "ema"}, "validation": {"save_best": True}}, ["cat-best"]),
        (
            {"ema": {"where": "cpu"}, "validation": {"save_best": True}, "saving": {"every": "3 epochs"}},
            ["cat-000003", "cat-000003-no-ema", "cat-best", "cat-best-no-ema", "cat", "cat-no-ema"],
        ),
    ],
)
def test_check_tells_what_is_written(changes: dict[str, Any], told: list[str]) -> None:
    job = config(**{**changes, "saving": {"name": "cat", **changes.get("saving", {})}})
    lines = list(told_files(job, batch_plan(job, pictures())))
    assert [line.replace(".safetensors", "") for line in lines] == ([*told, "cat"] if "cat" not in told else told)


@pytest.mark.parametrize(
    ("destination", "folder", "name"),
    [("", "output", "cat"), ("loras", "loras", "cat"), ("loras/dog.safetensors", "loras", "dog")],
)
def test_the_destination_is_a_folder_or_a_file(destination: str, folder: str, name: str) -> None:
    job = config(saving={"name": "cat", "destination": destination})
    assert destination_folder(job, Path("output")) == Path(folder)
    assert output_files(job, batch_plan(job, pictures()))[-1][1] == f"{name}.safetensors"


@pytest.mark.parametrize(
    "taken", ["cat.safetensors", "cat-000002.safetensors", "cat-step00000005.safetensors", "cat-best.safetensors"]
)
def test_what_would_be_overwritten_is_told(taken: str, tmp_path: Path) -> None:
    (tmp_path / taken).touch()
    (problem,) = check_destination(config(saving={"name": "cat", "destination": str(tmp_path)}))
    assert taken in problem.message
    assert not list(check_destination(config(saving={"name": "cat", "destination": str(tmp_path), "overwrite": True})))


def test_other_files_stand_in_nobodys_way(tmp_path: Path) -> None:
    for name in ("cat2.safetensors", "cat-old.safetensors", "dog.safetensors", "cat.txt"):
        (tmp_path / name).touch()
    assert not list(check_destination(config(saving={"name": "cat", "destination": str(tmp_path)})))


def test_files_beside_are_ours_where_they_would_be_written(tmp_path: Path) -> None:
    (tmp_path / "cat-000002-no-ema.safetensors").touch()
    saving = {"name": "cat", "destination": str(tmp_path)}
    assert not list(check_destination(config(saving=saving)))
    assert list(check_destination(config(saving=saving, ema={"where": "cpu"})))
