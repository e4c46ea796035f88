"""Starting from a file: kohya's, LyCORIS', diffusers' and peft's, and what is said of one that doesn't fit."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.utils.state_dict_utils import convert_unet_state_dict_to_peft
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from core.contracts import PartLayers
from core.errors import OchreError
from core.networks._rules import Rule
from core.networks.dylora import Dylora
from core.networks.full import Full
from core.networks.glora import Glora
from core.networks.locon import Locon
from core.networks.loha import Loha
from core.networks.lokr import Lokr
from core.networks.lora import Lora
from core.registry import registry
from core.settings.checks import validate
from core.weights.loras import split

SIZES: dict[str, Any] = {"rank": 2, "alpha": 3.0}


def family_of(name: str) -> Any:
    return registry("families").get(name)()


def attach(network: Any, family: Any, *parts: str) -> tuple[Any, Any]:
    model = family.tiny()
    found = {part: PartLayers(family.layer_groups[part], family.blocks[part]) for part in parts or ("denoiser",)}
    return network.attach(model, found), model


def saved(path: Path, network: Any, family: Any, *parts: str) -> tuple[Path, Any]:
    """The file of a network with random weights."""
    attached, model = attach(network, family, *parts)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for tensor in attached.state().values():
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.2)
    file = attached.export(lambda part, path: family.lora_name(model, part, path))
    save_file(file, path)
    return path, attached


def differences(attached: Any) -> dict[tuple[str, str], Tensor]:
    return {layer: change.difference().detach() for layer, change in attached.changes()}


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (Lora, SIZES),
        (Lora, SIZES | {"decompose": True}),
        (Lora, SIZES | {"train_norms": True}),
        (Locon, SIZES | {"conv_rank": 3, "conv_alpha": 1.0}),
        (Loha, SIZES),
        (Lokr, SIZES | {"factor": 2}),
        (Lokr, SIZES | {"full_matrix": True}),
        (Glora, SIZES),
        (Full, {}),
        (Dylora, {"rank": 4, "alpha": 3.0, "block_size": 2}),
    ],
)
def test_a_network_begins_where_its_file_ended(
    family: str, kind: Any, settings: dict[str, Any], tmp_path: Path
) -> None:
    known, parts = family_of(family), ("denoiser", "text_1")
    few = {"layers": "patterns", "include": ["mid_block", r"layers\.0\."]}  # of each kind, to be quick
    path, before = saved(tmp_path / "lora.safetensors", kind(**settings, **few), known, *parts)
    after, _ = attach(kind(**settings, **few, weights=str(path)), known, *parts)
    assert before.state().keys() == after.state().keys()
    for name, tensor in after.state().items():
        assert torch.equal(tensor, before.state()[name]), name


def test_alphas_that_were_made_alike_in_the_file_are_made_up_for(tmp_path: Path) -> None:
    """Where attentions have several, diffusers would read another one, so that the file has one for all."""
    family = family_of("sd15")
    network = {**SIZES, "layers": "attention", "rules": [Rule(pattern="attn2", alpha=0.5)]}
    path, before = saved(tmp_path / "lora.safetensors", Lora(**network), family)
    assert len({float(tensor) for name, tensor in load_file(path).items() if name.endswith(".alpha")}) == 1
    after, _ = attach(Lora(**network, weights=str(path)), family)
    alphas = {float(change.alpha) for _, change in after.changes()}
    assert alphas == {3.0, 0.5}
    expected = differences(before)
    for layer, change in differences(after).items():
        torch.testing.assert_close(change, expected[layer], rtol=1e-5, atol=1e-7)


def test_another_alpha_is_made_up_for(tmp_path: Path) -> None:
    """The update is the file's: alpha / rank up down, in float64. kohya would scale its weights by the alpha here."""
    family = family_of("sd15")
    path, _ = saved(tmp_path / "lora.safetensors", Lora(**SIZES, layers="attention"), family)
    attached, model = attach(Lora(rank=2, alpha=0.5, layers="attention", weights=str(path)), family)
    file = {name: tensor.double() for name, tensor in load_file(path).items()}
    for (part, layer), change in differences(attached).items():
        name = family.lora_name(model, part, layer)
        up, down = file[f"{name}.lora_up.weight"], file[f"{name}.lora_down.weight"]
        expected = 3.0 / 2 * up.flatten(1) @ down.flatten(1)
        torch.testing.assert_close(change.flatten(1).double(), expected, rtol=1e-5, atol=1e-7)
    exported = attached.export(lambda part, layer: family.lora_name(model, part, layer))
    assert {float(tensor) for name, tensor in exported.items() if name.endswith(".alpha")} == {0.5}


def test_ranks_and_alphas_can_be_the_files(tmp_path: Path) -> None:
    family = family_of("sdxl")
    rules = [Rule(blocks="MID", rank=3, alpha=5.0), Rule(pattern="to_q$", rank=4)]
    network = Locon(**SIZES, conv_rank=5, conv_alpha=1.5, rules=rules, rank_stabilised=True)
    path, before = saved(tmp_path / "lora.safetensors", network, family)
    settings = {"rank": 7, "alpha": 1.0, "conv_rank": 1, "weights": str(path), "weights_rank": True}
    after, model = attach(Locon(**settings), family)
    names: Any = lambda part, layer: family.lora_name(model, part, layer)  # noqa: E731
    first, second = before.export(names), after.export(names)
    assert {len(tensor) for name, tensor in first.items() if "lora_down" in name} == {2, 3, 4, 5}
    assert first.keys() == second.keys()
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_a_file_without_alpha_has_its_rank_for_it(tmp_path: Path) -> None:
    family = family_of("sd15")
    path, _ = saved(tmp_path / "lora.safetensors", Lora(rank=2, alpha=2.0, layers="attention"), family)
    whole = load_file(path)
    save_file({name: tensor for name, tensor in whole.items() if "alpha" not in name}, path)
    attached, model = attach(Lora(rank=2, alpha=2.0, layers="attention", weights=str(path)), family)
    assert all(
        torch.equal(tensor, whole[name])
        for name, tensor in attached.export(lambda part, layer: family.lora_name(model, part, layer)).items()
    )


# -- diffusers and peft


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("dora", [False, True])
def test_diffusers_own_file_is_taken(dora: bool, told: bool, tmp_path: Path) -> None:
    """Trained with peft in diffusers and saved by it: the UNet and the encoder here do what they did there."""
    family = family_of("sd15")
    model = family.tiny()
    unet: Any = copy.deepcopy(model.parts["denoiser"])
    text: Any = copy.deepcopy(model.parts["text_1"])
    kinds = {unet: ["to_q", "to_k", "to_v", "to_out.0"], text: ["q_proj", "k_proj", "v_proj", "out_proj"]}
    alpha = 6 if told else 2  # without its metadata diffusers itself takes alpha for the rank
    torch.manual_seed(4)
    for module, names in kinds.items():
        config = LoraConfig(
            r=2, lora_alpha=alpha, target_modules=names, init_lora_weights=False, use_dora=dora,
            alpha_pattern={"attn2.to_k": 1} if told and module is unet else {},
        )  # fmt: skip
        module.add_adapter(config)
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                if "magnitude" in name:
                    parameter.mul_(1.2)
    layers: Any = {"unet_lora_layers": get_peft_model_state_dict(unet)}
    layers["text_encoder_lora_layers"] = get_peft_model_state_dict(text)
    metadata: dict[str, Any] = {}
    if told:
        metadata = {
            "unet_lora_adapter_metadata": unet.peft_config["default"].to_dict(),
            "text_encoder_lora_adapter_metadata": text.peft_config["default"].to_dict(),
        }
    StableDiffusionPipeline.save_lora_weights(tmp_path, weight_name="lora.safetensors", **layers, **metadata)
    with safe_open(tmp_path / "lora.safetensors", "pt") as file:
        assert (LORA_ADAPTER_METADATA_KEY in (file.metadata() or {})) == told
    settings = {"layers": "attention", "decompose": dora, "decompose_by": "output" if dora else "input"}
    network = Lora(rank=2, alpha=0.7, weights=str(tmp_path / "lora.safetensors"), **settings)  # type: ignore[arg-type]
    found = {part: PartLayers(family.layer_groups[part]) for part in ("denoiser", "text_1")}
    network.attach(model, found)
    told_too = {"encoder_hidden_states": torch.randn(2, 77, 16), "timestep": torch.tensor([10, 500])}
    x, tokens = torch.randn(2, 4, 8, 8), torch.randint(0, 400, (2, 9))
    ours: Any = model.parts
    with torch.no_grad():
        torch.testing.assert_close(
            ours["denoiser"](x, **told_too).sample, unet(x, **told_too).sample, rtol=1e-4, atol=1e-4
        )
        torch.testing.assert_close(ours["text_1"](tokens)[0], text(tokens)[0], rtol=1e-4, atol=1e-4)


PATH = "down_blocks.0.attentions.0.transformer_blocks.0.attn1"


@pytest.mark.parametrize("layer", ["to_q", "to_out.0"])
@pytest.mark.parametrize(
    "name",
    [
        "{path}.processor.{old}_lora.{half}.weight",
        "{path}.{layer}.lora.{half}.weight",
        "{path}.{layer}.lora_linear_layer.{half}.weight",
        "{path}.{layer}.lora_{letter}.weight",
    ],
)
def test_names_of_old_versions_are_those_that_diffusers_converts(name: str, layer: str) -> None:
    for half, letter in (("down", "A"), ("up", "B")):
        key = name.format(path=PATH, layer=layer, old=layer.removesuffix(".0"), half=half, letter=letter)
        if "linear_layer" not in name:  # which diffusers has for text encoders alone
            (theirs,) = convert_unet_state_dict_to_peft({key: torch.zeros(1)})
            assert theirs == f"{PATH}.{layer}.lora_{letter}.weight"
        assert split(key) == (f"{PATH}.{layer}", f"lora_{half}.weight", True)


def test_pefts_own_prefix_is_taken_off() -> None:
    assert split(f"base_model.model.{PATH}.to_q.lora_A.weight") == (f"{PATH}.to_q", "lora_down.weight", True)


# -- what doesn't fit


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA of SD 1.5, of both parts."""
    path = tmp_path_factory.mktemp("lora") / "lora.safetensors"
    return saved(path, Lora(**SIZES), family_of("sd15"), "denoiser", "text_1")[0]


BOTH = ("denoiser", "text_1")


@pytest.mark.parametrize(
    ("settings", "parts", "words"),
    [
        (SIZES, ("denoiser",), "18 layers of it would be left out; the first is lora_te_text_model_encoder_layers_0"),
        (SIZES | {"layers": "attention"}, BOTH, "would be left out; the first is denoiser.down_blocks"),
        (SIZES | {"layers": "all"}, BOTH, "would begin anew; the first is denoiser.conv_in"),
        (SIZES | {"layers": "patterns", "include": ["conv_in"]}, ("denoiser",), "has none of the layers"),
        ({"rank": 4, "alpha": 3.0}, BOTH, r"lora_down.weight is 2x16; here it is 4x16. Set rank to 2 "),
        (SIZES | {"decompose": True}, BOTH, r"of another algorithm.* it has lora_down.weight, lora_up"),
    ],
)
def test_a_file_that_does_not_fit_is_an_error(
    settings: dict[str, Any], parts: tuple[str, ...], words: str, file: Path
) -> None:
    with pytest.raises(OchreError, match=words):
        attach(Lora(**settings, weights=str(file)), family_of("sd15"), *parts)


def test_a_file_of_another_algorithm_is_an_error(file: Path) -> None:
    with pytest.raises(OchreError, match=r"of another algorithm.* here are hada_w1_a, hada_w1_b"):
        attach(Loha(**SIZES, weights=str(file)), family_of("sd15"), "denoiser", "text_1")


def test_a_file_of_another_family_is_an_error(file: Path, tmp_path: Path) -> None:
    with pytest.raises(OchreError, match=r"this base model has no layer for.*of the same family"):
        attach(Lora(**SIZES, weights=str(file)), family_of("sdxl"), "denoiser", "text_1")
    save_file({"something": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(OchreError, match=r"is no LoRA of this base model's kind.*something"):
        attach(Lora(weights=str(tmp_path / "x.safetensors")), family_of("sd15"))


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OchreError, match="There is no file"):
        attach(Lora(weights=str(tmp_path / "none.safetensors")), family_of("sd15"))


def test_what_fits_can_be_taken(file: Path) -> None:
    """The encoder's layers are left out, and the convolutions begin anew."""
    network = Locon(**SIZES, conv_rank=2, weights=str(file), weights_fit="partly")
    attached, model = attach(network, family_of("sd15"))
    whole, taken = load_file(file), 0
    for (part, path), change in attached.changes():
        name = family_of("sd15").lora_name(model, part, path)
        if f"{name}.lora_up.weight" in whole:
            taken += 1
            torch.testing.assert_close(change.lora_up.weight.detach(), whole[f"{name}.lora_up.weight"])
        else:
            assert not change.lora_up.weight.any()
    assert 0 < taken < len(list(attached.layers()))


@pytest.mark.parametrize(
    ("settings", "paths"),
    [
        ({"weights_rank": True}, ["weights_rank"]),
        ({"weights_fit": "partly"}, ["weights_fit"]),
        ({"weights": "x", "initial": "pissa"}, ["initial"]),
        ({"weights": "x", "tucker": True, "layers": "all"}, ["tucker"]),
        ({"weights": "x", "weights_rank": True, "rules": [{"blocks": "MID", "rank": 3}]}, ["rules.0.rank"]),
        ({"weights": "x", "weights_rank": True, "weights_fit": "partly"}, []),
    ],
)
def test_problems_are_found_before_the_start(settings: dict[str, Any], paths: list[str]) -> None:
    _, problems = validate(Lora, {"name": "lora", **settings})
    assert [problem.path for problem in problems] == paths
