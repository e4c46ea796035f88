"""What models are, by headers of real-size files and by diffusers' configs; what is none is told by its name."""

import json
from functools import cache
from pathlib import Path

import pytest
import torch
from accelerate import init_empty_weights
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file

from core.contracts import Header, TensorInfo
from core.errors import ModelFileError
from core.families._detection import recognise
from core.families._loading import FOLDERS, build_part
from core.families._stable_diffusion import CONFIGS
from core.families._unet_facts import unet_in
from core.registry import registry
from core.weights.layouts import join_single_file
from core.weights.layouts.clip import canonical_clip_names

FAMILIES = {name: family() for name, family in registry("families").all().items()}


@cache
def whole(name):
    """Tensor name -> shape of a whole single-file checkpoint of the real size."""
    parts = {}
    for part in ["denoiser", "vae", *FAMILIES[name].text_parts]:
        state = build_part(part, CONFIGS / name / FOLDERS[part]).state_dict()
        parts[part] = canonical_clip_names(state) if part.startswith("text_") else state
    return {key: tuple(tensor.shape) for key, tensor in join_single_file(parts, name).items()}


@cache
def unet(name, **changes):
    """Tensor name -> shape of a UNet of the real size in diffusers' names, with its config changed."""
    config = json.loads((CONFIGS / name / "unet" / "config.json").read_text()) | changes
    with init_empty_weights():
        return {key: tuple(t.shape) for key, t in UNet2DConditionModel.from_config(config).state_dict().items()}


@cache
def original_unet(name, prefix="model.diffusion_model.", **changes):
    meta = {key: torch.empty(shape, device="meta") for key, shape in unet(name, **changes).items()}
    joined = join_single_file({"denoiser": meta}, name)
    return {prefix + key.removeprefix("model.diffusion_model."): tuple(t.shape) for key, t in joined.items()}


OPENCLIP = "model.transformer.resblocks.0.attn.in_proj_weight"
REFINER = {
    "block_out_channels": (384, 768, 1536, 1536),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "attention_head_dim": (6, 12, 24, 24),
    "transformer_layers_per_block": 4,
    "cross_attention_dim": 1280,
    "projection_class_embeddings_input_dim": 2560,
}
SD2 = {"use_linear_projection": True, "cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20)}


def header(shapes, **metadata):
    return Header(Path("model.safetensors"), {key: TensorInfo(shape, "F16") for key, shape in shapes.items()}, metadata)


def matches(head):
    return {name: match for name, family in FAMILIES.items() if (match := family.recognise(head))}


@pytest.mark.parametrize("name", FAMILIES)
def test_whole_checkpoints(name):
    found = matches(header(whole(name)))
    assert found.keys() == {name}
    match = found[name]
    assert (match.family, match.variant, match.prediction, match.refusal) == (name, "base", None, "")
    assert str({"sd15": 768, "sdxl": 2048}[name]) in match.why[0]


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(
    "markers, metadata, prediction, zero",
    [
        ({"v_pred": (0,)}, {}, "v_prediction", False),
        ({"v_pred": (0,), "ztsnr": (0,)}, {}, "v_prediction", True),
        ({}, {"modelspec.prediction_type": "v"}, "v_prediction", False),
        ({}, {"modelspec.prediction_type": "epsilon"}, "epsilon", False),
        ({}, {"modelspec.prediction_type": "?"}, None, False),
    ],
)
def test_the_prediction(name, markers, metadata, prediction, zero):
    match = FAMILIES[name].recognise(header(whole(name) | markers, **metadata))
    assert (match.prediction, match.zero_terminal_snr) == (prediction, zero)
    assert prediction is None or "prediction" in match.why[-1] or "marker" in match.why[-1]


@pytest.mark.parametrize("name", FAMILIES)
def test_edm_is_refused(name):
    match = FAMILIES[name].recognise(header(whole(name) | {"edm_vpred.sigma_max": ()}))
    assert "EDM" in match.refusal


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("channels, variant", [(9, "inpainting"), (8, "editing")])
def test_what_more_input_channels_mean(name, channels, variant):
    for found in (
        matches(header(whole(name) | original_unet(name, in_channels=channels))),
        folder_matches(*configs_of(name, in_channels=channels)),
    ):
        assert found.keys() == {name} and found[name].variant == variant
        assert not found[name].refusal if channels == 9 else "editing" in found[name].refusal


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("form", ["original", "bare", "diffusers"])
def test_a_unet_alone_is_refused(name, form):
    shapes = {"original": original_unet, "bare": lambda n: original_unet(n, prefix=""), "diffusers": unet}[form](name)
    found = matches(header(shapes))
    assert found.keys() == {name} and "only the UNet" in found[name].refusal


def test_both_ways_of_naming_give_the_same_facts():
    for name in FAMILIES:
        assert unet_in(header(unet(name))) == unet_in(header(original_unet(name)))


def test_the_refiner_is_refused():
    shapes = original_unet("sdxl", **REFINER)
    for text in ({f"conditioner.embedders.0.{OPENCLIP}": (3840, 1280)}, {}):
        found = matches(header(shapes | text))
        assert found.keys() == {"sdxl"} and found["sdxl"].variant == "refiner" and "refiner" in found["sdxl"].refusal


def test_sd2_is_of_no_family():
    text = {f"cond_stage_model.{OPENCLIP}": (3072, 1024)}
    assert not matches(header(original_unet("sd15", **SD2) | text))
    assert not matches(header(original_unet("sd15", **SD2)))
    assert not matches(header(unet("sd15", **SD2)))


def configs_of(name, **unet_changes):
    read = {path.parent.name: json.loads(path.read_text()) for path in (CONFIGS / name).glob("*/*config.json")}
    read["unet"] |= unet_changes
    return json.loads((CONFIGS / name / "model_index.json").read_text()), read


def folder_matches(index, configs):
    return {name: match for name, family in FAMILIES.items() if (match := family.recognise_folder(index, configs))}


@pytest.mark.parametrize("name", FAMILIES)
def test_folders(name):
    found = folder_matches(*configs_of(name))
    assert found.keys() == {name}
    assert (found[name].variant, found[name].prediction, found[name].refusal) == ("base", "epsilon", "")


@pytest.mark.parametrize("name", FAMILIES)
def test_what_a_folders_scheduler_says(name):
    index, configs = configs_of(name)
    configs["scheduler"] |= {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
    match = FAMILIES[name].recognise_folder(index, configs)
    assert (match.prediction, match.zero_terminal_snr) == ("v_prediction", True)
    del configs["scheduler"]["prediction_type"]
    assert FAMILIES[name].recognise_folder(index, configs).prediction is None
    for strange in ({"prediction_type": "sample"}, {"_class_name": "EDMEulerScheduler"}):
        changed = {**configs, "scheduler": {**configs["scheduler"], **strange}}
        assert FAMILIES[name].recognise_folder(index, changed).refusal


def test_folders_of_other_models():
    index, configs = configs_of("sdxl", cross_attention_dim=1280)
    refiner = folder_matches(index | {"text_encoder": [None, None]}, configs)
    assert refiner["sdxl"].variant == "refiner" and refiner["sdxl"].refusal
    assert not folder_matches(*configs_of("sd15", **SD2))
    assert not folder_matches(*configs_of("sdxl", encoder_hid_dim_type="text_proj"))  # Kolors
    assert not folder_matches(
        {"_class_name": "FluxPipeline"}, {"transformer": {"_class_name": "FluxTransformer2DModel"}}
    )
    index, configs = configs_of("sd15")
    other_text = index | {"text_encoder": ["alt_diffusion", "RobertaSeriesModelWithTransformation"]}
    assert not folder_matches(other_text, configs)


STRANGERS = {
    "a LoRA": ["lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight"],
    "a Flux": ["double_blocks.0.img_attn.qkv.weight"],
    "a Stable Diffusion 3": ["model.diffusion_model.joint_blocks.0.context_block.attn.qkv.weight"],
    "a Stable Diffusion 2": [f"cond_stage_model.{OPENCLIP}", "model.diffusion_model.out.2.weight"],
    "a ControlNet": ["control_model.input_blocks.0.0.weight"],
    "an IP-Adapter": ["ip_adapter.1.to_k_ip.weight", "image_proj.proj.weight"],
    "an embedding": ["emb_params"],
    "a VAE": ["encoder.conv_in.weight", "decoder.conv_in.weight"],
    "a CLIP text encoder": ["text_model.encoder.layers.0.mlp.fc1.weight"],
    "a T5 text encoder": ["encoder.block.0.layer.0.SelfAttention.q.weight"],
    "Nothing in it is familiar": ["a.weight"],
}


@pytest.mark.parametrize("kind", STRANGERS)
def test_what_is_no_model_is_told_by_its_name(kind, tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({name: torch.zeros(2, 2) for name in STRANGERS[kind]}, path)
    with pytest.raises(ModelFileError) as caught:
        recognise(path)
    assert kind in caught.value.why
    assert "Stable Diffusion 1.5 or SDXL" in caught.value.do


def test_a_folder_that_is_no_model(tmp_path):
    (tmp_path / "one.safetensors").touch()
    with pytest.raises(ModelFileError, match=r"no model_index.json.*one.safetensors"):
        recognise(tmp_path)
    (tmp_path / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    with pytest.raises(ModelFileError, match="FluxPipeline"):
        recognise(tmp_path)
    (tmp_path / "vae").mkdir()
    with pytest.raises(ModelFileError, match="Choose the folder around it"):
        recognise(tmp_path / "vae")
    (tmp_path / "model_index.json").write_text("{")
    with pytest.raises(ModelFileError, match="can't be read"):
        recognise(tmp_path)
