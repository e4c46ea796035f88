"""Models from folders and single files: equal weights, wanted dtypes, part by part, and what is told of broken ones."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from core.errors import ModelFileError
from core.families._saving import save_single_file
from core.registry import registry


def same(module, other):
    ours, theirs = module.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def reader_of(family, folder):
    """The family with the tiny configs in place of the shipped ones, to read tiny single files."""
    return registry("families").get(family.name)(folder)


@pytest.mark.parametrize("kind", ["folder", "file", "ckpt"])
def test_what_was_saved_comes_back(family, saved, kind, tmp_path):
    model, folder, file = saved
    source = folder if kind == "folder" else file
    if kind == "ckpt":
        source = tmp_path / "model.ckpt"
        torch.save({"state_dict": load_file(file), "global_step": 3}, source)
    loaded = reader_of(family, folder).load(source, list(model.parts), {})
    for part, module in model.parts.items():
        assert same(loaded.parts[part], module), part
        tensors = [*loaded.parts[part].parameters(), *loaded.parts[part].buffers()]
        assert not any(tensor.is_meta or tensor.requires_grad for tensor in tensors)
        assert not loaded.parts[part].training
    assert loaded.tokenizers.keys() == set(family.text_parts)
    assert loaded.noise_schedule["beta_schedule"] == "scaled_linear"
    for part in family.text_parts:
        ours, theirs = family.encode_text(loaded, part, ["a cat"]), family.encode_text(model, part, ["a cat"])
        assert torch.equal(ours[0]["hidden"], theirs[0]["hidden"])


def test_parts_come_one_by_one_each_in_its_dtype(family, saved):
    _, folder, _ = saved
    text = family.load(folder, ["text_1"], {"text_1": torch.bfloat16})
    assert text.parts.keys() == {"text_1"} and text.tokenizers.keys() == {"text_1"}
    assert {weight.dtype for weight in text.parts["text_1"].parameters()} == {torch.bfloat16}
    unet = family.load(folder, ["denoiser"], {"denoiser": torch.float16})
    assert {weight.dtype for weight in unet.parts["denoiser"].parameters()} == {torch.float16}
    assert not unet.tokenizers and not family.load(folder, [], {}).parts


def test_a_vae_is_never_fp16(family, saved):
    _, folder, _ = saved
    for dtype, expected in ((torch.float16, torch.float32), (torch.bfloat16, torch.bfloat16)):
        vae = family.load(folder, ["vae"], {"vae": dtype}).parts["vae"]
        assert {weight.dtype for weight in vae.parameters()} == {expected}
        assert next(family.load_vae(folder, dtype).parameters()).dtype == expected


def test_a_vae_of_its_own(family, saved, tmp_path):
    model, folder, file = saved
    original = {
        name.removeprefix("first_stage_model."): tensor
        for name, tensor in load_file(file).items()
        if name.startswith("first_stage_model.")
    }
    save_file(original, tmp_path / "vae.safetensors")
    reader = reader_of(family, folder)
    diffusers_file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    for source in (tmp_path / "vae.safetensors", file, folder, folder / "vae", diffusers_file):
        assert same(reader.load_vae(source, torch.float32), model.parts["vae"]), source


@pytest.mark.parametrize("names", ["fp16", "bin", "shards"])
def test_other_spellings_of_a_folders_weights(family, saved, tmp_path, names):
    model, folder, _ = saved
    copy = shutil.copytree(folder, tmp_path / "copy")
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    state = load_file(weights)
    weights.unlink()
    if names == "fp16":
        save_file(state, copy / "unet" / "diffusion_pytorch_model.fp16.safetensors")
    elif names == "bin":
        torch.save(state, copy / "unet" / "diffusion_pytorch_model.bin")
    else:
        half = len(state) // 2
        for index, keys in enumerate((list(state)[:half], list(state)[half:]), start=1):
            path = copy / "unet" / f"diffusion_pytorch_model-{index:05d}-of-00002.safetensors"
            save_file({key: state[key] for key in keys}, path)
    assert same(family.load(copy, ["denoiser"], {}).parts["denoiser"], model.parts["denoiser"])


def test_unrounded_weights_come_before_rounded_ones(family, saved, tmp_path):
    model, folder, _ = saved
    copy = shutil.copytree(folder, tmp_path / "copy")
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    half = {name: tensor.half() for name, tensor in load_file(weights).items()}
    save_file(half, weights.with_name("diffusion_pytorch_model.fp16.safetensors"))
    assert same(family.load(copy, ["denoiser"], {}).parts["denoiser"], model.parts["denoiser"])


def test_v_prediction_is_read_from_files_and_folders(family, saved, tmp_path):
    model, folder, _ = saved
    assert family.load(folder, [], {}).prediction == "epsilon"
    config = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    model.prediction, model.zero_terminal_snr = "v_prediction", True
    file = save_single_file(model, tmp_path / "v.safetensors")
    model.prediction, model.zero_terminal_snr = "epsilon", False
    copy = shutil.copytree(folder, tmp_path / "copy")
    config |= {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
    (copy / "scheduler" / "scheduler_config.json").write_text(json.dumps(config))
    for source in (file, copy):
        loaded = family.load(source, [], {})
        assert (loaded.prediction, loaded.zero_terminal_snr) == ("v_prediction", True)


@pytest.mark.parametrize("fault", ["missing", "spare", "size"])
def test_weights_that_do_not_fit_are_named(family, saved, tmp_path, fault):
    _, folder, file = saved
    state = load_file(file)
    name = "model.diffusion_model.time_embed.0.bias"
    if fault == "missing":
        del state[name]
    elif fault == "spare":
        state["model.diffusion_model.extra.weight"] = torch.zeros(2)
    else:
        state[name] = torch.zeros(5)
    save_file(state, tmp_path / "broken.safetensors")
    words = {"missing": "missing", "spare": "don't belong", "size": r"another size .*\(5,\) instead of \(64,\)"}
    with pytest.raises(ModelFileError, match=f"UNet.*broken.safetensors.*{words[fault]}"):
        reader_of(family, folder).load(tmp_path / "broken.safetensors", ["denoiser"], {})


def test_a_model_of_another_size_is_told_so(family, saved):
    _, _, file = saved
    with pytest.raises(ModelFileError, match="another size"):
        family.load(file, ["vae"], {})


def test_a_folder_without_a_parts_weights(family, saved, tmp_path):
    _, folder, _ = saved
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "text_encoder" / "model.safetensors").unlink()
    with pytest.raises(ModelFileError, match=r"text encoder is missing.*no weights"):
        family.load(copy, ["text_1"], {})
    family.load(copy, ["vae"], {})
    shutil.rmtree(copy / "vae")
    with pytest.raises(ModelFileError, match="VAE is missing"):
        family.load(copy, ["vae"], {})


def test_a_damaged_tokenizer_is_told(family, saved, tmp_path):
    _, folder, _ = saved
    copy = shutil.copytree(folder, tmp_path / "copy")
    for path in (copy / "tokenizer").iterdir():
        path.write_text("{")
    with pytest.raises(ModelFileError, match="tokenizer"):
        family.load(copy, ["text_1"], {})


def test_the_text_encoders_of_a_single_file_get_clips_tokenizer(family, saved):
    model, folder, file = saved
    loaded = reader_of(family, folder).load(file, list(family.text_parts), {})
    for part in family.text_parts:
        for caption in ("a cat!", "émile, 1girl"):
            assert loaded.tokenizers[part](caption).input_ids == model.tokenizers[part](caption).input_ids


def test_the_other_family_refuses(family, saved):
    _, folder, file = saved
    other = registry("families").get({"sd15": "sdxl", "sdxl": "sd15"}[family.name])()
    for source in (folder, file):
        with pytest.raises(ModelFileError, match="is no"):
            other.load(source, ["vae"], {})
