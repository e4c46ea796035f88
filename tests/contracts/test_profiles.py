"""Every profile that Ochre ships: whole, explained, and at peace with the others."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import pytest

from core.config.lora import LoraConfig
from core.config.toml_file import set_values, to_data
from core.manager.config_generator import ConfigGenerator
from core.manager.profile_manager import Kind, Profile, ProfileManager
from core.registry import registry
from core.settings.checks import validate

MANAGER = ProfileManager()
FAMILIES = registry("families").names()
TRAINING = [profile for profile in MANAGER.profiles("training") if not profile.user]
MEMORY = [profile for profile in MANAGER.profiles("memory") if not profile.user]
SAMPLING = [profile for profile in MANAGER.profiles("sampling") if not profile.user]
# the demo brings its own model and pictures, so it isn't laid over a user's
FOR_USERS = [profile for profile in TRAINING if profile.name != "demo"]


def _id(value: Any) -> str:
    return value.name if isinstance(value, Profile) else str(value)


def _families(profile: Profile) -> list[str]:
    return profile.families or FAMILIES


def _paths(settings: Mapping[str, Any], parent: str = "") -> Iterator[str]:
    for name, value in settings.items():
        path = f"{parent}.{name}" if parent else name
        if isinstance(value, Mapping):
            yield from _paths(value, path)
        else:
            yield path


def _data(family: str) -> dict[str, Any]:
    values = {"base.source": "somebody/model", "base.family": family, "concepts.0.folder": "pictures"}
    return set_values(to_data(LoraConfig()), values)


def test_nothing_shipped_is_broken() -> None:
    kinds: tuple[Kind, ...] = get_args(Kind)
    assert [str(error) for kind in kinds for error in MANAGER.broken(kind)] == []


def test_those_that_are_promised_are_there() -> None:
    promised = {"character", "style", "concept", "photorealism", "anime_illustration"}
    assert {profile.name for profile in TRAINING} >= {*promised, "demo"}
    for family in ("sd15", "sdxl"):
        assert {profile.name for profile in MANAGER.profiles("training", family)} >= promised
    assert {profile.name for profile in SAMPLING} >= {
        "portraits", "full_body", "one_subject_many_styles", "one_style_many_subjects", "before_and_after",
        "trigger_leak",
    }  # fmt: skip
    gpu = [profile for profile in MEMORY if profile.about.get("machine") != "cpu"]
    assert [(profile.about["min_gb"], profile.about.get("max_gb")) for profile in gpu] == [
        (8, 12),
        (12, 16),
        (16, 24),
        (24, None),
    ]


@pytest.mark.parametrize("profile", TRAINING + MEMORY + SAMPLING, ids=_id)
def test_a_profile_explains_itself(profile: Profile) -> None:
    about = profile.about
    wanted = ["explanation", "when_to_use", "expect"] + ["pictures", "over"] * (profile.kind == "training")
    assert [name for name in wanted if not about.get(name)] == []
    assert all(about[name].endswith(".") for name in wanted if name != "pictures")
    assert about["sources"] and all(isinstance(source, str) and source for source in about["sources"])
    assert about["kind"] == profile.kind


@pytest.mark.parametrize("profile", TRAINING + MEMORY + SAMPLING, ids=_id)
def test_a_profile_gives_a_config_without_problems(profile: Profile) -> None:
    for family in _families(profile):
        laid, changed = MANAGER.apply(profile, _data(family), family)
        config, problems = validate(LoraConfig, laid)
        assert config is not None and problems == []
        assert changed or profile.kind == "memory"


@pytest.mark.parametrize("training", FOR_USERS, ids=_id)
@pytest.mark.parametrize("memory", MEMORY, ids=_id)
def test_with_a_memory_profile_it_fits_machine_and_family(training: Profile, memory: Profile) -> None:
    from core.devices import Machine

    machine = Machine("cuda", "A card", 24.0, 64.0, ("bf16", "fp16", "fp32"), ())
    for family in _families(training):
        laid, _ = MANAGER.apply(memory, MANAGER.apply(training, _data(family), family)[0], family)
        assert ConfigGenerator(machine=machine).validate(laid)[1] == []


def test_profiles_of_different_kinds_share_no_setting() -> None:
    own = {
        kind: {path for profile in found for family in FAMILIES for path in _paths(profile.settings_for(family))}
        for kind, found in (("training", TRAINING), ("memory", MEMORY), ("sampling", SAMPLING), ("user's", FOR_USERS))
    }
    assert own["training"] & own["memory"] == set()
    assert own["sampling"] & (own["user's"] | own["memory"]) == set()
    assert own["sampling"] == {"sampling.prompts", "sampling.before_first_step"}
    assert {"training.train_batch_size", "training.gradient_accumulation_steps", "memory.precision"} <= own["memory"]


@pytest.mark.parametrize("profile", MEMORY, ids=_id)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_step_shows_four_pictures_on_every_machine(profile: Profile, family: str) -> None:
    """So that the training profiles' learning rates are right on all of them."""
    training = profile.settings_for(family)["training"]
    assert training["train_batch_size"] * training["gradient_accumulation_steps"] == 4


@pytest.mark.parametrize("kind", get_args(Kind))
def test_the_last_profile_chosen_is_the_one_that_stands(kind: Kind) -> None:
    """Nothing of one stays behind when another is chosen, on any way through them."""
    profiles = {"training": FOR_USERS, "memory": MEMORY, "sampling": SAMPLING}[kind]
    choices = [(profile, family) for profile in profiles for family in _families(profile)]
    alone = {(profile.name, family): MANAGER.apply(profile, _data(family), family)[0] for profile, family in choices}
    for (first, before), (second, after) in itertools.permutations(choices, 2):
        laid, _ = MANAGER.apply(first, _data(before), before)
        laid, _ = MANAGER.apply(second, set_values(laid, {"base.family": after}), after)
        assert laid == alone[second.name, after], f"{first.name} for {before} stays under {second.name} for {after}"


@pytest.mark.parametrize("profile", FOR_USERS, ids=_id)
def test_of_the_demo_only_its_model_pictures_prompts_and_name_stay(profile: Profile) -> None:
    """It is what stands in the panel at first."""
    demo, _ = MANAGER.apply(MANAGER.get("training", "demo"), to_data(LoraConfig()))
    for family in _families(profile):
        after_demo, _ = MANAGER.apply(profile, demo, family)
        alone, _ = MANAGER.apply(profile, to_data(LoraConfig()), family)
        left = {change.path for change in ConfigGenerator().changes(alone, after_demo)}
        assert left <= {"base.source", "concepts", "sampling.prompts", "saving.name"}


@pytest.mark.parametrize("preset", SAMPLING, ids=_id)
def test_a_sampling_preset_draws_what_was_learned(preset: Profile) -> None:
    laid, _ = MANAGER.apply(preset, _data("sdxl"))
    config, problems = validate(LoraConfig, set_values(laid, {"concepts.0.trigger_word": "ohx"}))
    assert config is not None and problems == []
    assert 3 <= len(config.sampling.prompts) <= 8, "samples cost time"
    assert any("{trigger}" in sample.prompt for sample in config.sampling.prompts)
    assert all(not sample.width and not sample.height for sample in config.sampling.prompts), "sizes are a model's"
    drawn = [(sample.prompt, sample.seed, sample.random_seed) for sample in config.sampling.prompts]
    assert len(set(drawn)) == len(drawn), "one picture twice"


def test_the_demo_needs_nothing_of_the_user() -> None:
    laid, _ = MANAGER.apply(MANAGER.get("training", "demo"), to_data(LoraConfig()))
    config, problems = validate(LoraConfig, laid)
    assert config is not None and problems == []
    assert {concept.kind for concept in config.concepts} == {"standard", "regularisation"}
    assert any("{trigger}" in sample.prompt for sample in config.sampling.prompts)
    assert any("{trigger}" not in sample.prompt for sample in config.sampling.prompts)
