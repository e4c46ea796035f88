"""Which layers are changed, held against kohya's and LyCORIS' rules by the classes of diffusers' modules."""

import re
from pathlib import Path
from typing import Any

import pytest
from lycoris.config import PRESET
from torch import nn

from core.contracts import PartLayers
from core.errors import OchreError
from core.families._loading import build_part
from core.families._stable_diffusion import CONFIGS
from core.networks._layers import choose_layers
from core.networks.locon import Locon
from core.networks.lora import Lora
from core.registry import registry
from core.settings.checks import validate

FOLDERS = {"denoiser": "unet", "text_1": "text_encoder", "text_2": "text_encoder_2"}


@pytest.fixture(scope="module", params=["sd15", "sdxl"])
def family(request: Any) -> Any:
    return registry("families").get(request.param)()


@pytest.fixture(scope="module")
def real(family: Any) -> dict[str, nn.Module]:
    """Part -> module of the real size, without memory for its weights."""
    parts = {part: Path(CONFIGS / family.name / FOLDERS[part]) for part in family.layer_groups}
    return {part: build_part(part, config) for part, config in parts.items()}


def chosen(network: Lora | Locon, family: Any, modules: dict[str, nn.Module]) -> set[str]:
    found = {part: PartLayers(family.layer_groups[part], family.blocks[part]) for part in modules}
    layers = choose_layers(network, modules, found, network.suits)
    return {f"{part}.{path}" for part, inside in layers.items() for path, _ in inside}


def is_kernel_1(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear) or getattr(layer, "kernel_size", None) == (1, 1)


def inside(modules: dict[str, nn.Module], classes: dict[str, set[str]], kernels: str = "all") -> set[str]:
    """What lies inside modules of some classes: part -> names of the classes."""
    return {
        f"{part}.{path}.{inner}"
        for part, names in classes.items()
        for path, module in modules[part].named_modules()
        if type(module).__name__ in names
        for inner, layer in module.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d) and (kernels == "all" or is_kernel_1(layer))
    }


def text_parts(modules: dict[str, nn.Module], classes: set[str]) -> dict[str, set[str]]:
    return {part: classes for part in modules if part.startswith("text_")}


def test_transformer_is_kohyas_lora(family: Any, real: dict[str, nn.Module]) -> None:
    """networks/lora.py: UNET_TARGET_REPLACE_MODULE and TEXT_ENCODER_TARGET_REPLACE_MODULE; linear layers and 1x1."""
    text = text_parts(real, {"CLIPAttention", "CLIPMLP"})
    assert chosen(Lora(), family, real) == inside(real, {"denoiser": {"Transformer2DModel"}} | text, "1x1")


def test_transformer_conv_is_what_kohyas_conv_dim_adds(family: Any, real: dict[str, nn.Module]) -> None:
    """UNET_TARGET_REPLACE_MODULE_CONV2D_3X3, of which the linear layers and 1x1 convolutions come too."""
    classes = {"Transformer2DModel", "ResnetBlock2D", "Downsample2D", "Upsample2D"}
    expected = inside(real, {"denoiser": classes} | text_parts(real, {"CLIPAttention", "CLIPMLP"}))
    assert chosen(Lora(layers="transformer_conv"), family, real) == expected
    assert chosen(Locon(), family, real) == expected


def test_attention_is_the_attentions_of_diffusers(family: Any, real: dict[str, nn.Module]) -> None:
    """BasicTransformerBlock's Attention modules: proj_in and proj_out are no part of them."""
    expected = inside(real, {"denoiser": {"Attention"}} | text_parts(real, {"CLIPAttention"}))
    assert chosen(Lora(layers="attention"), family, real) == expected


def test_attention_mlp_is_both_and_nothing_else(family: Any, real: dict[str, nn.Module]) -> None:
    classes = {"denoiser": {"Attention", "FeedForward"}} | text_parts(real, {"CLIPAttention", "CLIPMLP"})
    assert chosen(Lora(layers="attention_mlp"), family, real) == inside(real, classes)


def test_linear_and_all_are_told_by_class_alone(family: Any, real: dict[str, nn.Module]) -> None:
    layers = {
        f"{part}.{path}": layer
        for part, module in real.items()
        for path, layer in module.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d)
    }
    assert chosen(Lora(layers="all"), family, real) == set(layers)
    assert chosen(Lora(layers="linear"), family, real) == {name for name, layer in layers.items() if is_kernel_1(layer)}


def lycoris_layers(preset: str, real: dict[str, nn.Module]) -> set[str]:
    """What a preset of LyCORIS changes: modules inside its classes, and those that it names.

    Without enable_conv kernels larger than 1 are left out (`LycorisNetworkKohya`, create_single_module).
    """
    said, found = PRESET[preset], set()
    for part, module in real.items():
        kind = "unet" if part == "denoiser" else "text_encoder"
        named = [re.compile(name) for name in said[f"{kind}_target_name"]]
        kernels = "all" if said["enable_conv"] else "1x1"
        found |= inside(real, {part: set(said[f"{kind}_target_module"])}, kernels)
        for path, layer in module.named_modules():
            fits = isinstance(layer, nn.Linear | nn.Conv2d) and (said["enable_conv"] or is_kernel_1(layer))
            found |= {f"{part}.{path}"} if fits and any(name.fullmatch(path) for name in named) else set()
    return found


@pytest.mark.parametrize(
    ("preset", "network", "parts"),
    [
        ("full", Lora(layers="all", exclude=["text_projection"]), "all"),
        ("full-lin", Lora(layers="linear", exclude=["text_projection"]), "all"),
        ("attn-mlp", Lora(include=["^denoiser.(time|add)_embedding"]), "all"),
        ("unet-transformer-only", Lora(include=["^denoiser.(time|add)_embedding"]), "unet"),
        (
            "unet-convblock-only",
            Lora(layers="patterns", include=["(resnets|downsamplers|upsamplers)", "conv_in$", "conv_out$"]),
            "unet",
        ),
        (
            "ia3",
            Lora(layers="patterns", include=["to_k$", "to_v$", r"ff\.net\.2$", "k_proj$", "v_proj$", r"mlp\.fc2$"]),
            "all",
        ),
    ],
)
def test_lycoris_presets_can_be_said(
    preset: str, network: Lora, parts: str, family: Any, real: dict[str, nn.Module]
) -> None:
    """The time embedding is in each preset because Anima's class of it is called as diffusers' is.

    LyCORIS' full even takes it twice, by its name and by its class, and fails over that on diffusers' UNets.
    """
    if family.name == "sd15":  # it has no text_projection, and what excludes nothing is an error
        network = network.model_copy(update={"exclude": []})
    expected = lycoris_layers(preset, real)
    if preset == "ia3":  # meant for the ends of paths; a whole path is never `to_k`
        ends = {"denoiser": PRESET["ia3"]["unet_target_name"], "text": PRESET["ia3"]["text_encoder_target_name"]}
        expected = {
            f"{part}.{path}"
            for part, module in real.items()
            for path, layer in module.named_modules()
            if path.endswith(tuple(ends[part.split("_")[0]]))
        }
    modules = real if parts == "all" else {"denoiser": real["denoiser"]}
    assert chosen(network, family, modules) == expected


@pytest.mark.parametrize(
    ("filter_text", "network"),
    [("attentions", Lora()), ("attn", Lora(layers="attention")), ("", Lora(layers="all"))],
)
def test_onetrainers_presets_can_be_said(
    filter_text: str, network: Lora, family: Any, real: dict[str, nn.Module]
) -> None:
    """LAYER_PRESETS of SD and SDXL (attn-mlp, attn-only, full): a text that is found in the paths of the UNet."""
    expected = {
        f"denoiser.{path}"
        for path, layer in real["denoiser"].named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d) and filter_text in path
    }
    assert chosen(network, family, {"denoiser": real["denoiser"]}) == expected


def test_kohyas_include_and_exclude_can_be_said() -> None:
    """lora_anima.py: left out if any exclude_pattern matches the whole path, and no include_pattern does."""
    family = registry("families").get("sd15")()
    modules = {"denoiser": family.tiny().parts["denoiser"]}
    exclude, include = r".*\.attn2\..*", r".*mid_block.*to_k|.*up_blocks\.3.*to_q"
    ours = Lora(exclude=[rf"^denoiser\.(?!({include})$)({exclude})$"])
    whole = {name.removeprefix("denoiser.") for name in chosen(Lora(), family, modules)}
    expected = {path for path in whole if re.fullmatch(include, path) or not re.fullmatch(exclude, path)}
    assert whole != expected
    assert {name.removeprefix("denoiser.") for name in chosen(ours, family, modules)} == expected


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.to_q, self.to_k, self.conv = nn.Linear(4, 4), nn.Linear(4, 4), nn.Conv2d(4, 4, 3)


GROUPS = PartLayers({"attention": "to_[qk]", "transformer": "to_[qk]"})


def names(**settings: Any) -> list[str]:
    modules = {"denoiser": Tiny(), "text_1": Tiny()}
    network = Lora(**settings)
    layers = choose_layers(network, modules, dict.fromkeys(modules, GROUPS), network.suits)
    return [f"{part}.{path}" for part, inside in layers.items() for path, _ in inside]


def test_patterns_see_the_part_and_the_whole_path() -> None:
    everything = ["denoiser.to_q", "denoiser.to_k", "denoiser.conv", "text_1.to_q", "text_1.to_k", "text_1.conv"]
    assert names(layers="all") == everything
    assert names(include=["^text_1.conv"]) == [name for name in everything if name != "denoiser.conv"]
    assert names(layers="patterns", include=["conv", "^denoiser.to_k"]) == [
        "denoiser.to_k",
        "denoiser.conv",
        "text_1.conv",
    ]
    assert names(exclude=["to_q$", "^text_1.to_q"]) == ["denoiser.to_k", "text_1.to_k"]


def test_what_is_excluded_stays_out_even_if_included() -> None:
    assert names(include=["conv"], exclude=["conv", "to_q"]) == ["denoiser.to_k", "text_1.to_k"]


def test_a_pattern_that_matches_nothing_is_an_error_with_the_nearest_names() -> None:
    with pytest.raises(OchreError, match=r"include: 'too_q\$' is found .* nearest are denoiser.to_q"):
        names(include=["too_q$"])
    with pytest.raises(OchreError, match="exclude: 'conv' is found in the name of no layer"):
        names(exclude=["conv"])  # there is such a layer, but nothing would change


def test_a_part_of_which_nothing_is_left_is_an_error() -> None:
    with pytest.raises(OchreError, match=r"Of text_1 no layer .* switch parts.text_1.train off"):
        names(exclude=["^text_1"])


@pytest.mark.parametrize(
    ("settings", "path", "words"),
    [
        ({"include": ["to_q", "(to_k"]}, "include.1", "no regular expression"),
        ({"exclude": ["[a"]}, "exclude.0", "no regular expression"),
        ({"exclude": [" "]}, "exclude.0", "match every layer"),
        ({"layers": "patterns"}, "include", "names no layer"),
    ],
)
def test_problems_are_found_before_the_start(settings: dict[str, Any], path: str, words: str) -> None:
    _, problems = validate(Lora, {"name": "lora", **settings})
    assert [problem.path for problem in problems] == [path]
    assert words in problems[0].message
