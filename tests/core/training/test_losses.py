"""Losses and weightings of a real run: what a step minimises is what is set, with every kind of model."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from core.contracts import Batch
from core.objectives import Flow
from core.registry import registry
from core.training.losses import sample_losses
from core.training.noise import draw_noise, draw_perturbation, draw_times
from core.training.setup import Run

WithSettings = Callable[..., Run]


def parts_of(run: Run, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Prediction and target in float64, and times, for the noise that the run draws; epsilon or v written out."""
    times = draw_times(run, batch)
    noise, surplus = draw_noise(run, batch, times), draw_perturbation(run, batch)
    share = run.objective.alphas_cumprod[times].reshape(-1, 1, 1, 1)  # type: ignore[attr-defined]
    noisy = share.sqrt() * batch.latents + (1 - share).sqrt() * (noise if surplus is None else noise + surplus)
    with torch.no_grad():
        prediction = run.family.predict(run.model, noisy, times, run.conditions(batch))
    target = (
        noise if run.objective.prediction == "epsilon" else share.sqrt() * noise - (1 - share).sqrt() * batch.latents
    )
    return prediction.double(), target.double(), times


def snr_of(run: Run, times: Tensor) -> Tensor:
    share = run.objective.alphas_cumprod[times].double()  # type: ignore[attr-defined]
    return share / (1 - share)


def test_losses_are_summed_by_their_weights_and_reduced_last(with_settings: WithSettings) -> None:
    run = with_settings(
        {"losses": [{"name": "l2", "weight": 0.5}, {"name": "l1", "weight": 2.0}, {"name": "log_cosh"}]}
    )
    batch = run.batches.batch(0, 0, 0)
    batch.mask = torch.rand(len(batch.names), 1, *batch.latents.shape[-2:], generator=torch.Generator().manual_seed(0))
    prediction, target, _ = parts_of(run, batch)
    d = prediction - target
    errors = 0.5 * d**2 + 2 * d.abs() + d.cosh().log()
    expected = (errors * batch.mask).flatten(1).mean(1)
    torch.testing.assert_close(sample_losses(run, batch).detach().double(), expected, rtol=1e-5, atol=1e-7)


def test_weightings_are_multiplied(with_settings: WithSettings) -> None:
    run = with_settings({"weightings": [{"name": "min_snr", "gamma": 2.0}, {"name": "p2", "gamma": 0.5}]})
    batch = run.batches.batch(0, 0, 0)
    prediction, target, times = parts_of(run, batch)
    snr = snr_of(run, times)
    expected = (prediction - target).square().flatten(1).mean(1) * (2 / snr).clamp(max=1) / (1 + snr).sqrt()
    torch.testing.assert_close(sample_losses(run, batch).detach().double(), expected, rtol=1e-4, atol=1e-7)


def test_v_prediction_scaled_like_noise(with_settings: WithSettings) -> None:
    run = with_settings({"weightings": [{"name": "scale_v_prediction"}]})
    run.objective = replace(run.objective, prediction="v_prediction")  # type: ignore[type-var]
    batch = run.batches.batch(0, 0, 0)
    prediction, target, times = parts_of(run, batch)
    snr = snr_of(run, times)
    expected = (prediction - target).square().flatten(1).mean(1) * snr / (snr + 1)
    torch.testing.assert_close(sample_losses(run, batch).detach().double(), expected, rtol=1e-3, atol=1e-7)


def test_a_perturbation_is_shown_but_not_asked_for(with_settings: WithSettings) -> None:
    run = with_settings({"noise": {"ip_noise_gamma": 0.5}})
    batch = run.batches.batch(0, 0, 0)
    prediction, target, times = parts_of(run, batch)
    expected = (prediction - target).square().flatten(1).mean(1)
    torch.testing.assert_close(sample_losses(run, batch).detach().double(), expected, rtol=1e-5, atol=1e-7)
    assert torch.equal(target, draw_noise(with_settings(), batch, times).double())


def test_outside_a_mask_the_model_is_held_to_what_it_said(with_settings: WithSettings) -> None:
    run = with_settings({"losses": [{"name": "l1"}]})
    batch = run.batches.batch(0, 0, 0)
    prediction, target, _ = parts_of(run, batch)  # the network has changed nothing yet
    held = torch.zeros(2, 1, *batch.latents.shape[-2:])
    held[1, :, :3] = 0.7
    batch.held, batch.mask = held, 1 - held
    ups = [parameter for parameter in run.parameters if not parameter.any()]
    calls: list[int] = []
    watch = run.model.parts["denoiser"].register_forward_hook(lambda module, given, said: calls.append(len(given[0])))
    try:
        for up in ups:
            up.data.fill_(0.3)
        after, _, _ = parts_of(run, batch)
        calls.clear()
        losses = sample_losses(run, batch).detach().double()
    finally:
        watch.remove()
        for up in ups:
            up.data.zero_()
    assert calls == [2, 1], "only the sample that has something to hold is looked at twice"
    assert not torch.allclose(after, prediction)
    errors = (after - target).abs() * (1 - held) + (after - prediction).abs() * held
    torch.testing.assert_close(losses, errors.flatten(1).mean(1), rtol=1e-4, atol=1e-7)


# -- flow models


def test_a_flow_model_is_trained_on_the_way_from_picture_to_noise(with_settings: WithSettings) -> None:
    """No family of the kind is there yet: the network of another is told times and asked for the way all the same."""
    run = with_settings({"times": {"name": "logit_normal", "shift": 3.0}, "weightings": [{"name": "min_snr"}]})
    run.objective = Flow(run.config.times.first, run.config.times.end)
    run.config.weightings.clear()
    batch = run.batches.batch(0, 0, 0)
    times = draw_times(run, batch)
    assert times.dtype == torch.float32 and not torch.equal(times, times.round())
    noise = draw_noise(run, batch, times)
    sigma = times.double().reshape(-1, 1, 1, 1) / 1000
    noisy = ((1 - sigma) * batch.latents + sigma * noise).float()
    with torch.no_grad():
        prediction = run.family.predict(run.model, noisy, times, run.conditions(batch)).double()
    expected = (prediction - (noise - batch.latents)).square().flatten(1).mean(1)
    losses = sample_losses(run, batch)
    torch.testing.assert_close(losses.detach().double(), expected, rtol=1e-4, atol=1e-6)
    losses.sum().backward()
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in run.parameters)


@pytest.mark.parametrize("name", ["sigma", "sigma_sqrt", "cos_map"])
def test_a_flow_models_weightings_weigh_it(with_settings: WithSettings, name: str) -> None:
    run = with_settings()
    run.objective = Flow()
    batch = run.batches.batch(0, 0, 0)
    plain = sample_losses(run, batch)
    sigma = draw_times(run, batch) / 1000
    weights = {"sigma": sigma, "sigma_sqrt": sigma**-2, "cos_map": 2 / (math.pi * (1 - 2 * sigma * (1 - sigma)))}
    run.config.weightings.append(registry("weightings").get(name)())
    torch.testing.assert_close(sample_losses(run, batch), plain * weights[name])


def test_the_network_is_told_the_noise_level(with_settings: WithSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    run, told = with_settings(), []
    monkeypatch.setattr(run.network, "before_step", told.append)
    batch = run.batches.batch(0, 0, 0)
    sample_losses(run, batch)
    run.objective = Flow()
    sample_losses(run, batch)
    diffusion, flow = told
    assert diffusion.shape == flow.shape == (len(batch.names),)
    assert ((diffusion >= 0) & (diffusion < 1)).all()
    assert (flow - diffusion).abs().max() < 1.1e-3, "the same draws, of which diffusion has a thousand times"
