"""Any optimizer by its class: what is found wrong before the start, and that it is what then trains."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from core.errors import TrainingError
from core.optimizers.custom import Custom


def _problems(path: str, *arguments: str) -> list[tuple[str, str]]:
    found = Custom(class_path=path, arguments=list(arguments)).check()
    return [(problem.path, problem.message) for problem in found]


def test_the_class_gets_its_arguments_and_each_groups_rate() -> None:
    groups = [{"params": [torch.nn.Parameter(torch.ones(2))], "lr": rate} for rate in (0.1, 0.2)]
    config = Custom(class_path="torch.optim.NAdam", arguments=["betas = (0.8, 0.9)", "weight_decay=0.1"])
    assert not list(config.check())
    optimizer = config.build(groups)
    assert isinstance(optimizer, torch.optim.NAdam)
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.2]
    assert optimizer.param_groups[1]["betas"] == (0.8, 0.9) and optimizer.param_groups[0]["weight_decay"] == 0.1
    assert f"{type(optimizer).__module__}.{type(optimizer).__qualname__}" == "torch.optim.nadam.NAdam"


@pytest.mark.parametrize(
    ("path", "arguments", "where", "words"),
    [
        ("nowhere_at_all.Adam", (), "class_path", "There is no module nowhere_at_all"),
        ("torch.optim.AdmaW", (), "class_path", "did you mean 'AdamW'"),
        ("torch.nn.Linear", (), "class_path", "is no Optimizer"),
        ("AdamW", (), "class_path", "package.module.Class"),
        ("torch.optim.SGD", ("momentun = 0.9",), "arguments.0", "did you mean 'momentum'"),
        ("torch.optim.SGD", ("momentum",), "arguments.0", "key = value"),
        ("torch.optim.SGD", ("momentum = __import__('os').getpid()",), "arguments.0", "is no value"),
        ("torch.optim.SGD", ("lr = 1",), "arguments.0", "is set by Ochre itself"),
        ("torch.optim.AdamW", ("betas = (2.0, 0.9)",), "arguments", "Invalid beta"),
        ("torch.optim.LBFGS", (), "class_path", "needs the loss computed again"),
        ("torch.optim.SparseAdam", (), "class_path", "dense gradients"),
        ("pytorch_optimizer.SAM", (), "arguments", "needs base_optimizer"),
    ],
)
def test_what_is_wrong_is_found_before_the_start(path: str, arguments: tuple, where: str, words: str) -> None:
    ((found, message),) = _problems(path, *arguments)
    assert found == where and words in message


def test_a_class_that_needs_no_rate_of_its_own_is_given_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_optimizers.py").write_text(
        "import torch\n"
        "class Rateless(torch.optim.Optimizer):\n"
        "    def __init__(self, params, size=1.0):\n"
        "        super().__init__(params, {'size': size})\n"
        "    @torch.no_grad()\n"
        "    def step(self):\n"
        "        for group in self.param_groups:\n"
        "            for weight in group['params']:\n"
        "                weight.sub_(weight.grad, alpha=group['lr'] * group['size'])\n"
        "class NeedsRate(Rateless):\n"
        "    def __init__(self, params, lr, size=1.0):\n"
        "        super().__init__(params, size)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("Rateless", "NeedsRate"):
        config = Custom(class_path=f"own_optimizers.{name}", arguments=["size = 2.0"])
        assert not list(config.check())
        weight = torch.nn.Parameter(torch.ones(2))
        optimizer = config.build([{"params": [weight], "lr": 0.1}])
        weight.grad = torch.ones(2)
        optimizer.step()
        torch.testing.assert_close(weight.detach(), torch.full((2,), 0.8))
    sys.modules.pop("own_optimizers")


def test_an_error_of_the_class_at_the_start_is_the_users() -> None:
    config = Custom(class_path="torch.optim.AdamW", arguments=["eps = -1"])
    with pytest.raises(TrainingError, match=r"AdamW can't be used with these arguments.*Invalid epsilon"):
        config.build([{"params": [torch.nn.Parameter(torch.ones(2))], "lr": 0.1}])


def test_its_memory_is_measured() -> None:
    assert Custom(class_path="torch.optim.SGD").state_bytes() == 0.0
    assert Custom(class_path="torch.optim.SGD", arguments=["momentum = 0.9"]).state_bytes() == 4.0
    assert Custom(class_path="bitsandbytes.optim.AdamW8bit").state_bytes() == pytest.approx(2.03, abs=0.01)


def test_whether_it_averages_is_seen_from_its_methods() -> None:
    assert Custom(class_path="schedulefree.AdamWScheduleFree").averages_weights()
    assert not Custom().averages_weights()
    assert not Custom(class_path="nowhere_at_all.Adam").averages_weights()
