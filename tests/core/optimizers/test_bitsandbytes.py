"""bitsandbytes' optimizers: their steps, what of them is in 8 bits, and what is said where the library doesn't work."""

from __future__ import annotations

import inspect
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from core.optimizers._bitsandbytes import BitsAndBytes, restoring_pages
from core.optimizers._trial import try_out
from core.optimizers.adamw8bit import AdamW8bit
from core.optimizers.ademamix import AdEMAMix
from core.optimizers.paged_adamw import PagedAdamW
from core.registry import registry
from core.settings.bases import OptimizerConfig

pytestmark = pytest.mark.filterwarnings("ignore:Paged optimizers are not supported on CPU")

ROOT = Path(__file__).parents[3]
OURS: dict[str, Any] = {
    name: cls for name, cls in registry("optimizers").all().items() if issubclass(cls, BitsAndBytes)
}
EIGHT_BITS = [name for name in OURS if name.endswith("8bit")]

BROKEN = {
    "ImportError": "import a_library_that_is_not_there",
    "OSError": "import ctypes; ctypes.CDLL('libnowhere.so.99')",
    "RuntimeError": "raise RuntimeError('CUDA Setup failed')",
    "AttributeError": "None.cget_managed_ptr",
}


def _stepped(config: OptimizerConfig, *weights: torch.nn.Parameter, rate: float = 1e-3, steps: int = 1) -> Any:
    optimizer = config.build([{"params": list(weights), "lr": rate}])
    for step in range(steps):
        for weight in weights:
            generator = torch.Generator().manual_seed(step)
            weight.grad = torch.randn(weight.shape, generator=generator)
        optimizer.step()
    return optimizer


def test_they_are_all_there() -> None:
    assert len(EIGHT_BITS) == 7 and "paged_adamw" in OURS and "ademamix" in OURS


@pytest.mark.parametrize("name", EIGHT_BITS)
def test_small_tensors_keep_32_bits(name: str) -> None:
    large, small = (torch.nn.Parameter(torch.ones(rows, 64)) for rows in (64, 63))
    optimizer = _stepped(OURS[name](), large, small)
    assert optimizer.state[large]["state1"].dtype == torch.uint8
    assert optimizer.state[small]["state1"].dtype == torch.float32


@pytest.mark.parametrize("name", EIGHT_BITS)
def test_the_size_from_which_8_bits_are_used_is_a_setting(name: str) -> None:
    weight = torch.nn.Parameter(torch.ones(16, 16))
    optimizer = _stepped(OURS[name].model_validate({"min_8bit_size": 256}), weight)
    assert optimizer.state[weight]["state1"].dtype == torch.uint8


@pytest.mark.parametrize("name", OURS)
def test_every_argument_of_the_library_is_a_setting_or_has_no_effect_there(name: str) -> None:
    """What is left out: what the library refuses to change, or takes and never looks at."""
    import bitsandbytes.optim

    theirs = set(inspect.signature(getattr(bitsandbytes.optim, OURS[name].theirs)).parameters)
    without_effect = {"amsgrad", "optim_bits", "args", "lr_decay", "initial_accumulator_value", "centered"}
    unread = {"sgd8bit": {"dampening", "nesterov"}, "rmsprop8bit": {"momentum"}}.get(name, set())
    unread |= set() if name in EIGHT_BITS else {"min_8bit_size"}
    assert theirs - set(OURS[name]().arguments()) <= {"params", "lr", *without_effect, *unread}


@pytest.mark.parametrize("setting", [{"nesterov": True}, {"dampening": 0.5}])
def test_momentum_settings_that_the_library_takes_in_silence(setting: dict[str, Any]) -> None:
    """Why Ochre doesn't offer them: they change nothing."""
    from bitsandbytes.optim import SGD8bit

    results = []
    for more in ({}, setting):
        weight = torch.nn.Parameter(torch.ones(64, 64))
        optimizer: Any = SGD8bit([weight], **{"lr": 0.1, "momentum": 0.9, **more})
        for step in range(3):
            weight.grad = torch.full_like(weight, 1.0 + step)
            optimizer.step()
        results.append(weight.detach())
    assert torch.equal(*results)


@pytest.mark.parametrize("name", ["LAMB", "LARS"])
def test_why_lamb_and_lars_are_another_librarys(name: str) -> None:
    """bitsandbytes' never move a tensor of zeros, with which half of a LoRA begins."""
    import bitsandbytes.optim

    weight = torch.nn.Parameter(torch.zeros(8, 8))
    more = {"momentum": 0.9} if name == "LARS" else {}
    optimizer = getattr(bitsandbytes.optim, name)([weight], lr=0.1, **more)
    ours = torch.nn.Parameter(torch.zeros(8, 8))
    for _ in range(3):
        weight.grad = torch.ones_like(weight)
        optimizer.step()
    _stepped(registry("optimizers").get(name.lower())(), ours, rate=0.1, steps=3)
    assert not weight.any() and ours.all()


def test_adams_8_bits_decay_weights_as_adamw() -> None:
    """With a gradient of zero, the weights shrink by 1 - rate x decay at each step."""
    weight = torch.nn.Parameter(torch.full((64, 64), 2.0))
    optimizer = registry("optimizers").get("adam8bit")(weight_decay=0.1).build([{"params": [weight], "lr": 0.01}])
    weight.grad = torch.zeros_like(weight)
    optimizer.step()
    torch.testing.assert_close(weight.detach(), torch.full((64, 64), 2.0 * (1 - 0.001)))


@pytest.mark.parametrize(("alpha_steps", "beta_steps"), [(0, 0), (10, 0), (0, 10)])
def test_ademamix_by_hand(alpha_steps: int, beta_steps: int) -> None:
    """Pagliardini et al. 2024, algorithm 1, with the schedulers of alpha and beta3 of section 3 (equations 4 and 5)."""
    beta_1, beta_2, beta_3, alpha, decay, rate = 0.9, 0.999, 0.9999, 5.0, 0.1, 0.01
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    config = AdEMAMix(weight_decay=decay, t_alpha=alpha_steps, t_beta3=beta_steps)
    optimizer = config.build([{"params": [weight], "lr": rate}])
    expected = torch.tensor([1.0, -2.0], dtype=torch.float64)
    fast, slow, squares = (torch.zeros(2, dtype=torch.float64) for _ in range(3))
    for step, gradient in enumerate((torch.tensor([3.0, -1.0]), torch.tensor([-0.5, 5.0])), start=1):
        weight.grad = gradient.clone()
        optimizer.step()
        g = gradient.double()
        now = min(step * alpha / alpha_steps, alpha) if alpha_steps else alpha
        kept = beta_3
        if beta_steps:
            share, one, three = step / beta_steps, math.log(beta_1), math.log(beta_3)
            kept = min(math.exp(one * three / ((1 - share) * three + share * one)), beta_3)
        fast = beta_1 * fast + (1 - beta_1) * g
        slow = kept * slow + (1 - kept) * g
        squares = beta_2 * squares + (1 - beta_2) * g * g
        size = (squares / (1 - beta_2**step)).sqrt() + 1e-8
        expected = expected - rate * ((fast / (1 - beta_1**step) + now * slow) / size + decay * expected)
    torch.testing.assert_close(weight.detach().double(), expected, rtol=1e-5, atol=1e-6)


# -- restoring


def test_restored_state_goes_back_into_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are no pages on a CPU: it is seen that new buffers are asked for, and that they hold what was saved."""
    from core.optimizers._state import restore_state

    asked = []
    for config, shapes in ((PagedAdamW(), [(8, 8)] * 2), (AdEMAMix(paged=True), [(2, 8, 8), (8, 8)])):
        weight = torch.nn.Parameter(torch.ones(8, 8))
        saved = _stepped(config, weight, steps=3)
        fresh = config.build([{"params": [torch.nn.Parameter(weight.detach().clone())], "lr": 1e-3}])
        cls: Any = type(fresh)
        monkeypatch.setattr(
            cls, "_page", lambda self, p, t, page=cls._page: asked.append(page(self, p, t)) or asked[-1]
        )
        restore_state(fresh, saved.state_dict())
        (state,) = fresh.state.values()
        assert [tuple(page.shape) for page in asked] == shapes
        assert asked[0] is state["state1"] and asked[1] is state["state2"]
        assert torch.equal(state["state1"], saved.state[weight]["state1"])
        asked.clear()


def test_a_class_keeps_its_name_for_the_loras_metadata() -> None:
    from bitsandbytes.optim import AdamW8bit as Theirs

    cls = restoring_pages(Theirs)
    assert f"{cls.__module__}.{cls.__qualname__}" == "bitsandbytes.optim.adamw.AdamW8bit"


# -- the self-test


@pytest.mark.parametrize("name", OURS)
def test_a_trial_passes_and_tells_the_saving(name: str) -> None:
    findings = list(try_out(OURS[name], "cpu"))
    assert all(finding.passed for finding in findings), findings
    assert findings[0].text.startswith("bitsandbytes 0.") and "imports" in findings[0].text
    assert "has code for cpu" in findings[1].text
    if name in EIGHT_BITS:
        assert "agree with" in findings[2].text
        saved = float(findings[3].text.partition(": ")[2].partition("%")[0])
        assert 70 < saved < 76, "a quarter, and the scales"


def test_a_device_that_it_has_no_code_for() -> None:
    findings = list(try_out(AdamW8bit, "vulkan"))
    assert findings[-1].text == "it has no code for vulkan" and not findings[-1].passed


def test_a_torch_without_cuda() -> None:
    if torch.version.cuda or torch.version.hip:
        pytest.skip("torch was installed for a GPU")
    findings = list(try_out(AdamW8bit, "cuda"))
    assert findings[-1].text == "torch itself was installed without CUDA or ROCm" and not findings[-1].passed


def test_a_library_that_fits_another_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loaded is the library for CPUs, as happens where torch is for a CUDA that bitsandbytes has none for."""
    monkeypatch.setattr(torch.version, "cuda", "99.0")
    findings = list(try_out(AdamW8bit, "cuda"))
    assert not findings[-1].passed
    assert findings[-1].text.startswith("none of its libraries fits torch's CUDA 99.0; it has those for CUDA 1")


@pytest.mark.parametrize("error", BROKEN)
def test_a_broken_library_is_a_reason_and_no_exception(error: str, tmp_path: Path) -> None:
    """A bitsandbytes that raises on import, as it does where its compiled part doesn't fit the machine."""
    package = tmp_path / "bitsandbytes"
    package.mkdir()
    (package / "__init__.py").write_text(BROKEN[error])
    code = (
        "from core.optimizers.adamw8bit import AdamW8bit as A\n"
        "from core.optimizers._trial import try_out\n"
        "assert A.availability('cuda').works\n"
        "(finding,) = try_out(A, 'cuda')\n"
        "assert not finding.passed\n"
        "print(finding.text)"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip()


def test_steps_that_are_not_adamws_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that computes nonsense without an error is caught by the comparison."""
    from bitsandbytes.optim import AdamW8bit as Theirs

    def backwards(self: Any) -> None:
        with torch.no_grad():
            for group in self.param_groups:
                for weight in group["params"]:
                    weight.add_(weight.grad.sign(), alpha=group["lr"])

    cls = restoring_pages(Theirs)
    monkeypatch.setattr(cls, "step", backwards)
    findings = list(try_out(AdamW8bit, "cpu"))
    assert not findings[-1].passed and "don't agree with AdamW in fp32: 200% apart" in findings[-1].text
    monkeypatch.setattr(cls, "step", lambda self: None)
    assert "lead nowhere" in list(try_out(AdamW8bit, "cpu"))[-1].text


def test_betas_outside_their_bounds_are_a_problem() -> None:
    assert [problem.path for problem in AdamW8bit(betas=[0.9, 1.0]).check()] == ["betas.1"]
