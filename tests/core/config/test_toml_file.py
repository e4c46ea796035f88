"""A config and its TOML file are the same, whatever stands in it; merging and setting values."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic.fields import FieldInfo

from core.config.lora import LoraConfig
from core.config.sections import Base
from core.config.toml_file import merge, read_config, read_toml, set_values, to_data, to_toml
from core.errors import OchreError, SettingsError
from core.registry import registry
from core.settings import Settings
from core.settings.checks import load, plugin_kind

NASTY = [
    "",
    " ",
    "C:\\models\\new",
    "\\\\server\\share\\",
    "\\u0041 \\n \\x00",
    'a "quoted" word',
    "it's",
    "'''",
    '"""',
    "two\nlines",
    "two\r\nlines",
    "old\rMac",
    "\ttab",
    "# no comment",
    "[table]",
    "a = 1",
    "ünïcödé 漢字 🙂",
    "\x00\x07\x1f\x7f",
    "\u0085\u2028\u2029",
    "\ufeffmark",
    "trailing \\",
    "{trigger}",
]
# TOML holds any text but lone halves of a surrogate pair, which aren't text
TEXT = st.one_of(st.sampled_from(NASTY), st.text(st.characters(exclude_categories=["Cs"]), max_size=40))


def _bounds(field: FieldInfo) -> dict[str, Any]:
    names = ("ge", "gt", "le", "lt", "min_length", "max_length", "pattern", "multiple_of")
    return {
        name: getattr(meta, name) for meta in field.metadata for name in names if getattr(meta, name, None) is not None
    }


def _values(cls: type[Settings], name: str) -> st.SearchStrategy[Any]:
    """Values of one setting that keep to its bounds."""
    field, kind = cls.model_fields[name], plugin_kind(cls, name)
    annotation = field.annotation
    if kind:
        one = st.one_of([_configs(plugin) for plugin in registry(kind).all().values()])
        return st.lists(one, max_size=3) if get_origin(annotation) is list else one
    return _of_type(annotation, _bounds(field))


def _of_type(annotation: Any, bounds: dict[str, Any]) -> st.SearchStrategy[Any]:
    if get_origin(annotation) is Literal:
        return st.sampled_from(get_args(annotation))
    if get_origin(annotation) is list:
        sizes = {"min_size": bounds.get("min_length", 0), "max_size": bounds.get("max_length", 3)}
        return st.lists(_of_type(get_args(annotation)[0], {}), **sizes)
    if get_origin(annotation) is Union or type(None) in get_args(annotation):
        return st.one_of([_of_type(inner, bounds) for inner in get_args(annotation)])
    if annotation is type(None):
        return st.none()
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return _configs(annotation)
    if annotation is bool:
        return st.booleans()
    if annotation is int:
        return _integers(bounds)
    if annotation is float:
        return _floats(bounds)
    assert annotation is str, f"no values for {annotation}"
    if "pattern" in bounds:
        # ASCII: Python and pydantic don't know the same letters of recent Unicode
        return st.from_regex(re.compile(bounds["pattern"], re.ASCII), fullmatch=True).filter(str.isprintable)
    return TEXT.filter(lambda text: len(text) >= bounds.get("min_length", 0))


def _integers(bounds: dict[str, Any]) -> st.SearchStrategy[int]:
    least = bounds.get("ge", bounds.get("gt", -(2**63) - 1) + ("gt" in bounds))
    most = bounds.get("le", bounds.get("lt", 2**63) - 1)
    step = bounds.get("multiple_of", 1)
    return st.integers(-(-least // step), most // step).map(lambda number: number * step)


def _floats(bounds: dict[str, Any]) -> st.SearchStrategy[float]:
    return st.floats(
        bounds.get("ge", bounds.get("gt")),
        bounds.get("le", bounds.get("lt")),
        exclude_min="gt" in bounds,
        exclude_max="lt" in bounds,
        allow_nan=False,
        allow_infinity=False,
    )


def _configs(cls: type[Settings]) -> st.SearchStrategy[Settings]:
    return st.builds(cls, **{name: _values(cls, name) for name in cls.model_fields})


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(_configs(LoraConfig))
def test_what_is_written_is_what_is_read(config: Settings) -> None:
    text = to_toml(config)
    assert tomllib.loads(text) == to_data(config)
    read = type(config).model_validate(tomllib.loads(text))
    assert read == config
    assert to_toml(read) == text


@pytest.mark.parametrize("text", NASTY)
def test_nasty_text_survives_the_file(text: str, tmp_path: Path) -> None:
    config = LoraConfig()
    config.base.source = text
    config.concepts[0].trigger_word = text
    path = tmp_path / "run.toml"
    path.write_text(to_toml(config), encoding="utf-8", newline="")
    assert read_toml(path) == to_data(config)


@settings(max_examples=300, deadline=None)
@given(TEXT)
def test_any_text_survives(text: str) -> None:
    assert tomllib.loads(to_toml(Base(source=text)))["source"] == text


def test_the_file_explains_each_setting() -> None:
    lines = to_toml(LoraConfig()).splitlines()
    place = lines.index("train_batch_size = 1")
    assert lines[place - 1] == "# Pictures in a step."
    assert lines[0] == "# One run that trains a LoRA."


def test_lists_that_are_empty_and_lists_that_are_not() -> None:
    config = LoraConfig()
    assert "weightings = []" in to_toml(config)
    config.weightings = [registry("weightings").get("min_snr")()]
    assert "[[weightings]]" in to_toml(config)


def test_reading_what_is_not_there_or_not_toml(tmp_path: Path) -> None:
    with pytest.raises(OchreError, match="There is no config"):
        read_toml(tmp_path / "none.toml")
    with pytest.raises(OchreError, match="is a folder"):
        read_toml(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b'name = "caf\xe9"')
    with pytest.raises(OchreError, match="not UTF-8"):
        read_toml(tmp_path / "latin.toml")
    (tmp_path / "broken.toml").write_text("[base\nsource = 1")
    with pytest.raises(SettingsError, match=r"broken\.toml.*(?s:.)*not valid TOML.*line 1"):
        read_toml(tmp_path / "broken.toml")


def test_a_wrong_file_tells_all_at_once(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text('[training]\nepochs = "10"\nsed = 4\n[optimizer]\nname = "adamw"\neps = -1.0\n')
    with pytest.raises(SettingsError) as raised:
        read_config(LoraConfig, path)
    assert {problem.path for problem in raised.value.problems} == {"training.epochs", "training.sed", "optimizer.eps"}
    assert str(path) in str(raised.value)


def test_merge_changes_only_what_is_named() -> None:
    data = {"a": {"x": 1, "y": 2}, "list": [1, 2, 3], "keep": True}
    merged = merge(data, {"a": {"y": 5}, "list": [9], "new": {"z": 0}})
    assert merged == {"a": {"x": 1, "y": 5}, "list": [9], "keep": True, "new": {"z": 0}}
    assert data == {"a": {"x": 1, "y": 2}, "list": [1, 2, 3], "keep": True}


def test_merge_replaces_a_plug_ins_table_when_its_name_changes() -> None:
    data = {"optimizer": {"name": "adamw", "eps": 1e-6}}
    assert merge(data, {"optimizer": {"name": "lion"}}) == {"optimizer": {"name": "lion"}}
    assert merge(data, {"optimizer": {"name": "adamw", "weight_decay": 0.1}}) == {
        "optimizer": {"name": "adamw", "eps": 1e-6, "weight_decay": 0.1}
    }


def test_merge_keeps_a_table_whose_name_chooses_nothing() -> None:
    data = {"saving": {"name": "a", "keep_last": 3}}
    assert merge(data, {"saving": {"name": "b"}}) == {"saving": {"name": "b", "keep_last": 3}}


def test_set_values_by_path() -> None:
    data = to_data(LoraConfig())
    changed = set_values(data, {"networks.0.rank": 32, "training.epochs": 3, "optimizer.name": "prodigy"})
    config = load(
        LoraConfig, set_values(changed, {"base.source": "x", "concepts.0.folder": "y"}) | _rate_of_one(changed)
    )
    assert config.networks[0].model_dump()["rank"] == 32
    assert config.training.epochs == 3
    assert config.optimizer == registry("optimizers").get("prodigy")()
    assert data == to_data(LoraConfig()), "what was given stays as it is"


def _rate_of_one(data: dict[str, Any]) -> dict[str, Any]:
    return {"parts": set_values(data, {"parts.denoiser.learning_rate": 1.0})["parts"]}


def test_the_same_name_keeps_the_table() -> None:
    data = set_values(to_data(LoraConfig()), {"optimizer.eps": 1e-6})
    assert set_values(data, {"optimizer.name": "adamw"})["optimizer"]["eps"] == 1e-6


@pytest.mark.parametrize("path", ["networks.7.rank", "networks.first.rank", "training.epochs.more", "networks.7"])
def test_a_path_that_leads_nowhere(path: str) -> None:
    with pytest.raises(OchreError, match="There is no setting"):
        set_values(to_data(LoraConfig()), {path: 1})
