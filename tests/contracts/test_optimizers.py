"""Every optimizer learns, keeps its promises, and goes on after a restart exactly where it was."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d

from core.optimizers._adaptive_rate import AdaptiveRate
from core.optimizers._state import restore_state
from core.registry import registry
from core.settings.bases import OptimizerConfig
from core.training.stepping import FusedStep, PlainStep, Rounding

OPTIMIZERS: dict[str, type[OptimizerConfig]] = registry("optimizers").all()

# settings that make another optimizer of it: tried beside the defaults
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "adafactor": {
        "momentum": {"beta1": 0.9, "scale_parameter": True},
        "own_rate": {"relative_step": True},
    },
    "adagrad": {"decay": {"lr_decay": 0.01, "initial_accumulator_value": 0.01}},
    "adam": {"amsgrad": {"amsgrad": True}},
    "adamw": {"amsgrad": {"amsgrad": True}},
    "adabelief": {"rectify": {"rectify": True}, "ams_bound": {"ams_bound": True}},
    "adamw_adv": {
        "factored": {"nnmf_factor": True},
        "kourkoutas": {"kourkoutas_beta": True},
        "atan2": {"use_atan2": True, "orthogonal_gradient": "iterative", "nesterov": True},
    },
    "adamuon_adv": {
        "normuon": {"normuon_variant": True, "nesterov": False},
        "atan2": {"use_atan2": True, "rms_rescaling": False, "approx_mars": True},
    },
    "adopt": {"stable": {"cautious": True, "stable_adamw": True}},
    "adopt_adv": {
        "factored": {"nnmf_factor": True},
        "kourkoutas": {"kourkoutas_beta": True, "use_atan2": True},
    },
    "aida": {"adanorm": {"adanorm": True, "rectify": True, "ams_bound": True}},
    "came": {"ams_bound": {"ams_bound": True}},
    "custom": {"schedule_free": {"class_path": "schedulefree.AdamWScheduleFree"}},
    "dadapt_adam": {"corrected": {"use_bias_correction": True, "decouple": True, "weight_decay": 0.01}},
    "dadapt_adagrad": {"momentum": {"momentum": 0.5}},
    "dadapt_adan": {"before": {"no_prox": True}},
    "dadapt_sgd": {"momentum": {"momentum": 0.5}},
    "came8bit": {"all": {"min_8bit_size": 1, "quant_block_size": 64}},
    "lion_adv": {"factored": {"nnmf_factor": True, "auto_kappa_p": True, "orthogonal_gradient": "flattened"}},
    "mars": {"lion": {"mars_type": "lion"}, "shampoo": {"mars_type": "shampoo", "cautious": True}},
    "muon": {"own_length": {"rms_rescaling": False}},
    "muon_adv": {
        "low_rank": {"low_rank_ortho": True, "ortho_rank": 4},
        "normuon": {"normuon_variant": True, "approx_mars": True, "accelerated_ns": True},
    },
    "prodigy_adv": {
        "factored": {"nnmf_factor": True},
        "kourkoutas": {"kourkoutas_beta": True},
        "until": {"prodigy_steps": 22},
        "limited": {"d_limiter": True, "d0": 1e-4},
    },
    "prodigy": {
        "corrected": {"use_bias_correction": True, "beta3": 0.9, "safeguard_warmup": True},
        "sliced": {"slice_p": 11, "growth_rate": 1.5, "d_coef": 2.0, "weight_decay": 0.01, "decouple": False},
    },
    "prodigy_plus_schedule_free": {
        "one_rate": {"split_groups": False},
        "mean": {"split_groups_mean": True, "schedulefree_c": 8.0},
        "scheduled": {"use_schedulefree": False, "factored": False, "use_grams": True},
        "cautious": {"use_cautious": True},
        "speed": {"use_speed": True, "use_grams": True},
        "corrected": {"use_bias_correction": True, "use_orthograd": True, "d0": 0.01},
        "until": {"prodigy_steps": 22, "use_stableadamw": False, "atan2": True, "d0": 1e-3},
        "adopt": {"use_adopt": True, "weight_decay": 0.01, "weight_decay_by_lr": False},
        "focus": {"use_focus": True, "factored": False, "d0": 1e-3},
    },
    "rmsprop": {"momentum": {"momentum": 0.9, "centered": True}},
    "schedule_free_adamw": {"powers": {"r": 1.0, "weight_lr_power": 0.0, "warmup_steps": 5}},
    "schedule_free_radam": {"loud": {"silent_sgd_phase": False}},
    "sgd": {"nesterov": {"momentum": 0.9, "nesterov": True}},
    "signsgd_adv": {"factored": {"nnmf_factor": True, "nesterov": True}, "bare": {"momentum": 0.0}},
    "soap": {"vectors": {"precondition_1d": True, "normalize_gradient": True}},
}
CASES = [(name, variant) for name in OPTIMIZERS for variant in ["", *VARIANTS.get(name, {})]]
each_case = pytest.mark.parametrize(("name", "variant"), CASES, ids=[f"{n}-{v}" if v else n for n, v in CASES])
each_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)

# The task wants steps of about 0.01 in each weight. Rates of optimizers whose steps at rate 0.01 have another size:
RATES: dict[str, float] = {
    "adabelief-rectify": 0.1,
    "adafactor-momentum": 1.0,
    "adagrad": 0.05,
    "adagrad8bit": 0.05,
    "adamuon_adv": 0.05,
    "adamw_adv-kourkoutas": 0.1,
    "adopt-stable": 0.03,
    "adopt_adv-factored": 0.03,
    "aida-adanorm": 0.1,
    "came": 1e-3,
    "came8bit": 1e-3,
    "dadapt_adagrad": 5.0,
    "dadapt_adam_preprint": 0.3,
    "lamb": 0.05,
    "lars": 10.0,
    "mars-shampoo": 0.03,
    "muon": 0.05,
    "muon_adv": 0.05,
    "prodigy-corrected": 3.0,
    "prodigy_plus_schedule_free": 10.0,
    "prodigy_plus_schedule_free-corrected": 0.5,
    "rmsprop-momentum": 3e-3,
    "schedule_free_adamw": 0.03,
    "schedule_free_radam": 0.3,
    "schedule_free_sgd": 1.0,
    "sgd": 1.0,
    "sgd8bit": 1.0,
}
SEARCHING = 60  # steps in which optimizers that look for their rate come near to it


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Task:
    """Four weights to be learned, in two groups.

    As in a LoRA, `up @ down` shall become a matrix and `up` begins at zero. 8 x 600 weights are more than the 4096 from
    which bitsandbytes uses 8 bits, and 40 x 8 are fewer. A convolution's kernel and bias shall answer as another's do.
    """

    def __init__(self, rate: float, dtype: torch.dtype = torch.float32) -> None:
        draws = torch.Generator().manual_seed(7)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=draws)

        self.matrix = normal(40, 600).to(dtype)
        self.pictures = normal(4, 3, 8, 8).to(dtype)
        self.kernel_goal, self.bias_goal = (normal(6, 3, 3, 3) / 5).to(dtype), normal(6).to(dtype)
        self.weights = {
            "down": torch.nn.Parameter((normal(8, 600) / 8).to(dtype)),
            "up": torch.nn.Parameter(torch.zeros(40, 8, dtype=dtype)),
            "kernel": torch.nn.Parameter((normal(6, 3, 3, 3) / 5).to(dtype)),
            "bias": torch.nn.Parameter(torch.zeros(6, dtype=dtype)),
        }
        self.groups: list[dict[str, Any]] = [
            {"params": [self.weights["down"], self.weights["up"]], "lr": rate, "name": "denoiser", "part": "denoiser"},
            {"params": [self.weights["kernel"], self.weights["bias"]], "lr": rate, "name": "text_1", "part": "text_1"},
        ]

    def losses(self) -> list[Tensor]:
        """Of the matrix, and of the convolution; each about 1 at the start."""
        down, up, kernel, bias = self.weights.values()
        difference = conv2d(self.pictures, kernel - self.kernel_goal) + (bias - self.bias_goal)[:, None, None]
        return [(up @ down - self.matrix).square().mean(), difference.square().mean() / 4]

    def train(self, optimizer: torch.optim.Optimizer, steps: int) -> None:
        """As in a run: bf16 weights are fp32 for the step, and then rounded."""
        stepping = PlainStep(optimizer, max_norm=0.0, rounding=Rounding(seed=3, stochastic=True))
        for step in range(steps):
            stepping.begin(step)
            self.learn()
            stepping.finish()

    def learn(self) -> None:
        """Give each weight its gradient."""
        sum(self.losses()).backward()  # type: ignore[union-attr]

    def measure(self) -> list[float]:
        with torch.no_grad():
            return [loss.item() for loss in self.losses()]

    def copies(self) -> dict[str, Tensor]:
        return {name: weight.detach().clone() for name, weight in self.weights.items()}

    def take(self, weights: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(weights[name])


def _config(name: str, variant: str = "") -> OptimizerConfig:
    config = OPTIMIZERS[name](**(VARIANTS[name][variant] if variant else {}))
    assert not list(config.check())
    return config


def _rate(name: str, variant: str = "") -> float:
    usual = RATES.get(name, 1.0 if _searches(name) else 1e-2)
    return RATES.get(f"{name}-{variant}", usual)


def _searches(name: str) -> bool:
    return issubclass(OPTIMIZERS[name], AdaptiveRate)


@contextmanager
def _evaluating(config: OptimizerConfig, optimizer: Any) -> Iterator[None]:
    """Inside, the weights of a schedule-free optimizer are those that it has found."""
    if config.schedule_free:
        optimizer.eval()
    yield
    if config.schedule_free:
        optimizer.train()


def _through_a_file(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@each_case
def test_learns_in_twenty_steps(name: str, variant: str) -> None:
    config, task = _config(name, variant), Task(_rate(name, variant))
    before, start = task.measure(), task.copies()
    optimizer = config.build(task.groups)
    task.train(optimizer, 20 + SEARCHING * _searches(name))
    with _evaluating(config, optimizer):
        after = task.measure()
    assert sum(after) < 0.8 * sum(before), (before, after)
    assert all(later < earlier for earlier, later in zip(before, after, strict=True)), (before, after)
    assert not [weight for weight, values in task.copies().items() if torch.equal(values, start[weight])]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@each_case
def test_goes_on_bit_for_bit_after_a_restart(name: str, variant: str, dtype: torch.dtype) -> None:
    """Of bf16 weights, too, whose state has another dtype."""
    config, task = _config(name, variant), Task(_rate(name, variant), dtype)
    optimizer = config.build(task.groups)
    task.train(optimizer, 20 if dtype == torch.float32 or _searches(name) else 6)
    kept, state, dtypes = task.copies(), _through_a_file(optimizer.state_dict()), _dtypes(optimizer)
    task.train(optimizer, 5)
    expected = task.copies()
    assert not torch.equal(kept["down"], expected["down"]), "the steps that follow must change something"

    again = Task(_rate(name, variant), dtype)
    again.take(kept)
    resumed = config.build(again.groups)
    restore_state(resumed, state)
    assert _dtypes(resumed) == dtypes
    again.train(resumed, 5)
    for weight, values in again.copies().items():
        assert torch.equal(values, expected[weight]), weight


def _dtypes(optimizer: torch.optim.Optimizer) -> list[dict[str, torch.dtype]]:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return [
        {key: value.dtype for key, value in optimizer.state[parameter].items() if isinstance(value, torch.Tensor)}
        for parameter in parameters
    ]


@each_case
def test_a_group_at_rate_zero_stays_where_it_is(name: str, variant: str) -> None:
    """A part that is trained no longer, and the last step of a schedule."""
    config, task = _config(name, variant), Task(_rate(name, variant))
    optimizer = config.build(task.groups)
    task.train(optimizer, 8 + SEARCHING * _searches(name))
    still = [group for group in optimizer.param_groups if group["name"].startswith("text_1")]
    assert still
    for group in still:
        group["lr"] = 0.0
    before = task.copies()
    task.train(optimizer, 2)
    after = task.copies()
    assert torch.equal(after["kernel"], before["kernel"]) and torch.equal(after["bias"], before["bias"])
    assert not torch.equal(after["down"], before["down"])
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    task.train(optimizer, 1)
    for weight, values in task.copies().items():
        assert torch.equal(values, after[weight]), weight


@each_case
def test_a_greater_rate_goes_farther(name: str, variant: str) -> None:
    """Each group by its own rate."""
    config = _config(name, variant)
    if config.keeps_own_rate() or _searches(name):
        pytest.skip("it finds one rate for all")
    moved = []
    for factor in (1.0, 0.5):
        task = Task(_rate(name, variant))
        task.groups[1]["lr"] *= factor
        start = task.copies()
        task.train(config.build(task.groups), 8)
        moved.append([(task.copies()[weight] - start[weight]).norm().item() for weight in ("down", "kernel")])
    assert moved[1][0] == moved[0][0]
    assert moved[1][1] < 0.8 * moved[0][1]


@each_case
def test_is_silent_and_leaves_the_global_generator_alone(
    name: str, variant: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """A draw of an optimizer's would change dropout and noise after it."""
    torch.manual_seed(5)
    before = torch.get_rng_state()
    task = Task(_rate(name, variant))
    optimizer = _config(name, variant).build(task.groups)
    task.train(optimizer, 2)
    assert torch.equal(torch.get_rng_state(), before)
    assert capfd.readouterr() == ("", "")


@each_case
def test_weights_may_be_stepped_alone_where_it_says_so(name: str, variant: str) -> None:
    """Each as its gradient comes, or by an optimizer of its own: the same as all together, bit for bit."""
    config = _config(name, variant)
    if not config.fused_backward:
        pytest.skip("its weights are stepped together")
    together, fused, alone = (Task(_rate(name, variant)) for _ in range(3))
    together.train(config.build(together.groups), 5)

    stepping = FusedStep(config.build(fused.groups))
    for step in range(5):
        stepping.begin(step)
        fused.learn()
        assert stepping.finish().changed

    own = [config.build([{**group, "params": [weight]}]) for group in alone.groups for weight in group["params"]]
    for _ in range(5):
        alone.learn()
        for optimizer in own:
            optimizer.step()
            optimizer.zero_grad()

    for weight, values in together.copies().items():
        assert torch.equal(fused.copies()[weight], values), weight
        assert torch.equal(alone.copies()[weight], values), weight


@each_case
def test_states_its_memory(name: str, variant: str) -> None:
    """That of a tensor of a usual LoRA, to a tenth (and to half a byte)."""
    config = _config(name, variant)
    assert variant or config.state_bytes() == OPTIMIZERS[name].state_bytes_per_weight
    weight = torch.nn.Parameter(torch.randn(16, 768, generator=torch.Generator().manual_seed(1)))
    weight.grad = torch.ones_like(weight)
    optimizer = config.build([{"params": [weight], "lr": _rate(name, variant), "name": "denoiser", "part": "denoiser"}])
    optimizer.step()
    shared = {"qmap1", "qmap2"}  # bitsandbytes' tables, one for all tensors
    tensors = [value for key, value in optimizer.state[weight].items() if key not in shared]
    measured = sum(map(_bytes, tensors)) / weight.numel()
    assert measured == pytest.approx(config.state_bytes(), rel=0.1, abs=0.5)


def _bytes(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    return sum(map(_bytes, value)) if isinstance(value, list | tuple) else 0


@each_optimizer
def test_works_where_its_library_is_installed_and_names_a_replacement_that_always_does(name: str) -> None:
    cls = OPTIMIZERS[name]
    assert cls.availability("cpu").works
    assert OPTIMIZERS[getattr(cls, "instead", "adamw")].availability("cpu").works
