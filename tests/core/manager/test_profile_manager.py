"""Profiles: listed, laid over, compared, saved and proposed; a broken file breaks nothing but itself."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from core.config.lora import LoraConfig
from core.config.toml_file import set_values, to_data
from core.devices import Machine
from core.errors import OchreError, SettingsError
from core.manager.profile_manager import ProfileManager, lay_over

PROFILE = """
[about]
title = "{title}"
kind = "training"
families = ["sd15", "sdxl"]

[networks]
name = "lora"
rank = 4

[concepts.text]
shuffle_tags = true

[[weightings]]
name = "min_snr"

[family.sd15.training]
epochs = 5

[family.sdxl.training]
epochs = 7

[family.sdxl.optimizer]
name = "prodigy"

[family.sdxl.parts.denoiser]
learning_rate = 1.0
"""


@pytest.fixture
def manager(tmp_path: Path) -> ProfileManager:
    """A folder with one training profile, `first`."""
    _write(tmp_path / "training/first.toml", PROFILE.format(title="First"))
    return ProfileManager(tmp_path)


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def _data(**values: Any) -> dict[str, Any]:
    paths = {"base.source": "", "concepts.0.folder": "pictures", "optimizer.eps": 1e-6, "networks.0.dropout": 0.1}
    return set_values(to_data(LoraConfig()), paths | values)


def _machine(memory_gb: float, kind: Any = "cuda", precisions: tuple[str, ...] = ("bf16", "fp16", "fp32")) -> Machine:
    return Machine(kind, "A card", memory_gb, 64.0, precisions, ())


def test_what_is_laid_over_and_what_is_left(manager: ProfileManager) -> None:
    data = _data()
    before = copy.deepcopy(data)
    laid, changed = manager.apply(manager.get("training", "first"), data, "sd15")
    assert data == before
    assert {change.path: (change.before, change.after) for change in changed} == {
        "networks.0.rank": (16, 4),
        "concepts.0.text.shuffle_tags": (False, True),
        "training.epochs": (10, 5),
        "weightings": ([], [{"name": "min_snr", "gamma": 5.0}]),
    }
    assert laid["networks"][0]["dropout"] == 0.1
    assert laid["optimizer"]["eps"] == 1e-6
    assert laid["concepts"][0]["folder"] == "pictures"


def test_another_plug_in_brings_its_own_defaults(manager: ProfileManager) -> None:
    laid, changed = manager.apply(manager.get("training", "first"), _data(), "sdxl")
    assert laid["optimizer"]["name"] == "prodigy" and laid["optimizer"]["eps"] == 1e-8
    assert laid["optimizer"]["d_coef"] == 1.0
    assert ("optimizer.name", "adamw", "prodigy") in [(one.path, one.before, one.after) for one in changed]
    assert laid["training"]["epochs"] == 7


def test_a_profile_applied_twice_changes_nothing_more(manager: ProfileManager) -> None:
    profile = manager.get("training", "first")
    once, _ = manager.apply(profile, _data(), "sdxl")
    twice, changed = manager.apply(profile, once, "sdxl")
    assert twice == once and changed == []


def test_a_table_is_laid_over_each_entry_of_a_list() -> None:
    data = {"concepts": [{"name": "a", "text": {"keep_tags": 2}}, {"name": "b"}]}
    laid = lay_over(LoraConfig, data, {"concepts": {"text": {"shuffle_tags": True}}})
    assert [concept["name"] for concept in laid["concepts"]] == ["a", "b"]
    assert laid["concepts"][0]["text"] == {"keep_tags": 2, "shuffle_tags": True}
    assert laid["concepts"][1]["text"]["shuffle_tags"] is True


def test_the_family_is_the_one_that_is_set(manager: ProfileManager) -> None:
    laid, _ = manager.apply(manager.get("training", "first"), _data(**{"base.family": "sdxl"}))
    assert laid["training"]["epochs"] == 7


def test_the_family_is_told_by_a_published_name(manager: ProfileManager) -> None:
    from core.registry import registry

    name = registry("families").get("sdxl").repositories[0]
    laid, _ = manager.apply(manager.get("training", "first"), _data(**{"base.source": name}))
    assert laid["training"]["epochs"] == 7


def test_a_family_that_isnt_known_or_isnt_meant(manager: ProfileManager, tmp_path: Path) -> None:
    with pytest.raises(OchreError, match="Choose the base model"):
        manager.apply(manager.get("training", "first"), _data())
    _write(tmp_path / "training/one.toml", '[about]\ntitle = "One"\nfamilies = ["sd15"]\n[training]\nepochs = 2\n')
    one = manager.get("training", "one")
    assert manager.apply(one, _data())[0]["training"]["epochs"] == 2
    with pytest.raises(OchreError, match="not for SDXL"):
        manager.apply(one, _data(), "sdxl")


def test_lists_those_of_a_family(manager: ProfileManager, tmp_path: Path) -> None:
    _write(tmp_path / "training/one.toml", '[about]\ntitle = "Another"\nfamilies = ["sd15"]\n')
    assert [profile.name for profile in manager.profiles("training")] == ["one", "first"]
    assert [profile.name for profile in manager.profiles("training", "sdxl")] == ["first"]
    assert manager.profiles("memory") == []


BROKEN = {
    "no_toml": "[about\n",
    "no_about": "[training]\nepochs = 3\n",
    "no_title": '[about]\nkind = "training"\n',
    "wrong_kind": '[about]\ntitle = "A"\nkind = "memory"\n',
    "wrong_family": '[about]\ntitle = "A"\nfamilies = ["sd16"]\n',
    "unknown": '[about]\ntitle = "A"\n[training]\nepoch = 3\n',
    "unknown_in_family": '[about]\ntitle = "A"\n[family.sd15.training]\nepoch = 3\n',
    "wrong_type": '[about]\ntitle = "A"\n[training]\nepochs = "3"\n',
    "table_for_a_value": '[about]\ntitle = "A"\n[training.epochs]\nx = 1\n',
    "value_for_a_table": 'training = 3\n[about]\ntitle = "A"\n',
    "no_plug_in": '[about]\ntitle = "A"\n[optimizer]\nname = "no_such_one"\n',
    "rate": '[about]\ntitle = "A"\n[optimizer]\nname = "prodigy"\n',
    "newer": 'version = 99\n[about]\ntitle = "A"\n',
    "about_is_text": 'about = "A"\n',
    "families_is_text": '[about]\ntitle = "A"\nfamilies = "sd15"\n',
    "family_is_text": 'family = "sd15"\n[about]\ntitle = "A"\n',
    "families_are_numbers": '[about]\ntitle = "A"\nfamilies = [{}]\n',
    "family_overlay_is_text": 'family = { sd15 = 3 }\n[about]\ntitle = "A"\n',
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_told_and_breaks_nothing(name: str, manager: ProfileManager, tmp_path: Path) -> None:
    path = _write(tmp_path / f"training/user/{name}.toml", BROKEN[name])
    assert [profile.name for profile in manager.profiles("training")] == ["first"]
    (error,) = manager.broken("training")
    assert str(path) in str(error)
    with pytest.raises(OchreError):
        manager.get("training", name)


def test_an_unknown_setting_is_told_with_its_nearest(manager: ProfileManager, tmp_path: Path) -> None:
    _write(tmp_path / "training/user/unknown.toml", BROKEN["unknown"])
    assert "training.epoch: there is no such setting; did you mean 'epochs'?" in str(manager.broken("training")[0])


def test_a_binary_file_and_a_name_used_twice(manager: ProfileManager, tmp_path: Path) -> None:
    path = _write(tmp_path / "training/user/binary.toml", "")
    path.write_bytes(b"\xff\xfe\x00")
    _write(tmp_path / "training/user/first.toml", PROFILE.format(title="Second"))
    assert [profile.title for profile in manager.profiles("training")] == ["First"]
    told = [str(error) for error in manager.broken("training")]
    assert any("not UTF-8" in text for text in told) and any("the name of another profile" in text for text in told)


def test_an_unknown_name_is_told_with_those_there_are(manager: ProfileManager) -> None:
    with pytest.raises(OchreError, match=r"no training profile 'frist'.*first"):
        manager.get("training", "frist")


def test_compares(manager: ProfileManager, tmp_path: Path) -> None:
    _write(tmp_path / "training/other.toml", '[about]\ntitle = "Other"\n[networks]\nname = "lora"\nrank = 8\n')
    found = manager.compare(manager.get("training", "first"), manager.get("training", "other"), "sd15")
    assert ("networks.rank", 4, 8) in [(change.path, change.before, change.after) for change in found]
    assert ("training.epochs", 5, None) in [(change.path, change.before, change.after) for change in found]


def test_a_users_own_keeps_what_belongs_to_its_kind(manager: ProfileManager) -> None:
    data = _data(**{"base.source": "x", "base.family": "sdxl", "training.epochs": 3, "training.train_batch_size": 2})
    data = set_values(data, {"memory.precision": "fp16", "memory.cache_dir": "/somewhere", "saving.name": "mine"})
    training = manager.save("training", "My own: Größe 2!", "Because.", data)
    assert (training.name, training.title, training.user) == ("my_own_größe_2", "My own: Größe 2!", True)
    assert training.about["explanation"] == "Because." and training.families == ["sdxl"]
    assert training.settings["training"]["epochs"] == 3
    assert "train_batch_size" not in training.settings["training"]
    assert training.settings.keys().isdisjoint({"memory", "concepts", "version", "job", "logging", "engine"})
    assert training.settings["base"].keys().isdisjoint({"source", "family", "vae"})
    assert "name" not in training.settings["saving"] and "prompts" not in training.settings["sampling"]
    memory = manager.save("memory", "My card", "", data)
    assert memory.settings["training"] == {"train_batch_size": 2, "gradient_accumulation_steps": 1}
    assert memory.settings["memory"]["precision"] == "fp16" and "cache_dir" not in memory.settings["memory"]
    assert memory.settings.keys() == {"memory", "training"}

    other = set_values(_data(), {"base.source": "y", "saving.name": "other"})
    laid, _ = manager.apply(training, other, "sdxl")
    assert (laid["training"]["epochs"], laid["base"]["source"], laid["saving"]["name"]) == (3, "y", "other")
    assert manager.profiles("training")[-1] == training


def test_a_users_samples_are_a_preset_of_their_own(manager: ProfileManager) -> None:
    prompts = [{"prompt": "{trigger} on blue", "seed": 7}]
    data = lay_over(
        LoraConfig, _data(), {"sampling": {"prompts": prompts, "guidance": 4.0, "prompts_file": "mine.txt"}}
    )
    saved = manager.save("sampling", "My samples", "", data)
    assert (saved.name, saved.kind, saved.families, saved.user) == ("my_samples", "sampling", [], True)
    assert set(saved.settings) == {"sampling"} and set(saved.settings["sampling"]) == {"prompts", "before_first_step"}
    laid, changed = manager.apply(saved, _data())
    assert laid["sampling"]["prompts"][0]["prompt"] == "{trigger} on blue"
    assert {change.path.split(".")[0] for change in changed} == {"sampling"}
    training = manager.save("training", "My training", "", data)
    assert "prompts" not in training.settings["sampling"] and "prompts_file" not in training.settings["sampling"]
    assert training.settings["sampling"]["guidance"] == 4.0
    told = manager.save("training", "Told", "", set_values(data, {"metadata.title": "Balls", "metadata.author": "me"}))
    assert told.settings["metadata"]["author"] == "me" and "title" not in told.settings["metadata"]


def test_nothing_is_overwritten_in_silence(manager: ProfileManager) -> None:
    first = manager.save("training", "Mine", "", {"training": {"epochs": 3}})
    text = first.path.read_text()
    with pytest.raises(OchreError, match="'mine' already"):
        manager.save("training", "mine!", "", {"training": {"epochs": 4}})
    assert first.path.read_text() == text
    again = manager.save("training", "Mine", "", {"training": {"epochs": 4}}, overwrite=True)
    assert again.settings["training"]["epochs"] == 4
    with pytest.raises(OchreError, match="'first' already"):
        manager.save("training", "First", "", {"training": {"epochs": 4}}, overwrite=True)
    with pytest.raises(OchreError, match="needs a title"):
        manager.save("training", " ?! ", "", {})


def test_settings_with_problems_are_not_saved(manager: ProfileManager, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"training\.epochs: must be at least 1"):
        manager.save("training", "Mine", "", {"training": {"epochs": 0}})
    assert not (tmp_path / "training/user").exists()


def test_a_title_cannot_leave_the_folder(manager: ProfileManager, tmp_path: Path) -> None:
    profile = manager.save("training", "../../etc/passwd", "", {"training": {"epochs": 3}})
    assert profile.path == tmp_path / "training/user/etc_passwd.toml"


@pytest.mark.parametrize(
    ("memory_gb", "name"),
    [
        (0, "8_to_12_gb"),  # the driver doesn't tell
        (6.0, "8_to_12_gb"),
        (8.0, "8_to_12_gb"),
        (11.0, "8_to_12_gb"),
        (12.0, "12_to_16_gb"),
        (15.0, "16_to_24_gb"),  # Colab's T4, sold as 16 GB
        (15.99, "16_to_24_gb"),
        (20.0, "16_to_24_gb"),
        (22.5, "24_gb_and_more"),  # L4 and A10, sold as 24 GB
        (139.8, "24_gb_and_more"),
    ],
)
def test_proposes_the_memory_profile_of_a_card(memory_gb: float, name: str) -> None:
    assert ProfileManager().propose_memory(_machine(memory_gb)).name == name


def test_a_proposal_has_a_precision_that_works() -> None:
    manager = ProfileManager()
    assert manager.propose_memory(_machine(15.0)).settings["memory"]["precision"] == "bf16"
    turing = manager.propose_memory(_machine(15.0, precisions=("fp16", "fp32")))
    assert turing.settings["memory"]["precision"] == "fp16"
    assert turing.settings["memory"]["gradient_checkpointing"] is True
    assert manager.get("memory", turing.name).settings["memory"]["precision"] == "bf16"


def test_a_processor_gets_its_own_profile_and_a_mac_what_it_lends() -> None:
    manager = ProfileManager()
    cpu = manager.propose_memory(_machine(64.0, "cpu", ("bf16", "fp32")))
    assert (cpu.name, cpu.settings["memory"]["precision"]) == ("cpu", "fp32")
    assert manager.propose_memory(_machine(16.0, "mps")).name == "8_to_12_gb"
    assert manager.propose_memory(_machine(64.0, "mps")).name == "24_gb_and_more"
