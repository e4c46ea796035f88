"""Each setting of each optimizer and network changes what it does.

Those of schedules: core/schedules/test_schedule_settings.py; of times, losses and weightings: test_formula_settings.py.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from core.contracts import Model, PartLayers
from core.registry import registry
from core.settings import Settings
from tests.contracts.alternatives import alternatives, shown_context

KINDS = ("optimizers", "networks")

PLAIN = ("save_plain", "plain_rank")

CONTEXTS: Mapping[str, Mapping[str, Any]] = {
    **{f"optimizers.*.{how}": {"weight_decay": 0.1} for how in ("weight_decouple", "decouple", "cautious_wd")},
    "optimizers.*.fixed_decay": {"weight_decay": 0.1, "weight_decouple": True},
    "optimizers.custom.arguments": {"class_path": "torch.optim.SGD"},
    "optimizers.prodigy_plus_schedule_free.weight_decay_by_lr": {"weight_decay": 0.1},
    "optimizers.prodigy_plus_schedule_free.atan2": {"use_stableadamw": False},
    "optimizers.prodigy_plus_schedule_free.use_focus": {"factored": False},
    "optimizers.prodigy_plus_schedule_free.beta3": {"d_limiter": False},
    "optimizers.sgd.dampening": {"momentum": 0.9},
    "optimizers.sgd.nesterov": {"momentum": 0.9},
    "networks.*.include": {"layers": "patterns", "include": ["blocks"]},
    "networks.norms.layers": {"include": [r"denoiser\.blocks\.0", r"text_1\.blocks"]},
    "networks.*.tucker": {"layers": "all"},
    "networks.*.rank_dropout_scale": {"rank_dropout": 0.5},
    **{f"networks.{name}.{what}": {"decompose": True} for name in ("lora", "locon") for what in PLAIN},
    **{f"networks.{name}.{what}": {"train_norms": True} for name in ("dylora", "tlora") for what in PLAIN},
    **{f"networks.{name}.plain_rank": {"decompose": True, "save_plain": True} for name in ("lora", "locon")},
    **{f"networks.{name}.plain_rank": {"train_norms": True, "save_plain": True} for name in ("dylora", "tlora")},
}
"""kind.plugin.setting (or kind.*.setting) -> what else has to be set for the setting to do something."""

VALUES: Mapping[str, Any] = {
    "optimizers.*.adam_groups": "a",
    "optimizers.custom.class_path": "torch.optim.Adamax",
    "optimizers.custom.arguments": ["momentum = 0.5"],
    "optimizers.prodigy_plus_schedule_free.beta3": 0.2,
    "networks.*.include": [r"blocks\.1"],
    "networks.*.exclude": [r"blocks\.1"],
    "networks.*.rules": [{"pattern": r"blocks\.1", "learning_rate_factor": 0.5}],
    "networks.*.max_norm": 1e-3,
}
"""kind.plugin.setting (or kind.*.setting) -> another value, for those that have no obvious one."""

EMBEDDING = ("token", "vectors", "initial_text", "learning_rate", "stop_after", "preserve_norm", "file")

ELSEWHERE: Mapping[str, str] = {
    "optimizers.*.paged": "core/optimizers/test_bitsandbytes",  # without a GPU it has no effect
    "optimizers.adan.adanorm": "core/optimizers/test_optimizer_formulas",
    "optimizers.aida.adanorm": "core/optimizers/test_optimizer_formulas",
    "optimizers.lion_adv.auto_kappa_p": "core/optimizers/test_optimizer_formulas",
    **{f"networks.*.{name}": "core/networks/test_weights" for name in ("weights", "weights_rank", "weights_fit")},
    **{f"networks.embedding.{name}": "core/training/test_new_words" for name in EMBEDDING},
}
"""Settings that only a whole run shows -> the test that does."""


def named(table: Mapping[str, Any], kind: str, plugin: str, setting: str) -> Any:
    """An entry for this plug-in's setting, or for the setting of all plug-ins of the kind."""
    return table.get(f"{kind}.{plugin}.{setting}", table.get(f"{kind}.*.{setting}"))


def cases() -> Iterator[Any]:
    for kind in KINDS:
        for plugin, cls in registry(kind).all().items():
            for setting in cls.model_fields:
                if setting != "name" and named(ELSEWHERE, kind, plugin, setting) is None:
                    yield pytest.param(kind, plugin, setting, id=f"{kind}-{plugin}-{setting}")


@pytest.mark.parametrize(("kind", "plugin", "setting"), cases())
def test_a_setting_changes_something(kind: str, plugin: str, setting: str) -> None:
    cls: type[Settings] = registry(kind).get(plugin)
    if kind == "optimizers" and not cls.availability("cpu").works:  # type: ignore[attr-defined]
        pytest.skip("not installed, or not for a CPU")
    context = {"name": plugin, **shown_context(cls, setting), **(named(CONTEXTS, kind, plugin, setting) or {})}
    before = effect_of(kind, cls.model_validate(context))
    value = named(VALUES, kind, plugin, setting)
    tried = alternatives(cls, setting, context) if value is None else [cls.model_validate({**context, setting: value})]
    assert any(effect_of(kind, other) != before for other in tried), "no other value does anything else"


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_settings_do_the_same(kind: str) -> None:
    settings = registry(kind).get(registry(kind).names()[0])()
    assert effect_of(kind, settings) == effect_of(kind, settings)


def effect_of(kind: str, settings: Any) -> str:
    """A digest of all that the settings bring about, by themselves."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return digest(EFFECTS[kind](settings))


def digest(value: Any) -> str:
    def plain(item: Any) -> Any:
        if isinstance(item, Tensor):
            return [
                str(item.dtype),
                list(item.shape),
                hashlib.sha256(item.detach().float().numpy().tobytes()).hexdigest(),
            ]
        if isinstance(item, Mapping):
            return {str(key): plain(inner) for key, inner in item.items()}
        return [plain(inner) for inner in item] if isinstance(item, list | tuple) else item

    return hashlib.sha256(json.dumps(plain(value), sort_keys=True, default=str).encode()).hexdigest()


# -- what each kind brings about


def optimizing(settings: Any) -> Any:
    """The weights after some steps down a small problem, and what the optimizer remembers."""
    model = nn.Sequential(nn.Linear(64, 96), nn.Tanh(), nn.Linear(96, 64), nn.LayerNorm(64))
    weights = list(model.parameters())
    rate = max(settings.sensible_rates[0], min(settings.usual_rate * 10, settings.sensible_rates[1]))
    groups = [{"params": weights[:3], "lr": rate, "name": "a"}, {"params": weights[3:], "lr": rate, "name": "b"}]
    optimizer: Any = settings.build(groups)
    inputs, wanted = torch.randn(8, 64), torch.randn(8, 64)
    if hasattr(optimizer, "train"):
        optimizer.train()
    rates = [group["lr"] for group in optimizer.param_groups]
    for step in range(8):
        optimizer.zero_grad()
        for group, whole in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = None if whole is None else whole * min(1.0, (step + 1) / 4)  # a warm-up
        (model(inputs) - wanted).square().mean().backward()
        optimizer.step()
    if hasattr(optimizer, "eval"):
        optimizer.eval()
    kept = sorted({str(t.dtype) for state in optimizer.state.values() for t in state.values() if isinstance(t, Tensor)})
    return weights, kept


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.ff = nn.LayerNorm(width), nn.Linear(width, width)
        self.to_q, self.to_k = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.ff((self.to_q(self.norm(x)) + self.to_k(x)).tanh())


class Part(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(3, width, 3, padding=1)
        self.blocks = nn.ModuleList(Block(width) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x).flatten(2).transpose(1, 2)
        for block in self.blocks:
            x = x + block(x)
        return x


LAYERS = PartLayers(
    groups={
        "attention": r"to_q$", "attention_mlp": r"(to_[qk]|ff)$", "transformer": r"(to_q|ff)$", "convolution": r"conv",
        "linear": r".", "all": r".",
    },
    blocks={"IN00": r"conv_in|blocks\.0", "OUT00": r"blocks\.1"},
)  # fmt: skip


def networking(settings: Any) -> Any:
    """What is trained, at which rates, after a few steps; and the files that come of it."""
    torch.manual_seed(0)
    parts = {name: Part(16).requires_grad_(False).train() for name in ("denoiser", "text_1")}
    network = settings.attach(Model("sd15", dict(parts), {}, {}), dict.fromkeys(parts, LAYERS))
    groups = network.groups({"denoiser": 0.05, "text_1": 0.02})
    optimizer = torch.optim.SGD(groups)
    for step in range(3):
        torch.manual_seed(step)
        network.before_step(torch.tensor([0.1, 0.9]))
        x = torch.randn(2, 3, 4, 4)
        sum((part(x) - 1).square().mean() for part in parts.values()).backward()  # type: ignore[union-attr]
        optimizer.step()
        optimizer.zero_grad()
        network.after_step()
    rates = {group["name"]: (group["lr"], group.get("stop_after", "")) for group in groups}
    written = network.export(lora_name), network.beside(lora_name), network.metadata(), settings.beside_names()
    return network.state(), rates, *written


def lora_name(part: str, path: str) -> str:
    return f"lora_{part}_{path.replace('.', '_')}"


EFFECTS: Mapping[str, Callable[[Any], Any]] = {
    "optimizers": optimizing,
    "networks": networking,
}
