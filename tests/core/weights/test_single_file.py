"""Whole checkpoints: our names against diffusers' converters, value by value, and against its pictures."""

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusers.loaders.single_file_utils import (
    convert_ldm_clip_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)

from core.errors import ModelFileError
from core.weights.clip_tokenizer import clip_tokenizer
from core.weights.files import open_tensors, write_safetensors
from core.weights.layouts import fit_clip_names, join_single_file, parts_in, read_part, read_vae, split_single_file
from core.weights.layouts.clip import canonical_clip_names
from core.weights.layouts.unet import unet_to_diffusers, unet_to_original


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert ours[name].shape == theirs[name].shape, name
        assert ours[name].is_meta or torch.equal(ours[name], theirs[name]), name


def states(parts):
    return {part: model.state_dict() for part, model in parts.items()}


def by_diffusers(single, parts):
    """What diffusers' converters make of a single file."""
    result = {
        "denoiser": convert_ldm_unet_checkpoint(dict(single), parts["denoiser"].config),
        "vae": convert_ldm_vae_checkpoint(dict(single), parts["vae"].config),
        "text_1": convert_ldm_clip_checkpoint(dict(single)),
    }
    if "text_2" in parts:
        prefix = "conditioner.embedders.1.model."
        result["text_2"] = convert_open_clip_checkpoint(parts["text_2"], dict(single), prefix=prefix)
    return result


@pytest.fixture(scope="module")
def single_file(family, tiny_parts, tmp_path_factory):
    path = tmp_path_factory.mktemp("single") / f"{family}.safetensors"
    return write_safetensors(path, join_single_file(states(tiny_parts), family), {})


def test_diffusers_converters_read_what_we_write(family, tiny_parts):
    converted = by_diffusers(join_single_file(states(tiny_parts), family), tiny_parts)
    for part, model in tiny_parts.items():
        expected = model.state_dict()
        theirs = converted[part] if part in ("denoiser", "vae") else fit_clip_names(converted[part], expected)
        assert_same(theirs, expected)


def test_diffusers_converters_know_every_name_of_the_real_models(family, real_parts):
    single = join_single_file(states(real_parts), family)
    assert len(single) == {"sd15": 686 + 248 + 196, "sdxl": 1680 + 248 + 196 + 389}[family]
    for part, converted in by_diffusers(single, real_parts).items():
        expected = real_parts[part].state_dict()
        assert_same(canonical_clip_names(expected) if part.startswith("text") else expected, converted)


PUBLISHED = {
    "sd15": {
        "model.diffusion_model.output_blocks.2.1.conv.weight": (1280, 1280, 3, 3),
        "model.diffusion_model.output_blocks.5.2.conv.weight": (1280, 1280, 3, 3),
        "model.diffusion_model.output_blocks.11.1.proj_out.weight": (320, 320, 1, 1),
        "model.diffusion_model.input_blocks.9.0.op.weight": (1280, 1280, 3, 3),
        "first_stage_model.decoder.up.3.block.0.conv1.weight": (512, 512, 3, 3),
        "first_stage_model.decoder.up.1.block.0.nin_shortcut.weight": (256, 512, 1, 1),
        "first_stage_model.encoder.mid.attn_1.proj_out.weight": (512, 512, 1, 1),
        "cond_stage_model.transformer.text_model.final_layer_norm.weight": (768,),
    },
    "sdxl": {
        "model.diffusion_model.output_blocks.2.2.conv.weight": (1280, 1280, 3, 3),
        "model.diffusion_model.output_blocks.5.2.conv.weight": (640, 640, 3, 3),
        "model.diffusion_model.middle_block.1.transformer_blocks.9.attn2.to_k.weight": (1280, 2048),
        "model.diffusion_model.label_emb.0.0.weight": (1280, 2816),
        "conditioner.embedders.0.transformer.text_model.embeddings.token_embedding.weight": (49408, 768),
        "conditioner.embedders.1.model.transformer.resblocks.31.attn.in_proj_weight": (3840, 1280),
        "conditioner.embedders.1.model.text_projection": (1280, 1280),
        "conditioner.embedders.1.model.positional_embedding": (77, 1280),
    },
}


def test_telling_names_of_the_published_checkpoints(family, real_parts):
    """Names by which programs tell these models, among them those that diffusers reads in several spellings."""
    single = join_single_file(states(real_parts), family)
    assert {name: tuple(single[name].shape) for name in PUBLISHED[family]} == PUBLISHED[family]


def test_what_was_written_is_read_back(family, tiny_parts, single_file):
    with open_tensors(single_file) as reader:
        parts = split_single_file(reader, family)
    assert parts.keys() == tiny_parts.keys()
    for part, model in tiny_parts.items():
        expected = model.state_dict()
        assert_same(fit_clip_names(parts[part], expected) if part.startswith("text") else parts[part], expected)
        model.load_state_dict(fit_clip_names(parts[part], expected) if part.startswith("text") else parts[part])


def test_diffusers_draws_the_same_picture_from_our_single_file(family, tiny_parts, tiny_folder, single_file):
    def draw(pipe):
        pipe.set_progress_bar_config(disable=True)
        generator = torch.Generator().manual_seed(3)
        return pipe(
            "a red cat", num_inference_steps=2, height=64, width=64, output_type="pt", generator=generator
        ).images

    text = {"text_encoder": tiny_parts["text_1"], "tokenizer": clip_tokenizer()}
    shared = {"unet": tiny_parts["denoiser"], "vae": tiny_parts["vae"]}
    if family == "sdxl":
        scheduler = EulerDiscreteScheduler.from_pretrained(tiny_folder / "scheduler")
        text |= {"text_encoder_2": tiny_parts["text_2"], "tokenizer_2": clip_tokenizer("!")}
        kind, ours = StableDiffusionXLPipeline, StableDiffusionXLPipeline(**shared, **text, scheduler=scheduler)
    else:
        scheduler = DDIMScheduler.from_pretrained(tiny_folder / "scheduler")
        extra = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
        kind, ours = StableDiffusionPipeline, StableDiffusionPipeline(**shared, **text, **extra, scheduler=scheduler)
    theirs = kind.from_single_file(str(single_file), config=str(tiny_folder), local_files_only=True)
    theirs.scheduler = type(scheduler).from_config(scheduler.config)
    picture = draw(ours)
    assert torch.isfinite(picture).all()
    assert picture.std() > 0.01
    # not equal to the last bit: a file that is mapped into memory has its tensors at other alignments
    assert torch.allclose(picture, draw(theirs), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("levels", "layers", "attended"),
    [(1, 2, {0}), (2, 1, {1}), (2, 1, {0}), (3, 3, {0, 2}), (3, 1, set()), (5, 2, {1, 4})],
)
def test_unets_of_other_shapes_keep_to_diffusers_names(levels, layers, attended):
    unet = UNet2DConditionModel(
        block_out_channels=(8,) * levels,
        layers_per_block=layers,
        down_block_types=[f"{'CrossAttn' if i in attended else ''}DownBlock2D" for i in range(levels)],
        up_block_types=[f"{'CrossAttn' if levels - 1 - i in attended else ''}UpBlock2D" for i in range(levels)],
        norm_num_groups=4,
        attention_head_dim=2,
        cross_attention_dim=8,
    )
    original = unet_to_original(unet.state_dict())
    prefixed = {f"model.diffusion_model.{name}": tensor for name, tensor in original.items()}
    assert_same(unet_to_diffusers(original), unet.state_dict())
    assert_same(convert_ldm_unet_checkpoint(prefixed, unet.config), unet.state_dict())


def test_what_is_no_weight_is_left_out(family, tiny_parts, tmp_path):
    single = join_single_file(states(tiny_parts), family)
    text = {"sd15": "cond_stage_model.transformer.", "sdxl": "conditioner.embedders.0.transformer."}[family]
    single |= {
        f"{text}text_model.embeddings.position_ids": torch.arange(77)[None],
        "conditioner.embedders.1.model.logit_scale": torch.tensor(4.6),
        "model_ema.diffusion_modelconv_inweight": torch.ones(3),
        "first_stage_model.loss.logvar": torch.ones(1),
        "alphas_cumprod": torch.ones(1000),
    }
    path = write_safetensors(tmp_path / "model.safetensors", single, {})
    with open_tensors(path) as reader:
        parts = split_single_file(reader, family)
    for part, model in tiny_parts.items():
        expected = model.state_dict()
        assert_same(fit_clip_names(parts[part], expected) if part.startswith("text") else parts[part], expected)


def test_a_vae_is_read_under_old_and_new_names(family, tiny_parts, single_file, tmp_path):
    expected = tiny_parts["vae"].state_dict()
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    renamed = {}
    for name, tensor in expected.items():
        for new, former in old.items():
            name = name.replace(f"attentions.0.{new}.", f"attentions.0.{former}.")
        renamed[name] = tensor
    assert any("proj_attn" in name for name in renamed)
    alone = {
        name.removeprefix("first_stage_model."): tensor
        for name, tensor in join_single_file({"vae": expected}, family).items()
    }
    assert alone["encoder.mid.attn_1.q.weight"].ndim == 4
    files = [
        write_safetensors(tmp_path / f"{number}.safetensors", tensors, {})
        for number, tensors in enumerate((expected, renamed, alone))
    ]
    for path in (*files, single_file):
        with open_tensors(path) as reader:
            assert_same(read_vae(reader), expected)


def test_text_encoders_are_read_in_the_spellings_that_are_about(family, tiny_parts, tmp_path):
    """Early SD 1.x files lack `text_model.`; some merged SDXL files have the projection as transformers has it."""
    single = join_single_file(states(tiny_parts), family)
    spelled = {name.replace(".transformer.text_model.", ".transformer."): tensor for name, tensor in single.items()}
    projection = "conditioner.embedders.1.model.text_projection"
    if projection in spelled:
        spelled[f"{projection}.weight"] = spelled.pop(projection).T
    assert spelled.keys() != single.keys()
    path = write_safetensors(tmp_path / "model.safetensors", spelled, {})
    with open_tensors(path) as reader:
        for part in [part for part in tiny_parts if part.startswith("text")]:
            expected = tiny_parts[part].state_dict()
            assert_same(fit_clip_names(read_part(reader, part, family), expected), expected)


def test_a_missing_part_is_named(family, tiny_parts, tmp_path):
    unet_only = join_single_file({"denoiser": tiny_parts["denoiser"].state_dict()}, family)
    path = write_safetensors(tmp_path / "unet.safetensors", unet_only, {})
    with open_tensors(path) as reader:
        assert parts_in(list(reader.keys()), family) == ["denoiser"]
        with pytest.raises(ModelFileError, match=r"no text encoder in .*unet\.safetensors"):
            read_part(reader, "text_1", family)
        with pytest.raises(ModelFileError, match=r"no VAE in .*unet\.safetensors"):
            read_vae(reader)
