"""Samples of a run: how each is drawn, prompts from a file, what fails, the average beside the plain weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from PIL import Image

from core.config.lora import LoraConfig
from core.config.toml_file import to_data
from core.contracts import PreviewRequest, Size
from core.errors import SettingsError
from core.manager.training_executor import Job, TrainingExecutor
from core.settings.checks import load, validate
from core.training.events import Event, Finished, Message, Sampled, side_by_side
from core.training.previews import draw_samples, frozen_previews, infotext, previews_of
from core.training.run_folder import RunFolder, State
from core.training.setup import Run

Train = Callable[..., tuple[Job, Event | None]]
MakeRun = Callable[..., Run]
SMALL = {"width": 64, "height": 64}


def config_of(**sampling: Any) -> LoraConfig:
    concepts = [{"folder": "a"}, {"folder": "b", "trigger_word": "ohx"}]
    return load(
        LoraConfig,
        {"base": {"source": "x"}, "concepts": concepts, "buckets": {"resolution": "512"}, "sampling": sampling},
    )


def told(run: Run, kind: type[Event]) -> list[Any]:
    return [event for event in run.told if isinstance(event, kind)]  # type: ignore[attr-defined]


def pixels(run: Run, path: str) -> numpy.ndarray:
    with Image.open(run.folder.path / path) as picture:
        return numpy.asarray(picture)


# -- how each is drawn


def test_a_prompt_has_its_own_values_or_those_of_all() -> None:
    own = {
        "prompt": "{trigger} on blue", "negative": "no {trigger}", "width": 256, "height": 768, "seed": 9, "steps": 7,
        "guidance": 2.5, "sampler": "heun",
    }  # fmt: skip
    first, second = previews_of(config_of(prompts=[own, {"prompt": "b"}], steps=30, guidance=5.0, sampler="unipc"))
    assert (first.positive, first.negative) == ("ohx on blue", "no ohx")
    assert first.request == PreviewRequest(256, 768, 7, 2.5, 9, "heun")
    assert second.request == PreviewRequest(512, 512, 30, 5.0, 1, "unipc")


@pytest.mark.parametrize(
    "resolution, portrait", [("512", (448, 640)), ("1024", (832, 1280)), ("64", (56, 80)), ("768x512", (512, 768))]
)
def test_a_shape_has_the_training_area_whatever_the_model(resolution: str, portrait: tuple[int, int]) -> None:
    config = config_of(prompts=[{"shape": "portrait"}, {"shape": "landscape"}, {}])
    config.buckets.resolution = resolution
    upright, lying, trained = (preview.request for preview in previews_of(config))
    assert (upright.width, upright.height) == portrait == (lying.height, lying.width)
    assert str(Size(trained.height, trained.width)) == (
        resolution if "x" in resolution else f"{resolution}x{resolution}"
    )
    assert upright.width * upright.height == pytest.approx(trained.width * trained.height, rel=0.1)


def test_a_new_seed_each_time_hangs_on_seed_step_and_place_alone() -> None:
    changing, other, fixed = previews_of(config_of(prompts=[{"random_seed": True}, {"random_seed": True}, {"seed": 4}]))
    seeds = {preview.at(step, run).seed for preview in (changing, other) for step in (0, 10) for run in (1, 2)}
    assert len(seeds) == 8 and all(0 <= seed < 2**32 for seed in seeds)
    assert changing.at(10, 1) == changing.at(10, 1)
    assert {fixed.at(step, 1).seed for step in (0, 10)} == {4}


def test_a_picture_says_how_it_was_drawn_in_a1111s_words() -> None:
    (preview,) = previews_of(
        config_of(prompts=[{"prompt": "a cat", "negative": "dog", "sampler": "DPM++ 2M Karras", "seed": 3}])
    )
    assert infotext(preview, preview.request, "my_lora").splitlines() == [
        "a cat",
        "Negative prompt: dog",
        "Steps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 3, Size: 512x512, Model: my_lora, Version: Ochre",
    ]


@pytest.mark.parametrize(
    "prompt, path",
    [
        ({"guidance": 0.5}, "guidance"),
        ({"width": 100}, "width"),
        ({"sampler": "magic"}, "sampler"),
        ({"shape": "portrait", "width": 64}, "shape"),
    ],
)
def test_values_that_can_not_be_drawn_are_problems(prompt: dict[str, Any], path: str) -> None:
    _, problems = validate(LoraConfig, {"base": {"source": "x"}, "sampling": {"prompts": [prompt]}})
    assert f"sampling.prompts.0.{path}" in {problem.path for problem in problems}


# -- prompts from a file


def test_a_prompt_file_is_read_at_the_start_and_kept(tmp_path: Path) -> None:
    folder, file = RunFolder(tmp_path / "run"), tmp_path / "prompts.txt"
    folder.path.mkdir()
    file.write_text("one --w 64 --fs 3\n{trigger} two")
    config = config_of(prompts=[{"prompt": "zero"}], prompts_file=str(file))
    messages: list[Any] = []

    def texts(config: LoraConfig) -> list[str]:
        return [preview.positive for preview in frozen_previews(config, folder, messages.append)]

    assert texts(config) == ["zero", "one", "ohx two"]
    assert [message.text for message in messages] == [f"Not used of {file}: line 1: --fs is for flow models."]
    file.write_text("other")
    assert texts(config) == ["zero", "other"], "a run that never took a step starts anew"
    folder.config_path.write_text("")
    folder.write_backup(State({}, {}, {}, {"step": 3}), keep=1)
    file.unlink()
    assert texts(config) == ["zero", "other"], "a run that goes on has its prompts"
    with pytest.raises(SettingsError, match="no such file"):
        texts(config_of(prompts_file=str(tmp_path / "elsewhere.txt")))
    assert [preview.place for preview in frozen_previews(config, folder, messages.append)] == [0, 1]


def test_a_broken_prompt_file_is_told_before_the_start(run_toml: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a cat --nonsense")
    path = run_toml("sd15", {"sampling": {"prompts_file": str(tmp_path / "prompts.txt")}})
    with pytest.raises(SettingsError, match="line 1: there is no flag --nonsense"):
        TrainingExecutor().start(path)
    assert not (tmp_path / "run").exists()


# -- in runs


def test_two_samples_of_one_seed_are_equal_bit_for_bit(make_run: MakeRun) -> None:
    prompts = [{"prompt": "a", "seed": 5, "sampler": "euler_a", **SMALL}, {"prompt": "a", "random_seed": True, **SMALL}]
    run = make_run({"sampling": {"prompts": prompts, "steps": 3}})
    for step in (1, 2, 3):
        torch.manual_seed(step)
        draw_samples(run, step)
    grids = told(run, Sampled)
    first = [pixels(run, grid.paths[0]) for grid in grids]
    assert all(numpy.array_equal(first[0], other) for other in first[1:])
    assert not numpy.array_equal(pixels(run, grids[0].paths[1]), pixels(run, grids[1].paths[1]))
    assert [grid.seeds[0] for grid in grids] == [5, 5, 5] and len({grid.seeds[1] for grid in grids}) == 3
    with Image.open(run.folder.path / grids[0].paths[1]) as picture:
        assert f"Seed: {grids[0].seeds[1]}," in picture.info["parameters"]


def test_a_sample_that_fails_is_told_and_the_others_are_drawn(make_run: MakeRun) -> None:
    """A card's memory that is full with one of them, a file that can't be written with another."""
    prompts = [{"prompt": name, **SMALL} for name in ("first", "in the way", "last")]
    run = make_run(
        {"sampling": {"prompts": [*prompts, {"prompt": "too large", "width": 128, "height": 64}], "steps": 1}}
    )
    (run.folder.samples / "step-00000004" / "01.png").mkdir(parents=True)

    def full(module: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        if inputs[0].shape[-1] == 16:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")

    run.model.parts["denoiser"].register_forward_pre_hook(full)
    run.model.parts["denoiser"].train()
    draw_samples(run, 4)
    (grid,) = told(run, Sampled)
    assert grid.prompts == ["first", "last"] and grid.rows == ["00", "02"]
    warnings = [message.text for message in told(run, Message) if message.level == "warning"]
    assert len(warnings) == 2
    assert "Sample 2 ('in the way') was not drawn after step 4." in warnings[0] and "IsADirectory" in warnings[0]
    assert "Sample 4 ('too large')" in warnings[1] and "out of memory" in warnings[1]
    assert run.model.parts["denoiser"].training


def test_a_run_goes_on_when_no_sample_can_be_drawn(train: Train, tmp_path: Path) -> None:
    blocked = tmp_path / "run" / "samples"
    blocked.mkdir(parents=True)
    for step in (0, 4, 8):
        (blocked / f"step-{step:08d}").write_text("a file in the way of a folder")
    job, ending = train("sd15", {"sampling": {"prompts": [{"prompt": "a", **SMALL}], "steps": 1}})
    assert isinstance(ending, Finished), ending
    events = job.events()[0]
    assert [event.paths for event in events if isinstance(event, Sampled)] == [[], [], []]
    texts = [event.text for event in events if isinstance(event, Message) and event.level == "warning"]
    assert sum("The samples after step" in text for text in texts) == 3


def test_the_average_and_the_plain_weights_side_by_side(make_run: MakeRun) -> None:
    changes = {
        "ema": {"where": "device"},
        "sampling": {"prompts": [{"prompt": "a", **SMALL}, {"prompt": "b", **SMALL}]},
    }
    changes["sampling"]["steps"] = 2
    run = make_run(changes)
    draw_samples(run, 0)
    generator = torch.Generator().manual_seed(0)
    for parameter in run.parameters:
        parameter.data = torch.randn(parameter.shape, generator=generator)
    draw_samples(run, 5)
    before, after = told(run, Sampled)
    assert before.rows == ["00", "01"] and after.rows == ["00", "00-no-ema", "01", "01-no-ema"]
    assert after.prompts == ["a", "a", "b", "b"]
    average, plain = pixels(run, after.paths[0]), pixels(run, after.paths[1])
    assert numpy.array_equal(average, pixels(run, before.paths[0])), "the average is still that of the first weights"
    assert not numpy.array_equal(plain, average)
    assert side_by_side([before, after]) == [
        ("a", [before.paths[0], after.paths[0]]),
        ("a (plain weights)", [before.paths[0], after.paths[1]]),
        ("b", [before.paths[1], after.paths[2]]),
        ("b (plain weights)", [before.paths[1], after.paths[3]]),
    ]
    run.config.ema.sample = "plain"
    draw_samples(run, 6)
    alone = told(run, Sampled)[-1]
    assert alone.rows == ["00", "01"] and numpy.array_equal(pixels(run, alone.paths[0]), plain)


def test_what_a_workspace_keeps_of_prompts_is_a_configs(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("a --ss euler_a --w 64")
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    config = config_of(prompts_file=str(tmp_path / "p.txt"))
    fresh = frozen_previews(config, folder, lambda event: None)
    folder.config_path.write_text("")
    folder.write_backup(State({}, {}, {}, {"step": 1}), keep=1)
    assert frozen_previews(load(LoraConfig, to_data(config)), folder, lambda event: None) == fresh
