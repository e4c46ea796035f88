"""A weighting says which models it isn't for, before a run and when it is set up."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.config.lora import LoraConfig
from core.config.toml_file import set_values
from core.families._saving import save_folder
from core.manager.config_generator import ConfigGenerator
from core.registry import registry

NAMES = registry("weightings").names()
FLOW = {"sigma", "sigma_sqrt", "cos_map"}


@pytest.mark.parametrize("name", NAMES)
def test_each_is_for_one_kind_of_model(name: str) -> None:
    weighting = registry("weightings").get(name)()
    right, wrong = ("flow", "diffusion") if name in FLOW else ("diffusion", "flow")
    assert not weighting.unsuited(right, None, None)
    assert f"the base is a {wrong} model" in weighting.unsuited(wrong, None, None)


def test_what_isnt_known_yet_is_no_problem() -> None:
    for name in NAMES:
        weighting = registry("weightings").get(name)()
        assert not weighting.unsuited(weighting.objectives[0], None, None)


def problems(**changes: object) -> list[tuple[str, str]]:
    config = LoraConfig.model_validate({"weightings": [{"name": "min_snr"}], **changes})
    return [(problem.path, problem.message) for problem in config.check_objective("flow")]


def test_min_snr_with_flow_is_found_with_what_remains() -> None:
    config = LoraConfig.model_validate({"weightings": [{"name": "min_snr"}, {"name": "sigma"}]})
    (problem,) = config.check_objective("flow")
    assert problem.path == "weightings.0.name" and "Min-SNR is for diffusion models" in problem.message
    assert problem.replacement
    fixed = LoraConfig.model_validate(set_values(config.model_dump(), problem.replacement))
    assert [weighting.name for weighting in fixed.weightings] == ["sigma"]
    assert not list(fixed.check_objective("flow"))


def test_offsets_by_noise_level_are_not_for_flow() -> None:
    noise = {"noise_offset": 0.1, "generalized_offset_noise": True}
    assert "noise.generalized_offset_noise" in dict(problems(noise=noise))


def test_a_flow_model_has_no_prediction_to_choose() -> None:
    found = dict(problems(base={"prediction": "v_prediction", "zero_terminal_snr": "no"}))
    assert {"base.prediction", "base.zero_terminal_snr"} <= set(found)


def test_the_generator_asks_the_base_model(tmp_path: Path) -> None:
    base = save_folder(registry("families").get("sd15")().tiny(), tmp_path / "base")
    generator = ConfigGenerator()
    data = generator.default() | {"base": {"source": str(base)}, "weightings": [{"name": "scale_v_prediction"}]}
    _, found = generator.validate(data)
    assert "weightings.0.name" in [problem.path for problem in found]
    data["base"] |= {"prediction": "v_prediction"}
    _, found = generator.validate(data)
    assert "weightings.0.name" not in [problem.path for problem in found]
