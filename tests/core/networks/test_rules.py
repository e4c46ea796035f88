"""Rules: which layers they are about, what they change, and what is wrong with some."""

import json
import re
from typing import Any

import pytest
import torch

from core.contracts import PartLayers
from core.errors import OchreError
from core.networks._rules import Rule, parse_blocks
from core.networks.dylora import Dylora
from core.networks.locon import Locon
from core.networks.lora import Lora
from core.registry import registry
from core.settings.checks import validate


@pytest.fixture(scope="module")
def family() -> Any:
    return registry("families").get("sdxl")()


def attach(family: Any, network: Any, *parts: str) -> Any:
    model = family.tiny()
    found = {part: PartLayers(family.layer_groups[part], family.blocks[part]) for part in parts or ("denoiser",)}
    return network.attach(model, found), model


def sizes(family: Any, network: Lora | Locon, *parts: str) -> dict[str, tuple[int, float]]:
    """Full name -> rank and alpha of the update. (In the file all layers have one alpha, and the same effect.)"""
    attached, _ = attach(family, network, *parts)
    return {
        f"{part}.{key.replace('/', '.')}": (len(module.lora_down.weight), float(module.alpha))
        for part, modules in attached.modules().items()
        for key, module in modules.items()
    }


def rules(*several: dict[str, Any]) -> list[Rule]:
    return [Rule(**one) for one in several]


def test_later_rules_win_setting_by_setting(family: Any) -> None:
    several = rules(
        {"blocks": "IN04-IN08, MID", "rank": 2},
        {"pattern": r"attn2\.to_k", "alpha": 1.0},
        {"blocks": "MID", "rank": 3},
    )
    found = sizes(family, Lora(rank=8, alpha=4.0, rules=several))
    for name, (rank, alpha) in found.items():
        inside = re.search(r"down_blocks", name) is not None  # IN00 to IN03 have no attention in SDXL
        expected = 3 if "mid_block" in name else 2 if inside else 8
        assert rank == expected, name
        assert alpha == (1.0 if "attn2.to_k" in name else 4.0), name
    assert {rank for rank, _ in found.values()} == {2, 3, 8}


def test_a_rank_stabilised_scale_is_of_the_rules_rank(family: Any) -> None:
    """alpha sqrt(rank), so that alpha / rank is alpha / sqrt(rank) (Kalajdzievski 2023)."""
    network = Lora(rank=8, alpha=4.0, rank_stabilised=True, rules=rules({"blocks": "MID", "rank": 9}))
    found = sizes(family, network)
    assert {size for name, size in found.items() if "mid_block" in name} == {(9, 4.0 * 3)}
    assert {rank for rank, _ in found.values()} == {8, 9}


def test_blocks_of_encoders_and_patterns_together(family: Any) -> None:
    network = Lora(rank=8, alpha=1.0, rules=rules({"blocks": "te1-te2", "pattern": "^text_2", "rank": 5}))
    found = sizes(family, network, "text_1", "text_2")
    assert {name for name, (rank, _) in found.items() if rank == 5} == {
        name for name in found if re.search(r"^text_2.*layers\.[12]\.", name)
    }
    assert {rank for rank, _ in found.values()} == {5, 8}


def test_layers_that_are_not_trained_are_left_alone(family: Any) -> None:
    network = Lora(rules=rules({"blocks": "IN00-IN08", "train": False}, {"pattern": "to_v", "train": False}))
    attached, _ = attach(family, network)
    paths = {path for _, path in attached.layers()}
    everything = {path for _, path in attach(family, Lora())[0].layers()}
    assert paths == {path for path in everything if not path.startswith("down_blocks") and "to_v" not in path}


def test_convolutions_have_a_rule_of_their_own(family: Any) -> None:
    """A rule's rank is that of every layer it matches: a pattern tells convolutions from the rest."""
    pattern = r"(conv1|conv2|samplers\.0\.conv)$"
    several = rules({"blocks": "OUT02", "rank": 6}, {"blocks": "OUT02", "pattern": pattern, "rank": 3})
    network = Locon(rank=8, conv_rank=4, rules=several)
    found = sizes(family, network)
    assert {rank for name, (rank, _) in found.items() if re.search(r"up_blocks\.0.*(conv1|conv2)$", name)} == {3, 4}
    assert found["denoiser.up_blocks.0.upsamplers.0.conv"][0] == 3
    assert found["denoiser.up_blocks.0.resnets.2.conv_shortcut"][0] == 6
    assert found["denoiser.up_blocks.0.resnets.1.conv_shortcut"][0] == 8


# -- optimizer groups


def grouped(attached: Any, model: Any, rates: dict[str, float]) -> dict[str, tuple[float, str, set[str]]]:
    """Group -> its rate, its part, and the paths of its layers with the side of the update."""
    names = {
        id(parameter): f"{key.replace('/', '.')}"
        for part in attached.modules()
        for key, parameter in model.parts[part].ochre_network.named_parameters()
    }
    groups = attached.groups(rates)
    assert len({group["name"] for group in groups}) == len(groups)
    every = [id(parameter) for group in groups for parameter in group["params"]]
    assert len(every) == len(set(every)), "a weight is in two groups"
    assert set(every) == {id(p) for m in attached.modules().values() for p in m.parameters() if p.requires_grad}
    return {g["name"]: (g["lr"], g["part"], {names[id(p)] for p in g["params"]}) for g in groups}


def test_without_rules_a_part_is_a_group(family: Any) -> None:
    attached, model = attach(family, Lora(), "denoiser", "text_1")
    groups = grouped(attached, model, {"denoiser": 1e-3, "text_1": 1e-4})
    assert {name: group[:2] for name, group in groups.items()} == {
        "denoiser": (1e-3, "denoiser"),
        "text_1": (1e-4, "text_1"),
    }


def test_rules_of_rates_make_groups(family: Any) -> None:
    network = Lora(
        rules=rules(
            {"blocks": "IN00-IN08", "learning_rate_factor": 0.5},
            {"pattern": "attn2", "learning_rate": 3e-5},
            {"blocks": "MID", "rank": 2},  # says nothing of the rate, so makes no group
        )
    )
    attached, model = attach(family, network, "denoiser", "text_1")
    groups = grouped(attached, model, {"denoiser": 1e-3, "text_1": 1e-4})
    assert {name: group[:2] for name, group in groups.items()} == {
        "denoiser": (1e-3, "denoiser"),
        "denoiser rule 1": (5e-4, "denoiser"),
        "denoiser rule 2": (3e-5, "denoiser"),
        "text_1": (1e-4, "text_1"),
    }
    assert all("attn2" in name for name in groups["denoiser rule 2"][2])
    assert all("attn2" not in name and "down_blocks" in name for name in groups["denoiser rule 1"][2])
    assert not any("attn2" in name or "down_blocks" in name for name in groups["denoiser"][2])


def test_lora_plus_is_kohyas(family: Any) -> None:
    """networks/lora.py, assemble_params: what has lora_up in its name learns at lr * ratio; per kind of part."""
    network = Lora(
        lora_plus_ratio=16.0,
        lora_plus_text_ratio=4.0,
        rules=rules({"blocks": "MID", "learning_rate_factor": 0.25}),
    )
    attached, model = attach(family, network, "denoiser", "text_1")
    groups = grouped(attached, model, {"denoiser": 1e-3, "text_1": 1e-4})
    assert {name: group[0] for name, group in groups.items()} == {
        "denoiser": 1e-3,
        "denoiser up": 1.6e-2,
        "denoiser rule 1": 2.5e-4,
        "denoiser rule 1 up": 4e-3,
        "text_1": 1e-4,
        "text_1 up": 4e-4,
    }
    assert all(
        ("lora_up" in weight) == name.endswith(" up") for name, (_, _, found) in groups.items() for weight in found
    )


def test_lora_plus_of_encoders_is_the_same_if_not_said(family: Any) -> None:
    attached, model = attach(family, Lora(lora_plus_ratio=8.0), "denoiser", "text_1")
    groups = grouped(attached, model, {"denoiser": 1e-3, "text_1": 1e-4})
    assert groups["text_1 up"][0] == pytest.approx(8e-4)


def test_the_metadata_tell_the_ratios() -> None:
    told = json.loads(Lora(lora_plus_ratio=4.0, lora_plus_text_ratio=2.0).metadata()["ss_network_args"])
    assert told == {"loraplus_unet_lr_ratio": "4.0", "loraplus_text_encoder_lr_ratio": "2.0"}
    assert json.loads(Lora().metadata()["ss_network_args"]) == {}


def test_lora_plus_of_dylora_is_its_up_blocks(family: Any) -> None:
    attached, model = attach(family, Dylora(rank=4, block_size=2, lora_plus_ratio=2.0))
    groups = grouped(attached, model, {"denoiser": 1e-3})
    assert {name: group[0] for name, group in groups.items()} == {"denoiser": 1e-3, "denoiser up": 2e-3}
    assert all(".up_list." in name for name in groups["denoiser up"][2])
    assert all(".down_list." in name for name in groups["denoiser"][2])


@pytest.mark.parametrize("name", ["loha", "lokr", "glora", "full", "oft", "boft", "ia3", "norms", "tlora"])
def test_lora_plus_is_refused_where_there_is_no_up_matrix(name: str) -> None:
    _, problems = validate(registry("networks").get(name), {"name": name, "lora_plus_ratio": 16.0})
    assert [problem.path for problem in problems] == ["lora_plus_ratio"]


def test_an_optimizer_steps_each_group_at_its_rate(family: Any) -> None:
    """SGD with a gradient of 1 everywhere moves each weight by its group's rate."""
    network = Lora(lora_plus_ratio=10.0, rules=rules({"blocks": "MID", "learning_rate_factor": 0.5}))
    attached, _ = attach(family, network)
    groups = attached.groups({"denoiser": 0.01})
    before = [[p.detach().clone() for p in group["params"]] for group in groups]
    for group in groups:
        for parameter in group["params"]:
            parameter.grad = torch.ones_like(parameter)
    torch.optim.SGD(groups).step()
    moved: dict[str, set[float]] = {group["name"]: set() for group in groups}
    for group, olds in zip(groups, before, strict=True):
        for old, parameter in zip(olds, group["params"], strict=True):
            moved[group["name"]] |= {round(step, 6) for step in (old - parameter.detach()).flatten().tolist()}
    assert moved == {
        "denoiser": {0.01},
        "denoiser up": {0.1},
        "denoiser rule 1": {0.005},
        "denoiser rule 1 up": {0.05},
    }


# -- what is wrong


@pytest.mark.parametrize(
    ("rule", "path", "words"),
    [
        ({"rank": 4}, "rules.0.blocks", "names no layers"),
        ({"blocks": "IN04-", "rank": 4}, "rules.0.blocks", "'IN04-' is no block"),
        ({"blocks": "4", "rank": 4}, "rules.0.blocks", "is no block"),
        ({"pattern": "(", "rank": 4}, "rules.0.pattern", "no regular expression"),
        ({"blocks": "MID"}, "rules.0.rank", "changes nothing"),
        ({"blocks": "MID", "train": False, "rank": 4}, "rules.0.train", "have no rank"),
        (
            {"blocks": "MID", "learning_rate": 1e-4, "learning_rate_factor": 2.0},
            "rules.0.learning_rate_factor",
            "beside",
        ),
        ({"blocks": "MID", "learning_rate_factor": 0.0}, "rules.0.learning_rate_factor", "greater than 0"),
    ],
)
def test_problems_are_found_before_the_start(rule: dict[str, Any], path: str, words: str) -> None:
    _, problems = validate(Lora, {"name": "lora", "rules": [rule]})
    assert [problem.path for problem in problems] == [path]
    assert words in problems[0].message


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"blocks": "IN12", "rank": 4}, r"Rule 2: there are no blocks IN12 .* IN00-IN08, MID, OUT00-OUT08, BASE"),
        ({"blocks": "OUT02-IN04", "rank": 4}, "there are no blocks OUT02-IN04"),
        ({"blocks": "TE00", "rank": 4}, "there are no blocks TE00 .* or train the part that has them"),
        ({"blocks": "IN03", "rank": 4}, r"Rule 2: in blocks 'IN03' no layer is changed"),
        ({"pattern": "atn2", "rank": 4}, r"Rule 2, pattern: 'atn2' is found .* nearest are denoiser\."),
        ({"blocks": "MID", "pattern": "down_blocks", "rank": 4}, "'down_blocks' is found in the name of no layer"),
        ({"pattern": "denoiser", "train": False}, "Of denoiser no layer"),
    ],
)
def test_a_rule_about_nothing_is_an_error(family: Any, rule: dict[str, Any], words: str) -> None:
    with pytest.raises(OchreError, match=words):
        attach(family, Lora(rules=rules({"blocks": "MID", "rank": 4}, rule)))


def test_blocks_are_read_as_they_are_written() -> None:
    known = {"denoiser": ["IN00", "IN01", "IN02", "MID", "OUT00"], "text_1": ["TE00"], "text_2": ["TE00", "TE01"]}
    assert parse_blocks("in1 - in2,\nM00", known, "") == {"denoiser": ["IN01", "IN02", "MID"]}
    assert parse_blocks("IN02-OUT00", known, "") == {"denoiser": ["IN02", "MID", "OUT00"]}
    assert parse_blocks("TE00", known, "") == {"text_1": ["TE00"], "text_2": ["TE00"]}
    assert parse_blocks("TE00-TE01", known, "") == {"text_2": ["TE00", "TE01"]}
