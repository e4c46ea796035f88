"""Each setting of a distribution of times, of a loss and of a weighting changes the formula."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from annotated_types import Ge, Gt, Le, Lt

from core.objectives import Diffusion, Flow
from core.registry import registry
from core.settings import Settings
from core.settings.bases import TimesConfig, density

KINDS = ("times", "losses", "weightings")
NEEDED: dict[str, dict[str, Any]] = {"base_tokens": {"dynamic_shift": "resolution"}}
"""What has to be set for a setting to apply."""

OTHER: dict[tuple[str, str], Any] = {("heavy_tail", "scale"): 0.5}
ELSEWHERE = {"strata": "tests/core/training/test_noise.py"}

PLUGINS = [
    (kind, name, field) for kind in KINDS for name, cls in registry(kind).all().items() for field in cls.model_fields
]
SETTINGS = [(kind, name, field) for kind, name, field in PLUGINS if field not in ("name", *ELSEWHERE)]


def another(cls: type[Settings], name: str, field: str) -> Any:
    """Another value within the bounds."""
    info, default = cls.model_fields[field], cls.model_fields[field].default
    if (name, field) in OTHER:
        return OTHER[name, field]
    if isinstance(default, str):
        return next(choice for choice in get_args(info.annotation) if choice != default)
    value = type(default)(default / 2) if default else 1
    low = [bound.ge for bound in info.metadata if isinstance(bound, Ge)]
    low += [bound.gt for bound in info.metadata if isinstance(bound, Gt)]
    high = [bound.le for bound in info.metadata if isinstance(bound, Le)]
    high += [bound.lt for bound in info.metadata if isinstance(bound, Lt)]
    assert all(bound <= value for bound in low) and all(value <= bound for bound in high), (name, field, value)
    return type(default)(value)


def outcome(kind: str, settings: Any) -> Any:
    if isinstance(settings, TimesConfig):
        return density(settings, 64, 96, 50)
    objective: Any = Diffusion(torch.linspace(0.999, 0.01, 1000))
    times = torch.tensor([50, 500, 950])
    if kind == "weightings":
        objective = objective if "diffusion" in settings.objectives else Flow()
        return settings.weights(objective, times).tolist()
    prediction, target = torch.linspace(-2, 2, 24).reshape(3, 4, 2, 1), torch.zeros(3, 4, 2, 1)
    return (settings.weight * settings.errors(prediction, target, objective, times)).tolist()


@pytest.mark.parametrize(("kind", "name", "field"), SETTINGS)
def test_it_changes_the_formula(kind: str, name: str, field: str) -> None:
    cls = registry(kind).get(name)
    given = NEEDED.get(field, {})
    before = cls(**given)
    after = cls(**{**given, field: another(cls, name, field)})
    assert not list(after.check())
    assert outcome(kind, before) != outcome(kind, after)
