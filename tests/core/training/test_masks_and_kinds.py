"""Masks, prior prediction, inpainting and validation: what counts how much, what is held still or only measured."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from core.contracts import Batch, Framing
from core.dataset.draws import generator_for
from core.dataset.validation import validation_batches
from core.families._saving import save_folder
from core.manager.training_executor import Job
from core.registry import registry
from core.training.events import Event, Finished, Sampled, Started, Step, Validated
from core.training.loop import Progress, train_step
from core.training.losses import mean_errors, sample_losses
from core.training.noise import draw_noise, draw_times
from core.training.setup import Run
from core.training.validation import losses_of, validate

Train = Callable[..., tuple[Job, Event | None]]
MakeRun = Callable[..., Run]


def trained(run: Run) -> None:
    """Gives the network's updates values, as if it had learned something."""
    generator = torch.Generator().manual_seed(0)
    for parameter in run.parameters:
        parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)


def with_kinds(batch: Batch, *kinds: str) -> Batch:
    batch.kinds = list(kinds)
    return batch


def plain_losses(run: Run, batch: Batch) -> torch.Tensor:
    """The mean squared error between prediction and noise, as without masks and kinds."""
    times = draw_times(run, batch)
    noise = draw_noise(run, batch, times)
    noisy = run.objective.add_noise(batch.latents, noise, times)
    prediction = run.family.predict(run.model, noisy, times, run.conditions(batch))
    return (prediction - noise).square().flatten(1).mean(1)


# -- masks


def test_without_a_mask_the_loss_is_the_plain_one_bit_for_bit(make_run: MakeRun) -> None:
    run = make_run()
    batch = run.batches.batch(0, 0, 0)
    assert batch.mask is None and len(batch.names) == 2
    assert torch.equal(sample_losses(run, batch), plain_losses(run, batch))
    batch.mask = torch.ones(2, 1, *batch.latents.shape[-2:])
    assert torch.equal(sample_losses(run, batch), plain_losses(run, batch))


def test_a_mask_weighs_each_squared_error() -> None:
    generator = torch.Generator().manual_seed(0)
    prediction, target = (torch.randn(2, 4, 3, 5, generator=generator) for _ in range(2))
    mask = torch.rand(2, 1, 3, 5, generator=generator)
    expected = torch.zeros(2, dtype=torch.float64)
    for sample in range(2):
        for channel in range(4):
            for row in range(3):
                for column in range(5):
                    place = (sample, channel, row, column)
                    error = (float(prediction[place]) - float(target[place])) ** 2
                    expected[sample] += float(mask[sample, 0, row, column]) * error / 60
    torch.testing.assert_close(mean_errors(prediction, target, mask).double(), expected, rtol=1e-6, atol=0)


def test_where_the_mask_is_zero_nothing_is_learned(make_run: MakeRun) -> None:
    run = make_run()
    trained(run)
    batch = run.batches.batch(0, 0, 0)
    batch.mask = torch.zeros(2, 1, *batch.latents.shape[-2:])
    batch.mask[0] = 1
    losses = sample_losses(run, batch)
    assert losses[0] > 0 and losses[1] == 0
    losses[1].backward()
    assert all(not parameter.grad.any() for parameter in run.parameters if parameter.grad is not None)


# -- prior prediction


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_a_fresh_network_is_where_prior_prediction_holds_it(make_run: MakeRun, family: str) -> None:
    run = make_run(family=family)
    batch = with_kinds(run.batches.batch(0, 0, 0), "prior_prediction", "prior_prediction")
    losses = sample_losses(run, batch)
    assert torch.equal(losses.detach(), torch.zeros(2))
    trained(run)
    assert (sample_losses(run, batch) > 0).all()


def test_prior_prediction_is_the_distance_to_the_model_without_the_network(make_run: MakeRun) -> None:
    run = make_run()
    batch = with_kinds(run.batches.batch(0, 0, 0), "standard", "prior_prediction")
    times = draw_times(run, batch)
    noise = draw_noise(run, batch, times)
    noisy = run.objective.add_noise(batch.latents, noise, times)
    with torch.no_grad():
        before = run.family.predict(run.model, noisy, times, run.conditions(batch))
    trained(run)
    calls: list[int] = []
    run.model.parts["denoiser"].register_forward_hook(lambda module, inputs, output: calls.append(len(inputs[0])))
    losses = sample_losses(run, batch)
    assert calls == [2, 1]  # only the one sample is looked at twice
    after = run.family.predict(run.model, noisy, times, run.conditions(batch))
    expected = torch.stack([(after - noise)[0].square().mean(), (after - before)[1].square().mean()])
    torch.testing.assert_close(losses, expected, rtol=1e-4, atol=1e-7)
    assert torch.equal(losses[0], plain_losses(run, batch)[0])
    losses[1].backward()
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in run.parameters)


def test_prior_prediction_is_without_the_text_encoders_network_too(make_run: MakeRun) -> None:
    both = {"parts": {"text_1": {"train": True}}}
    run = make_run(both)
    batch = with_kinds(run.batches.batch(0, 0, 0), "prior_prediction", "prior_prediction")
    assert not batch.encoded[0]
    times = draw_times(run, batch)
    noise = draw_noise(run, batch, times)
    noisy = run.objective.add_noise(batch.latents, noise, times)
    with torch.no_grad():
        before = run.family.predict(run.model, noisy, times, run.conditions(batch))
    trained(run)
    after = run.family.predict(run.model, noisy, times, run.conditions(batch))
    expected = (after - before).square().flatten(1).mean(1)
    torch.testing.assert_close(sample_losses(run, batch), expected, rtol=1e-4, atol=1e-7)


def test_without_such_samples_the_model_is_asked_once(make_run: MakeRun) -> None:
    run = make_run()
    calls: list[int] = []
    run.model.parts["denoiser"].register_forward_hook(lambda module, inputs, output: calls.append(len(inputs[0])))
    batch = with_kinds(run.batches.batch(0, 0, 0), "standard", "regularisation")
    assert torch.equal(sample_losses(run, batch), plain_losses(run, batch))
    assert calls == [2, 2]


@pytest.mark.parametrize("kind", ["prior_prediction", "regularisation"])
def test_what_is_held_still_moves_nothing(train: Train, kind: str) -> None:
    """Beside a concept that doesn't count, in batches of their own."""
    others = {"concept": {"loss_weight": 0.0}, "more_concepts": [{"kind": kind, "name": "others"}]}
    job, ending = train("sd15", {**others, "training": {"train_batch_size": 1, "epochs": 1}})
    assert isinstance(ending, Finished), ending
    losses = [event.loss for event in job.events()[0] if isinstance(event, Step)]
    ups = [tensor for name, tensor in load_file(ending.path).items() if name.endswith("lora_up.weight")]
    still = kind == "prior_prediction"
    assert len(losses) == 12 and (max(losses) == 0) == still
    assert any(tensor.any() for tensor in ups) != still


# -- inpainting


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
@pytest.mark.parametrize("caching", [True, False])
def test_an_inpainting_base_is_trained_and_drawn_with(
    train: Train, pictures: Path, tmp_path: Path, family: str, caching: bool
) -> None:
    masked = Path(shutil.copytree(pictures, tmp_path / "masked"))
    for index in range(0, 6, 2):  # the square ones; the others have none
        mask = Image.new("L", (128, 128))
        mask.paste(255, (0, 0, 64, 128))
        mask.save(masked / f"{index}-masklabel.png")
    base = save_folder(registry("families").get(family)().tiny("inpainting"), tmp_path / "base")
    changes = {
        "base": {"source": str(base)},
        "concept": {"folder": str(masked), "image": {"mask": "file", "unmasked_probability": 0.0}},
        "memory": {"latent_caching": caching},
        "sampling": {"prompts": [{"prompt": "{trigger}", "width": 64, "height": 64}], "steps": 2},
    }
    job, ending = train(family, changes)
    assert isinstance(ending, Finished), ending
    assert len([event for event in job.events()[0] if isinstance(event, Sampled)]) >= 2
    tensors = load_file(ending.path)
    assert any(tensor.any() for name, tensor in tensors.items() if name.endswith("lora_up.weight"))
    with safe_open(ending.path, "pt") as file:
        metadata = file.metadata()
    # what a LoRA is for is the architecture: programs that read this know no LoRA of inpainting models
    known = {"sd15": "stable-diffusion-v1/lora", "sdxl": "stable-diffusion-xl-v1-base/lora"}
    assert metadata["modelspec.architecture"] == known[family]


def test_a_batch_for_an_inpainting_base_has_what_the_model_is_shown(make_run: MakeRun, tmp_path: Path) -> None:
    base = save_folder(registry("families").get("sd15")().tiny("inpainting"), tmp_path / "base")
    run = make_run({"base": {"source": str(base)}})
    batch = run.batches.batch(0, 0, 0)
    assert batch.controls.keys() == {"mask", "masked_latents"}
    assert batch.controls["mask"].shape == batch.latents[:, :1].shape and batch.controls["mask"].min() == 1
    assert batch.controls["masked_latents"].shape == batch.latents.shape
    inputs: list[torch.Tensor] = []
    unet: Any = run.model.parts["denoiser"]
    unet.conv_in.register_forward_pre_hook(lambda module, arguments: inputs.append(arguments[0]))
    with_kinds(batch, "standard", "prior_prediction")
    assert sample_losses(run, batch).shape == (2,)
    both, one = inputs
    assert torch.equal(both[:, 5:], batch.controls["masked_latents"])
    assert torch.equal(one, both[1:])


# -- long and weighted captions


def test_captions_and_sample_prompts_are_as_long_as_the_base_says(make_run: MakeRun) -> None:
    prompts = {"prompts": [{"prompt": "a (ball:1.5)"}]}
    run = make_run({"base": {"max_token_length": 150, "weighted_prompts": True}, "sampling": prompts})
    batch = run.batches.batch(0, 0, 0)
    assert [one["text_1"]["hidden"].shape[0] for one in batch.encoded] == [152, 152]
    (prompt,) = run.texts.of_prompts(["a (ball:1.5)"])
    plain = make_run({"sampling": prompts, "base": {"max_token_length": 150}})
    assert prompt["text_1"]["hidden"].shape[0] == 152
    assert not torch.equal(prompt["text_1"]["hidden"], plain.texts.of_prompts(["a (ball:1.5)"])[0]["text_1"]["hidden"])
    assert plain.batches.batch(0, 0, 0).captions == batch.captions


# -- samples of a batch


def test_some_samples_of_a_batch() -> None:
    framings = [Framing((64, 64 + index), (0, 0), (64, 64)) for index in range(3)]
    batch = Batch(
        latents=torch.arange(3.0).view(3, 1, 1, 1),
        encoded=[{"text_1": {"hidden": torch.full((1,), float(index))}} for index in range(3)],
        captions=["a", "b", "c"],
        framings=framings,
        weights=torch.tensor([1.0, 2.0, 3.0]),
        names=["x", "y", "z"],
        kinds=["standard", "prior_prediction", "validation"],
        samples=[7, 8, 9],
        mask=torch.arange(3.0).view(3, 1, 1, 1),
        controls={"mask": torch.arange(3.0).view(3, 1, 1, 1)},
    )
    some = batch.only([2, 0])
    assert some.latents.flatten().tolist() == [2, 0] == some.controls["mask"].flatten().tolist()
    assert some.mask is not None and some.mask.flatten().tolist() == [2, 0]
    assert [one["text_1"]["hidden"].item() for one in some.encoded] == [2, 0]
    assert (some.captions, some.names, some.samples) == (["c", "a"], ["z", "x"], [9, 7])
    assert some.weights.tolist() == [3, 1] and some.framings == [framings[2], framings[0]]
    assert some.kinds == ["validation", "standard"]


# -- validation

MEASURED = {"kind": "validation", "name": "measured"}


@pytest.mark.parametrize("memory", [{}, {"latent_caching": False, "text_caching": False}], ids=["cached", "uncached"])
def test_validation_changes_no_weight(train: Train, tmp_path: Path, memory: dict[str, bool]) -> None:
    """With everything that draws: dropout of the network and of captions, mirroring, a text encoder that trains."""
    drawing = {
        "concept": {"image": {"flip": "random"}, "image_variations": 2, "text": {"caption_dropout": 0.3}},
        "networks": [{"name": "lora", "rank": 4, "alpha": 4, "dropout": 0.2}],
        "parts": {"text_1": {"train": True}},
        "memory": memory,
    }
    results = []
    for name, more in (("without", []), ("with", [MEASURED])):
        changes = {**drawing, "more_concepts": more, "saving": {"workspace": str(tmp_path / name)}}
        job, ending = train("sd15", changes)
        assert isinstance(ending, Finished), ending
        results.append((load_file(ending.path), [e for e in job.events()[0] if isinstance(e, Step | Validated)]))
    (without, plain), (with_it, events) = results
    assert without.keys() == with_it.keys()
    assert all(torch.equal(tensor, with_it[name]) for name, tensor in without.items())
    steps = [event for event in events if isinstance(event, Step)]
    assert [event.loss for event in steps] == [event.loss for event in plain if isinstance(event, Step)]
    measured = [event for event in events if isinstance(event, Validated)]
    assert [event.step for event in measured] == [4, 8]
    assert all(event.losses.keys() == {"measured"} for event in measured)
    assert measured[0].losses != measured[1].losses


def test_validation_is_measured_at_the_end_too_and_told_to_tensorboard(train: Train) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    changes = {"training": {"max_steps": 6}, "more_concepts": [MEASURED, {"kind": "validation"}]}
    job, ending = train("sd15", {**changes, "logging": {"tensorboard": True}})
    assert isinstance(ending, Finished), ending
    told = [event for event in job.events()[0] if isinstance(event, Started | Step | Validated | Sampled)]
    measured = [event for event in told if isinstance(event, Validated)]
    assert [event.step for event in measured] == [4, 6]
    (other,) = measured[0].losses.keys() - {"measured"}
    assert other.startswith("pictures")  # a concept without a name is called after its folder
    board = EventAccumulator(str(job.workspace / "tensorboard")).Reload()
    curve = [(event.step, event.value) for event in board.Scalars("loss/validation_step/measured")]
    assert curve == [(event.step, pytest.approx(event.losses["measured"])) for event in measured]


def test_a_measurement_is_repeatable_and_follows_the_weights(make_run: MakeRun) -> None:
    run = make_run({"more_concepts": [MEASURED], "networks": [{"name": "lora", "rank": 4, "alpha": 4, "dropout": 0.5}]})
    trained(run)
    told: list[Validated] = []
    run.report = lambda event: told.append(event) if isinstance(event, Validated) else None
    assert validate(run, Progress(step=1))
    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert not validate(run, Progress(step=2, best_step=1, best_loss=told[0].mean))
    assert torch.equal(before, torch.get_rng_state())
    assert run.model.parts["denoiser"].training
    train_step(run, Progress())
    validate(run, Progress(step=3))
    first, again, later = told
    assert first.losses == again.losses != later.losses
    assert (first.step, again.step, later.step) == (1, 2, 3)


def test_the_measured_loss_is_the_mean_over_fixed_times(make_run: MakeRun) -> None:
    run = make_run({"more_concepts": [MEASURED], "times": {"name": "uniform", "first": 0, "end": 800}})
    (draws,) = validation_batches(run.plan)[1][:1]
    batch = run.batches.batch_of(draws)
    assert batch.kinds == ["validation"] * len(draws)
    errors = []
    for place, time in enumerate((100, 300, 500, 700)):
        noise = torch.stack(
            [torch.randn(4, *batch.latents.shape[-2:], generator=generator_for(42, "validation noise", n, place))
             for n in batch.samples]
        )  # fmt: skip
        times = torch.full((len(draws),), time)
        noisy = run.objective.add_noise(batch.latents, noise, times)
        with torch.no_grad():
            prediction = run.family.predict(run.model, noisy, times, run.conditions(batch))
        errors.append((prediction - noise).double().square().flatten(1).mean(1))
    expected = torch.stack(errors, dim=1)
    measured = losses_of(run, batch)
    torch.testing.assert_close(measured.double(), expected, rtol=1e-5, atol=0)
    batch.mask = torch.full_like(batch.latents[:, :1], 0.5)
    torch.testing.assert_close(losses_of(run, batch).double(), expected / 2, rtol=1e-5, atol=0)


def test_validation_pictures_are_shown_once_and_whole(make_run: MakeRun) -> None:
    text = {"caption_dropout": 1.0, "tag_dropout": "full", "tag_dropout_probability": 1.0}
    run = make_run({"more_concepts": [{**MEASURED, "repeats": 5, "text": text, "resolution": "64, 128"}]})
    batches = validation_batches(run.plan)
    assert batches.keys() == {1} and batches == validation_batches(run.plan)
    draws = [draw for batch in batches[1] for draw in batch]
    assert len({draw.entry for draw in draws}) == len(draws) == 6
    assert sorted(draw.sample for draw in draws) == list(range(6))
    assert {draw.caption for draw in draws} == {f"a ball, blue, number {index}" for index in range(6)}
    assert all(len({draw.view.bucket for draw in batch}) == 1 and len(batch) <= 2 for batch in batches[1])
    learned = {draw.entry for step in run.plan.epoch(0) for rank in step.ranks for batch in rank for draw in batch}
    assert not learned & {draw.entry for draw in draws}
