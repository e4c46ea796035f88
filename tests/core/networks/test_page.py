"""The examples of the page about layers and rules are settings that load and fit a model."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from core.contracts import PartLayers
from core.registry import registry
from core.settings.checks import load

PAGE = (Path(__file__).parents[3] / "docs" / "layers_and_rules.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_works(number: int) -> None:
    (settings,) = tomllib.loads(EXAMPLES[number].replace("TE05", "TE02"))["networks"]  # the small encoder has 3 layers
    network: Any = load(registry("networks").get(settings["name"]), settings)
    family = registry("families").get("sdxl")()
    model, parts = family.tiny(), ("denoiser", "text_1", "text_2")
    found = {part: PartLayers(family.layer_groups[part], family.blocks[part]) for part in parts}
    if "TE00" in EXAMPLES[number]:  # it leaves out all that a small encoder has
        parts = ("denoiser", "text_2")
        settings["rules"][-1]["pattern"] = "^text_2.*mlp"
        network = load(registry("networks").get(settings["name"]), settings)
    assert list(network.attach(model, {part: found[part] for part in parts}).layers())


def test_every_choice_of_layers_is_explained() -> None:
    choices = registry("networks").get("lora").model_fields["layers"].annotation.__args__
    told = re.findall(r"^\| (`\w+`) \|", PAGE, re.MULTILINE)
    assert [f"`{choice}`" for choice in choices] == told[1:]  # after the head of the table


def test_the_blocks_without_attention_are_those_of_the_models() -> None:
    """By the blocks' patterns over every module of the small models, which have the real ones' blocks."""
    for name, named in (
        ("sdxl", {"IN00", "IN01", "IN02", "IN03", "IN06", "OUT06", "OUT07", "OUT08"}),
        ("sd15", {"IN00", "IN03", "IN06", "IN09", "IN10", "IN11", "OUT00", "OUT01", "OUT02"}),
    ):
        family = registry("families").get(name)()
        paths = [path for path, _ in family.tiny().parts["denoiser"].named_modules() if ".attn1" in path]
        blocks = family.blocks["denoiser"]
        without = {block for block, pattern in blocks.items() if not any(re.search(pattern, path) for path in paths)}
        assert without == named | {"BASE"}
