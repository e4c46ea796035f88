"""Network options of kohya's trainer end in a network that has, layer by layer, what kohya's own would have."""

import math
import re
from typing import Any

import pytest

from core.contracts import PartLayers
from core.errors import OchreError
from core.networks._kohya import network_from_config, network_from_kohya
from core.registry import registry
from core.settings.checks import load


def family_of(name: str) -> Any:
    return registry("families").get(name)()


def attach(family: Any, settings: dict[str, Any], *parts: str) -> tuple[Any, Any]:
    network: Any = load(registry("networks").get(settings["name"]), settings)
    model = family.tiny()
    found = {part: PartLayers(family.layer_groups[part], family.blocks[part]) for part in parts or ("denoiser",)}
    return network.attach(model, found), model


def ours(family: Any, settings: dict[str, Any]) -> dict[str, tuple[int, float, float]]:
    """kohya's name of a layer -> rank, alpha and learning rate of its update, at a rate of 1 for the UNet."""
    attached, model = attach(family, settings)
    rates = {id(p): group["lr"] for group in attached.groups({"denoiser": 1.0}) for p in group["params"]}
    return {
        family.lora_name(model, part, path): (change.lora_dim, float(change.alpha), rates[id(change.lora_up.weight)])
        for (part, path), change in attached.changes()
    }


def block_index(name: str, sdxl: bool) -> int:
    """networks/lora.py, get_block_index."""
    if sdxl:
        kind, number = re.match(r"lora_unet_(input|middle|output)_blocks?_(\d+)", name).groups()  # type: ignore[union-attr]
        return {"input": 1, "middle": 10, "output": 13}[kind] + int(number)
    if "mid_block" in name:
        return 12
    side, level, kind, layer = re.search(
        r"(up|down)_blocks_(\d+)_(resnets|upsamplers|downsamplers|attentions)_(\d+)", name
    ).groups()  # type: ignore[union-attr]
    inner = int(layer) if kind in ("resnets", "attentions") else 2
    return (1 if side == "down" else 13) + 3 * int(level) + inner


def theirs(
    family: Any,
    linear: list[tuple[int, float]],
    kernels: list[tuple[int, float]] | None,
    factors: list[float],
) -> dict[str, tuple[int, float, float]]:
    """networks/lora.py, create_modules: what each layer gets by its block; rank 0, or a factor of 0: nothing."""
    model, sdxl = family.tiny(), family.name == "sdxl"
    classes = {"Transformer2DModel"} | ({"ResnetBlock2D", "Downsample2D", "Upsample2D"} if kernels else set())
    found = {}
    for path, module in model.parts["denoiser"].named_modules():
        if type(module).__name__ not in classes:
            continue
        for inner, layer in module.named_modules():
            if type(layer).__name__ not in ("Linear", "Conv2d"):
                continue
            name = family.lora_name(model, "denoiser", f"{path}.{inner}")
            place = block_index(name, sdxl)
            large = max(getattr(layer, "kernel_size", (1,))) > 1
            rank, alpha = kernels[place] if large and kernels else linear[place]
            if rank and factors[place]:
                found[name] = (rank, alpha, factors[place])
    return found


COUNT = {"sd15": 25, "sdxl": 23}


def listed(values: list[Any]) -> str:
    return ",".join(str(value) for value in values)


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_block_dims_and_alphas(family: str) -> None:
    count = COUNT[family]
    dims = [1 + place % 3 for place in range(count)]
    alphas = [0.5 + place % 2 for place in range(count)]
    arguments = {"block_dims": listed(dims), "block_alphas": listed(alphas)}
    made = network_from_kohya(arguments, family, dim=2, alpha=0.5)
    assert made.notes == []
    expected = theirs(family_of(family), [*zip(dims, alphas, strict=True)], None, [1.0] * count)
    assert ours(family_of(family), made.settings) == expected


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_a_dim_of_zero_leaves_a_block_out(family: str) -> None:
    dims = [0 if place % 4 == 0 else 2 for place in range(COUNT[family])]
    made = network_from_kohya({"block_dims": listed(dims)}, family, dim=3, alpha=1.0)
    sizes = [(dim, 1.0) for dim in dims]
    assert ours(family_of(family), made.settings) == theirs(family_of(family), sizes, None, [1.0] * COUNT[family])


@pytest.mark.parametrize("given", ["conv_block_dims", "conv_dim"])
@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_convolutions_have_lists_of_their_own(family: str, given: str) -> None:
    """Without them conv_dim counts in all blocks, and conv_alpha is 1."""
    count = COUNT[family]
    dims = [1 + place % 2 for place in range(count)]
    arguments = {"block_dims": listed(dims)}
    if given == "conv_dim":
        arguments |= {"conv_dim": "3"}
        kernels = [(3, 1.0)] * count
    else:
        kernels = [(place % 3, 0.25) for place in range(count)]
        arguments |= {
            "conv_block_dims": listed([rank for rank, _ in kernels]),
            "conv_block_alphas": listed([0.25] * count),
        }
    made = network_from_kohya(arguments, family, dim=2, alpha=2.0)
    linear = [(dim, 2.0) for dim in dims]
    assert made.settings["name"] == "locon"
    assert ours(family_of(family), made.settings) == theirs(family_of(family), linear, kernels, [1.0] * count)


SIDES = {"sd15": (12, 1, 12), "sdxl": (9, 3, 9)}


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_learning_rate_weights(family: str) -> None:
    """0 and what is at most the threshold isn't trained; too few are filled with 1; SDXL has one more at each end."""
    down, mid, up = SIDES[family]
    arguments = {
        "down_lr_weight": "0,0.5,0.5,,0.05",
        "mid_lr_weight": listed([0.75] * mid),
        "block_lr_zero_threshold": "0.1",
    }
    factors = [0.0, 0.5, 0.5, 0.0, 0.0] + [1.0] * (down - 5) + [0.75] * mid + [1.0] * up
    factors = [1.0, *factors, 1.0] if family == "sdxl" else factors
    made = network_from_kohya(arguments, family, dim=2, alpha=1.0)
    assert ours(family_of(family), made.settings) == theirs(family_of(family), [(2, 1.0)] * len(factors), None, factors)


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
@pytest.mark.parametrize(
    ("preset", "formula"),
    [
        ("sine", lambda place, last: math.sin(math.pi * (place / last) / 2)),
        ("cosine+.25", lambda place, last: math.sin(math.pi * ((last - place) / last) / 2) + 0.25),
        ("linear", lambda place, last: place / last),
        ("reverse_linear+.5", lambda place, last: (last - place) / last + 0.5),
        ("zeros", lambda place, last: 0.0),
    ],
)
def test_learning_rate_presets(preset: str, formula: Any, family: str) -> None:
    """networks/lora.py, get_block_lr_weight."""
    down, mid, up = SIDES[family]
    factors = [1.0] * (down + mid) + [formula(place, up - 1) for place in range(up)]
    factors = [1.0, *factors, 1.0] if family == "sdxl" else factors
    made = network_from_kohya({"up_lr_weight": preset}, family, dim=2, alpha=1.0)
    found = ours(family_of(family), made.settings)
    expected = theirs(family_of(family), [(2, 1.0)] * len(factors), None, factors)
    assert found.keys() == expected.keys()
    for name, size in expected.items():
        assert found[name] == pytest.approx(size, rel=1e-12)


def test_sdxls_middle_block_has_three_values() -> None:
    factors = [1.0] * 10 + [0.2, 0.4, 0.6] + [1.0] * 10
    arguments = {"mid_lr_weight": "0.2,0.4,0.6", "conv_dim": "2"}
    made = network_from_kohya(arguments, "sdxl", dim=2, alpha=1.0)
    family = family_of("sdxl")
    assert ours(family, made.settings) == theirs(family, [(2, 1.0)] * 23, [(2, 1.0)] * 23, factors)


def test_patterns_of_ranks_and_rates() -> None:
    """lora_anima.py: the first regular expression that matches the whole path counts, also for encoders."""
    first, second = r".*mid_block.*attn1.*", r".*attn1.*|.*q_proj"
    arguments = {
        "network_reg_dims": f"{first}=3,{second}=2",
        "network_reg_lrs": f"{second}=0.5,.*mid_block.*proj_in=0.25,.*proj_out=0",
        "exclude_patterns": r"['.*attn2.*', '.*mlp.*']",
        "include_patterns": r"['.*attn2.*to_out.0']",
    }
    made = network_from_kohya(arguments, "sd15", dim=4, alpha=2.0)
    attached, _ = attach(family_of("sd15"), made.settings, "denoiser", "text_1")
    rates = attached.groups({"denoiser": 1.0, "text_1": 2.0})
    rates = {id(p): group["lr"] for group in rates for p in group["params"]}
    found = {layer: (change.lora_dim, rates[id(change.lora_up.weight)]) for layer, change in attached.changes()}
    whole, _ = attach(family_of("sd15"), {"name": "lora"}, "denoiser", "text_1")
    expected = {}
    for part, path in whole.layers():
        excluded = re.fullmatch(r".*attn2.*", path) or re.fullmatch(r".*mlp.*", path)
        if excluded and not re.fullmatch(r".*attn2.*to_out.0", path):
            continue
        rank = next((rank for pattern, rank in ((first, 3), (second, 2)) if re.fullmatch(pattern, path)), 4)
        lrs = ((second, 0.5), (".*mid_block.*proj_in", 0.25), (".*proj_out", 0.0))
        rate = next(
            (rate for pattern, rate in lrs if re.fullmatch(pattern, path)), {"denoiser": 1.0, "text_1": 2.0}[part]
        )
        if rate:
            expected[part, path] = (rank, rate)
    assert found == expected
    assert {rank for rank, _ in found.values()} == {2, 3, 4}


@pytest.mark.parametrize(
    ("module", "arguments", "settings"),
    [
        ("networks.lora", {}, {"name": "lora", "rank": 8, "alpha": 4.0}),
        ("networks.lora", {"conv_dim": "4"}, {"name": "locon", "conv_rank": 4, "conv_alpha": 1.0}),
        ("networks.lora", {"rank_dropout": ".1", "module_dropout": ".2"}, {"rank_dropout": 0.1, "module_dropout": 0.2}),
        ("networks.lora", {"loraplus_lr_ratio": "16"}, {"lora_plus_ratio": 16.0, "lora_plus_text_ratio": 16.0}),
        (
            "networks.lora",
            {"loraplus_unet_lr_ratio": "4"},
            {"lora_plus_ratio": 4.0, "lora_plus_text_ratio": 1.0},
        ),
        ("networks.lora_fa", {}, {"name": "lora", "freeze_down": True}),
        (
            "networks.dylora",
            {"unit": "4", "conv_dim": "8"},
            {"name": "dylora", "block_size": 4, "layers": "transformer_conv", "conv_rank": 8},
        ),
        ("lycoris.kohya", {}, {"name": "locon", "layers": "all", "conv_rank": 8, "conv_alpha": 4.0}),
        (
            "lycoris.kohya",
            {"algo": "lokr", "factor": "8", "dora_wd": "True", "preset": "attn-mlp", "decompose_both": "True"},
            {"name": "lokr", "factor": 8, "decompose": True, "decompose_by": "output", "layers": "transformer"},
        ),
        ("lycoris.kohya", {"algo": "diag-oft", "rescaled": "True"}, {"name": "oft", "block_size": 8, "rescaled": True}),
        ("lycoris.kohya", {"algo": "ia3", "preset": "ia3"}, {"name": "ia3"}),
        (
            "lycoris.kohya",
            {"algo": "loha", "use_cp": "True", "rank_dropout": ".1"},
            {"name": "loha", "tucker": True, "rank_dropout_scale": False},
        ),
        ("lycoris.kohya", {"algo": "full", "train_norm": "True"}, {"name": "full", "train_norms": True}),
    ],
)  # fmt: skip
def test_other_options_are_settings_that_load(module: str, arguments: dict[str, str], settings: dict[str, Any]) -> None:
    made = network_from_kohya(arguments, "sd15", module, dim=8, alpha=4.0)
    network: Any = load(registry("networks").get(made.settings["name"]), made.settings)
    assert {name: getattr(network, name) for name in settings} == settings
    assert made.notes == []


def test_what_has_no_counterpart_is_told() -> None:
    assert network_from_kohya({"ggpo_beta": "1"}, "sd15").notes == ["ggpo_beta: has no counterpart, and was left out"]
    (note,) = network_from_kohya({"preset": "unet-transformer-only"}, "sd15", "lycoris.kohya").notes
    assert "switch the text encoders off" in note


@pytest.mark.parametrize(
    ("module", "arguments", "words"),
    [
        ("networks.lora", {"block_dims": "1,2,3"}, "block_dims has 3 values, and needs 25"),
        ("networks.lora", {"conv_dim": "four"}, "conv_dim: 'four' is no whole number"),
        ("networks.lora", {"exclude_patterns": "["}, "exclude_patterns: '\\[' is no list"),
        ("networks.hyper", {}, "no counterpart for the network module 'networks.hyper'"),
        ("lycoris.kohya", {"algo": "abba"}, "no counterpart for LyCORIS' algo=abba"),
    ],
)
def test_what_cannot_be_read_is_an_error(module: str, arguments: dict[str, str], words: str) -> None:
    with pytest.raises(OchreError, match=words):
        network_from_kohya(arguments, "sd15", module)


def test_a_whole_config_of_kohyas_has_a_network() -> None:
    """Its options as a TOML file holds them: sections are for the eye, and network_args is a list of texts."""
    data = {
        "model": {"pretrained_model_name_or_path": "x"},
        "network": {
            "network_module": "networks.lora", "network_dim": 16, "network_alpha": 8, "network_dropout": 0.1,
            "network_args": ["loraplus_lr_ratio=4", "mystery=1"], "scale_weight_norms": 1.0, "network_weights": "a.pt",
            "dim_from_weights": True, "base_weights": ["b"],
        },
    }  # fmt: skip
    made = network_from_config(data, "sd15")
    network: Any = load(registry("networks").get("lora"), made.settings)
    told = {"rank": 16, "alpha": 8.0, "dropout": 0.1, "lora_plus_ratio": 4.0, "max_norm": 1.0}
    told |= {"weights": "a.pt", "weights_rank": True}
    assert {name: getattr(network, name) for name in told} == told
    assert [note.split(":")[0] for note in made.notes] == ["mystery", "base_weights"]


def test_a_config_without_a_network_is_an_error() -> None:
    with pytest.raises(OchreError, match="says nothing of a network"):
        network_from_config({"learning_rate": 1e-4}, "sd15")
