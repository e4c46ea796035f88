"""Noise and times of a real run: functions of seed and sample, of the chosen distribution, and as strong as is set."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from core.contracts import Batch
from core.registry import registry
from core.settings.bases import TimesConfig
from core.training.noise import draw_noise, draw_perturbation, draw_times, even_draw
from core.training.setup import Run

WithSettings = Callable[..., Run]

KINDS_OF_NOISE: list[dict[str, Any]] = [
    {},
    {"noise_offset": 0.1},
    {"noise_offset": 0.1, "noise_offset_random_strength": True},
    {"adaptive_noise_scale": 0.5},
    {"noise_offset": 0.1, "generalized_offset_noise": True},
    {"multires_noise_iterations": 6},
    {"ip_noise_gamma": 0.1},
    {"ip_noise_gamma": 0.1, "ip_noise_gamma_random_strength": True},
]


def batch_of(run: Run, samples: list[int], size: tuple[int, int] = (16, 16)) -> Batch:
    """A real batch, with other samples' numbers, and latents of a size that hang on them alone."""
    batch = run.batches.batch(0, 0, 0).only([0] * len(samples))
    batch.samples = samples
    made = [torch.randn(4, *size, generator=torch.Generator().manual_seed(sample)) + 0.3 for sample in samples]
    batch.latents = torch.stack(made)
    return batch


def drawn(run: Run, samples: list[int]) -> list[torch.Tensor]:
    batch = batch_of(run, samples)
    times = draw_times(run, batch)
    perturbation = draw_perturbation(run, batch)
    return [times, draw_noise(run, batch, times), torch.zeros(len(samples)) if perturbation is None else perturbation]


@pytest.mark.parametrize("noise", KINDS_OF_NOISE, ids=lambda noise: " ".join(noise) or "plain")
def test_what_is_drawn_for_a_sample_hangs_on_nothing_else(with_settings: WithSettings, noise: dict[str, Any]) -> None:
    """Not on the others of its batch, as with kohya's random strength and its multi-resolution noise."""
    changes = {"noise": noise, "times": {"name": "logit_normal", "strata": 8}}
    run, again = with_settings(changes), with_settings(changes)
    together = drawn(run, [3, 40, 7])
    alone = [drawn(again, [sample]) for sample in (7, 3, 40)]
    for place, sample in ((2, 0), (0, 1), (1, 2)):
        for ours, theirs in zip(together, alone[sample], strict=True):
            assert torch.equal(ours[place], theirs[0])


@pytest.mark.parametrize("noise", KINDS_OF_NOISE[1:], ids=lambda noise: " ".join(noise))
def test_each_kind_of_noise_changes_what_is_drawn_and_the_seed_does(
    with_settings: WithSettings, noise: dict[str, Any]
) -> None:
    plain, changed, other = (
        drawn(with_settings({"noise": own, "training": {"seed": seed}}), [1, 2])
        for own, seed in (({}, 5), (noise, 5), (noise, 6))
    )
    assert torch.equal(plain[0], changed[0]), "the times stay"
    assert any(not torch.equal(before, after) for before, after in zip(plain, changed, strict=True))
    assert not torch.equal(changed[1], other[1])


def test_an_offset_is_equal_over_the_picture_and_as_strong_as_is_set(with_settings: WithSettings) -> None:
    samples = list(range(400))
    plain = drawn(with_settings(), samples)[1]
    added = drawn(with_settings({"noise": {"noise_offset": 0.3}}), samples)[1] - plain
    torch.testing.assert_close(added, added[..., :1, :1].expand_as(added), rtol=0, atol=1e-6)
    assert float(added[..., 0, 0].std()) == pytest.approx(0.3, rel=0.05)


def test_a_random_offset_has_a_strength_of_its_own_for_each_picture(with_settings: WithSettings) -> None:
    samples = list(range(400))
    run = with_settings({"noise": {"noise_offset": 0.3, "noise_offset_random_strength": True}})
    added = (drawn(run, samples)[1] - drawn(with_settings(), samples)[1])[..., 0, 0]
    # The mean square of u n, with u even from 0 to 0.3 and n normal, is 0.3^2 / 3.
    assert float(added.square().mean()) == pytest.approx(0.09 / 3, rel=0.1)


def test_a_generalised_offset_is_whole_at_the_last_time_and_nearly_nothing_at_the_first(
    with_settings: WithSettings,
) -> None:
    run = with_settings({"noise": {"noise_offset": 0.3, "generalized_offset_noise": True}})
    batch, plain = batch_of(run, [1]), with_settings({"noise": {"noise_offset": 0.3}})
    base = draw_noise(with_settings(), batch, torch.tensor([0]))
    first, last = (draw_noise(run, batch, torch.tensor([time])) - base for time in (0, 999))
    torch.testing.assert_close(last, draw_noise(plain, batch, torch.tensor([0])) - base)
    assert float(first.abs().max()) < 0.01 * float(last.abs().max())


def test_multi_resolution_noise_has_a_deviation_of_1_and_is_coarse(with_settings: WithSettings) -> None:
    run = with_settings({"noise": {"multires_noise_iterations": 6, "multires_noise_discount": 0.8}})
    noises = drawn(run, list(range(20)))[1]
    for noise in noises:
        assert float(noise.std()) == pytest.approx(1, abs=1e-5)
    neighbours = (noises[..., :-1] * noises[..., 1:]).mean()
    assert float(neighbours) > 0.1, "what lies side by side is alike"


def test_a_perturbation_is_as_strong_as_is_set(with_settings: WithSettings) -> None:
    run = with_settings({"noise": {"ip_noise_gamma": 0.2}})
    assert float(drawn(run, list(range(50)))[2].std()) == pytest.approx(0.2, rel=0.02)
    assert draw_perturbation(with_settings(), batch_of(run, [1])) is None


# -- times


@pytest.mark.parametrize("name", registry("times").names())
def test_a_run_draws_times_of_its_distribution(with_settings: WithSettings, name: str) -> None:
    """Kolmogorov and Smirnov's distance to what should lie below each time."""
    run = with_settings({"times": {"name": name, "first": 100, "end": 900, "shift": 1.7}})
    times = draw_times(run, batch_of(run, list(range(3000)), (2, 2))).double().sort().values
    assert int(times[0]) >= 100 and int(times[-1]) < 900
    config: TimesConfig = run.config.times
    expected = [  # of the whole times up to each: 1.7 is undone by its inverse
        config.share_below((f := (float(time) + 1 - 100) / 800) / (1.7 - 0.7 * f)) for time in times
    ]
    shares = torch.searchsorted(times, times, right=True).double() / len(times)
    distance = float((shares - torch.tensor(expected, dtype=torch.float64)).abs().max())
    assert distance < 1.95 / math.sqrt(len(times)), "so far apart in one of a thousand draws"


@pytest.mark.parametrize("strata", [2, 7, 100])
def test_strata_are_each_drawn_from_once(strata: int) -> None:
    for group in range(3):
        shares = [even_draw(9, group * strata + place, strata) for place in range(strata)]
        assert sorted(int(share * strata) for share in shares) == list(range(strata))
    orders = [
        [int(even_draw(9, group * strata + place, strata) * strata) for place in range(strata)] for group in range(9)
    ]
    assert len({tuple(order) for order in orders}) > 1, "each group in another order"


def test_free_draws_are_even() -> None:
    shares = sorted(even_draw(1, sample, 1) for sample in range(5000))
    assert max(abs(share - (place + 0.5) / 5000) for place, share in enumerate(shares)) < 1.95 / math.sqrt(5000)


@pytest.mark.parametrize(("rule", "shift"), [("flux", math.exp(0.5 + 0.65 * (1024 - 256) / 3840)), ("resolution", 2.0)])
def test_larger_pictures_are_shown_with_more_noise(with_settings: WithSettings, rule: str, shift: float) -> None:
    """The same samples at 64x64 latent pixels, 1024 tokens, and without a shift."""
    plain, run = with_settings(), with_settings({"times": {"name": "uniform", "dynamic_shift": rule}})
    samples = list(range(50))
    before = draw_times(plain, batch_of(plain, samples, (64, 64))).double()
    after = draw_times(run, batch_of(run, samples, (64, 64))).double()
    shares = torch.tensor([even_draw(plain.seed, sample, 1) for sample in samples], dtype=torch.float64)
    assert torch.equal(before, (1000 * shares).floor())
    assert torch.equal(after, (1000 * shift * shares / (1 + (shift - 1) * shares)).floor())
