"""What a LoRA's file tells: held against kohya's list, ModelSpec's, and what A1111 reads."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save

from core.config.lora import LoraConfig
from core.config.toml_file import read_config
from core.errors import SettingsError
from core.manager.training_executor import TrainingExecutor
from core.settings.checks import load
from core.training.events import Message, Sampled
from core.training.loop import Progress
from core.training.lora_file import beside_metadata, changes_nothing, write_lora
from core.training.setup import Run

MakeRun = Callable[..., Run]

# the names of train_network.py in kohya's sd-scripts, revision 48d368fa
KOHYA = [
    "session_id",
    "training_started_at",
    "training_finished_at",
    "output_name",
    "learning_rate",
    "text_encoder_lr",
    "unet_lr",
    "num_train_images",
    "num_validation_images",
    "num_reg_images",
    "num_batches_per_epoch",
    "num_epochs",
    "epoch",
    "steps",
    "gradient_checkpointing",
    "gradient_accumulation_steps",
    "max_train_steps",
    "lr_warmup_steps",
    "lr_scheduler",
    "network_module",
    "network_dim",
    "network_alpha",
    "network_dropout",
    "network_args",
    "mixed_precision",
    "full_fp16",
    "v2",
    "base_model_version",
    "clip_skip",
    "max_token_length",
    "cache_latents",
    "seed",
    "lowram",
    "noise_offset",
    "noise_offset_random_strength",
    "multires_noise_iterations",
    "multires_noise_discount",
    "adaptive_noise_scale",
    "zero_terminal_snr",
    "training_comment",
    "optimizer",
    "max_grad_norm",
    "caption_dropout_rate",
    "caption_dropout_every_n_epochs",
    "caption_tag_dropout_rate",
    "face_crop_aug_range",
    "prior_loss_weight",
    "min_snr_gamma",
    "scale_weight_norms",
    "ip_noise_gamma",
    "ip_noise_gamma_random_strength",
    "debiased_estimation",
    "loss_type",
    "huber_schedule",
    "huber_scale",
    "huber_c",
    "fp8_base",
    "fp8_base_unet",
    "validation_seed",
    "validation_split",
    "max_validation_steps",
    "validate_every_n_epochs",
    "validate_every_n_steps",
    "resize_interpolation",
    "datasets",
    "tag_frequency",
    "dataset_dirs",
    "reg_dataset_dirs",
    "bucket_info",
    "batch_size_per_device",
    "total_batch_size",
    "resolution",
    "color_aug",
    "flip_aug",
    "random_crop",
    "shuffle_caption",
    "enable_bucket",
    "bucket_no_upscale",
    "min_bucket_reso",
    "max_bucket_reso",
    "keep_tokens",
    "sd_model_name",
]
NOT_OURS = {"sd_scripts_commit_hash"}  # a revision of kohya's own


def written(run: Run, path: Path, step: int = 3) -> dict[str, str]:
    """The metadata of a file that a run writes; its weights are changed first."""
    for parameter in run.parameters:
        parameter.data = torch.full(parameter.shape, 0.01)
    write_lora(run, path, Progress(step=step, epoch=1))
    return metadata_of(path)


def metadata_of(path: Path) -> dict[str, str]:
    with safe_open(path, "pt") as file:
        return file.metadata()


def test_every_entry_of_kohyas_is_there_as_text(make_run: MakeRun, tmp_path: Path) -> None:
    found = written(make_run(), tmp_path / "a.safetensors")
    assert {name for name in KOHYA if f"ss_{name}" not in found} == set()
    assert not any(f"ss_{name}" in found for name in NOT_OURS)
    assert all(isinstance(value, str) for value in found.values())
    # Python's own words, as kohya's `str()` has it
    expected = {
        "cache_latents": "True", "clip_skip": "None", "full_fp16": "False", "noise_offset": "None",
        "text_encoder_lr": "None", "resolution": "(128, 128)", "v2": "False", "mixed_precision": "no",
        "learning_rate": "0.0001", "loss_type": "l2", "debiased_estimation": "False", "huber_c": "None",
        "zero_terminal_snr": "False", "steps": "3", "epoch": "1", "max_train_steps": "8", "num_batches_per_epoch": "4",
    }  # fmt: skip
    assert {name: found[f"ss_{name}"] for name in expected} == expected


def test_the_entries_are_what_the_run_did(make_run: MakeRun, tmp_path: Path, pictures: Path) -> None:
    (tmp_path / "rest").mkdir()
    Image.new("RGB", (128, 128), "green").save(tmp_path / "rest" / "one.png")
    changes: dict[str, Any] = {
        "concept": {
            "image": {"flip": "random", "hue": "random", "crop_jitter": True},
            "text": {
                "shuffle_tags": True, "keep_tags": 2, "caption_dropout": 0.1, "tag_dropout": "random",
                "tag_dropout_probability": 0.2, "prefix": "by me",
            },
        },
        "more_concepts": [{"folder": str(tmp_path / "rest"), "kind": "regularisation", "loss_weight": 0.5}],
        "parts": {"text_1": {"train": "yes", "learning_rate": 3e-5}},
        "noise": {"noise_offset": 0.05, "multires_noise_iterations": 6, "ip_noise_gamma": 0.1},
        "losses": [{"name": "l2", "weight": 0.5}, {"name": "huber", "weight": 2.0, "huber_schedule": "snr"}],
        "weightings": [{"name": "debiased"}],
        "networks": [{"name": "lora", "rank": 4, "alpha": 2.0, "dropout": 0.1, "max_norm": 1.5}],
        "training": {"train_batch_size": 2, "gradient_accumulation_steps": 3, "max_grad_norm": 0.5, "seed": 7},
        "validation": {"share": 0.3, "every": "2 epochs", "seed": 9},
        "base": {"clip_skip": 2, "max_token_length": 150},
        "metadata": {"comment": "a note"},
        "optimizer": {"name": "adamw", "weight_decay": 0.02},
        "schedule": {"name": "constant", "warmup_steps": 1},
    }  # fmt: skip
    found = written(make_run(changes), tmp_path / "a.safetensors")
    expected = {
        "unet_lr": "0.0001", "text_encoder_lr": "3e-05", "noise_offset": "0.05", "multires_noise_iterations": "6",
        "multires_noise_discount": "0.3", "ip_noise_gamma": "0.1", "loss_type": "0.5 l2 + 2 huber",
        "huber_schedule": "snr", "huber_c": "0.1", "debiased_estimation": "True", "min_snr_gamma": "None",
        "network_dim": "4", "network_alpha": "2.0", "network_dropout": "0.1", "scale_weight_norms": "1.5",
        "batch_size_per_device": "2", "total_batch_size": "6", "gradient_accumulation_steps": "3",
        "max_grad_norm": "0.5", "seed": "7", "validation_split": "0.3", "validation_seed": "9",
        "validate_every_n_epochs": "2", "validate_every_n_steps": "None", "num_validation_images": "2",
        "clip_skip": "2", "max_token_length": "150", "training_comment": "a note", "caption_dropout_rate": "0.1",
        "caption_tag_dropout_rate": "0.2", "prior_loss_weight": "0.5", "flip_aug": "True", "color_aug": "True",
        "random_crop": "True", "shuffle_caption": "True", "keep_tokens": "2", "lr_scheduler": "constant",
        "lr_warmup_steps": "1", "base_model_version": "sd_v1", "network_module": "networks.lora",
    }  # fmt: skip
    assert {name: found[f"ss_{name}"] for name in expected} == expected
    assert found["ss_optimizer"].startswith("torch.optim.adamw.AdamW(") and "weight_decay=0.02" in found["ss_optimizer"]
    (dataset,) = json.loads(found["ss_datasets"])
    assert dataset["is_dreambooth"] and dataset["resolution"] == [128, 128]
    assert [subset["is_reg"] for subset in dataset["subsets"]] == [False, True]
    assert (
        dataset["subsets"][0] | {"img_count": 4, "image_dir": pictures.name, "class_tokens": "ohx"}
        == dataset["subsets"][0]
    )


def test_what_a1111_reads_is_there(make_run: MakeRun, tmp_path: Path, pictures: Path) -> None:
    """Its networks.py and ui_edit_user_metadata.py: the alias, the kind of model, the hash, tags, buckets, folders."""
    found = written(make_run(family="sdxl"), tmp_path / "a.safetensors")
    assert found["ss_output_name"] == "my_lora"
    assert found["ss_base_model_version"].startswith("sdxl_")
    frequency = json.loads(found["ss_tag_frequency"])
    assert frequency[pictures.name]["a ball"] == 6
    buckets = json.loads(found["ss_bucket_info"])["buckets"]
    assert sum(bucket["count"] for bucket in buckets.values()) == 6
    assert all(len(bucket["resolution"]) == 2 for bucket in buckets.values())
    assert json.loads(found["ss_dataset_dirs"]) == {pictures.name: {"n_repeats": 1, "img_count": 6}}
    assert float(found["ss_training_started_at"]) > 1.6e9


def test_modelspec_is_whole(make_run: MakeRun, tmp_path: Path) -> None:
    told = {
        "title": "Balls", "author": "me", "description": "Round & <red>", "license": "mit", "tags": "ball, round",
        "usage_hint": "0.8", "trigger_phrase": "ohx ball",
    }  # fmt: skip
    changes = {"metadata": told, "times": {"name": "uniform", "first": 100, "end": 900}, "base": {"clip_skip": 2}}
    run = make_run(changes)
    found = written(run, tmp_path / "a.safetensors")
    spec = {name.removeprefix("modelspec."): text for name, text in found.items() if name.startswith("modelspec.")}
    with (tmp_path / "a.safetensors").open("rb") as file:
        file.seek(8 + int.from_bytes(file.read(8), "little"))
        digest = hashlib.sha256(file.read()).hexdigest()
    assert spec.pop("date").count("-") == 2
    assert spec == told | {
        "sai_model_spec": "1.0.1", "architecture": "stable-diffusion-v1/lora", "implementation": "diffusers",
        "resolution": "128x128", "prediction_type": "epsilon", "timestep_range": "100,900", "encoder_layer": "2",
        "hash_sha256": f"0x{digest}",
    }  # fmt: skip
    assert found["sshs_model_hash"] == digest
    plain = save(
        _tensors(tmp_path / "a.safetensors"), {name: text for name, text in found.items() if name.startswith("ss_")}
    )
    assert found["sshs_legacy_hash"] == hashlib.sha256(plain[0x100000 : 0x100000 + 0x10000]).hexdigest()[:8]


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def test_what_nobody_said_is_not_told(make_run: MakeRun, tmp_path: Path) -> None:
    found = written(make_run(), tmp_path / "a.safetensors")
    spec = {name.removeprefix("modelspec.") for name in found if name.startswith("modelspec.")}
    assert spec == {
        "sai_model_spec", "architecture", "implementation", "title", "date", "resolution", "prediction_type",
        "trigger_phrase", "hash_sha256",
    }  # fmt: skip
    assert found["modelspec.title"] == "my_lora" and found["modelspec.trigger_phrase"] == "ohx"
    assert not any(str(tmp_path.parent) in text for text in found.values()), "a folder of this machine"


def test_minimal_is_what_programs_need_and_what_the_user_wrote(make_run: MakeRun, tmp_path: Path) -> None:
    found = written(make_run({"metadata": {"minimal": True, "author": "me"}}), tmp_path / "a.safetensors")
    assert set(found) == {
        "ss_v2", "ss_base_model_version", "ss_network_module", "ss_network_dim", "ss_network_alpha", "ss_network_args",
        "sshs_model_hash", "sshs_legacy_hash", "modelspec.sai_model_spec", "modelspec.architecture",
        "modelspec.implementation", "modelspec.title", "modelspec.author", "modelspec.hash_sha256",
    }  # fmt: skip


# -- the config


def test_the_whole_config_is_the_runs_own(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run({"metadata": {"include_config": "all"}})
    found = written(run, tmp_path / "a.safetensors")
    assert load(LoraConfig, tomllib.loads(found["ochre_config"])) == run.config


def test_settings_alone_tell_of_no_folder(make_run: MakeRun, tmp_path: Path, bases: dict[str, Path]) -> None:
    (tmp_path / "secret place").mkdir()
    Image.new("RGB", (32, 32)).save(tmp_path / "secret place" / "cover.png")
    (tmp_path / "secret place" / "prompts.txt").write_text("a cat")
    changes = {
        "metadata": {"include_config": "settings", "cover": str(tmp_path / "secret place" / "cover.png")},
        "sampling": {"prompts_file": str(tmp_path / "secret place" / "prompts.txt")},
        "saving": {"destination": str(tmp_path / "secret place" / "out")},
        "training": {"epochs": 3},
    }
    found = written(make_run(changes), tmp_path / "a.safetensors")
    text = found["ochre_config"]
    kept = tomllib.loads(text)
    assert kept["training"]["epochs"] == 3 and kept["base"]["source"] == bases["sd15"].name
    assert "concepts" not in kept or kept["concepts"] == []
    assert "/" not in "".join(value for value in _strings(kept))


def _strings(data: Any) -> list[str]:
    if isinstance(data, str):
        return [data]
    inner = data.values() if isinstance(data, dict) else data if isinstance(data, list) else []
    return [text for value in inner for text in _strings(value)]


# -- the cover


def cover(found: dict[str, str]) -> Image.Image:
    start = "data:image/jpeg;base64,"
    assert found["modelspec.thumbnail"].startswith(start)
    return Image.open(io.BytesIO(base64.b64decode(found["modelspec.thumbnail"].removeprefix(start))))


def test_a_picture_of_the_users_is_kept_small(make_run: MakeRun, tmp_path: Path) -> None:
    Image.new("RGBA", (3000, 1500), (250, 10, 10, 255)).save(tmp_path / "mine.png")
    picture = cover(written(make_run({"metadata": {"cover": str(tmp_path / "mine.png")}}), tmp_path / "a.safetensors"))
    assert picture.size == (256, 128) and picture.format == "JPEG"
    assert all(abs(value - wanted) < 12 for value, wanted in zip(picture.getpixel((9, 9)), (250, 10, 10), strict=True))  # type: ignore[arg-type]


def test_the_last_sample_of_trained_weights_is_the_cover(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run({"metadata": {"cover": "last sample"}})
    assert "modelspec.thumbnail" not in written(run, tmp_path / "a.safetensors")
    for step, colour in ((0, "white"), (5, "red"), (10, "blue")):
        path = run.folder.samples / f"{step}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (64, 64), colour).save(path)
        run.folder.report(Sampled(step=step, paths=[f"samples/{step}.png"], prompts=["a"], rows=["00"]))
        found = written(run, tmp_path / f"{step}.safetensors")
        if step == 0:
            assert "modelspec.thumbnail" not in found, "of weights that learned nothing"
        else:
            red, _, blue = cover(found).getpixel((5, 5))  # type: ignore[misc]
            assert (red > 200, blue > 200) == (step == 5, step == 10)


def test_a_cover_that_vanished_costs_nothing_but_the_cover(make_run: MakeRun, tmp_path: Path) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "mine.png")
    run = make_run({"metadata": {"cover": str(tmp_path / "mine.png")}})
    (tmp_path / "mine.png").unlink()
    assert "modelspec.thumbnail" not in written(run, tmp_path / "a.safetensors")
    told = [event.text for event in run.told if isinstance(event, Message)]  # type: ignore[attr-defined]
    assert any("no cover picture" in text and "mine.png" in text for text in told)


def test_a_cover_that_is_none_is_told_before_the_start(run_toml: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "mine.png").write_text("no picture")
    for chosen, reason in ((tmp_path / "mine.png", "no picture"), (tmp_path / "gone.png", "No such file")):
        path = run_toml("sd15", {"metadata": {"cover": str(chosen)}})
        with pytest.raises(SettingsError, match=r"metadata\.cover.*\n?.*" + reason):
            TrainingExecutor().start(path)
        with pytest.raises(SettingsError, match=reason):
            TrainingExecutor().plan(read_config(LoraConfig, path))


# -- files beside


def test_a_plain_lora_beside_tells_of_itself() -> None:
    told = {
        "ss_network_module": "lycoris.kohya", "ss_network_dim": "4", "ss_network_args": '{"algo": "lokr"}',
        "ss_seed": "1", "modelspec.architecture": "stable-diffusion-v1/lora",
    }  # fmt: skip
    tensors = {
        "a.lora_down.weight": torch.ones(3, 8),
        "a.lora_up.weight": torch.ones(8, 3),
        "a.alpha": torch.tensor(3.0),
    }
    assert beside_metadata(told, tensors) == {
        "ss_network_module": "networks.lora", "ss_network_dim": "3", "ss_network_alpha": "3.0", "ss_network_args": "{}",
        "ss_seed": "1", "modelspec.architecture": "stable-diffusion-v1/lora",
    }  # fmt: skip
    more = tensors | {"b.lora_down.weight": torch.ones(5, 8), "b.alpha": torch.tensor(5.0)}
    assert beside_metadata(told, more)["ss_network_dim"] == beside_metadata(told, more)["ss_network_alpha"] == "Dynamic"


def test_an_embeddings_file_is_no_lora(make_run: MakeRun, tmp_path: Path) -> None:
    networks = [{"name": "embedding", "token": "ohxball", "vectors": 2}]
    run = make_run({"networks": networks, "concept": {"trigger_word": "ohxball"}})
    files = write_lora(run, tmp_path / "words.safetensors", Progress(step=1))
    assert [file.name for file in files] == ["words_ohxball.safetensors"]
    assert not (tmp_path / "words.safetensors").exists()
    found = metadata_of(files[0])
    assert found["modelspec.architecture"] == "stable-diffusion-v1/textual-inversion"
    assert found["modelspec.trigger_phrase"].startswith("ohxball")
    assert not any(name.startswith("ss_network") for name in found)


ONE, ZERO = torch.ones(2, 2), torch.zeros(2, 2)


@pytest.mark.parametrize(
    "layer, nothing",
    [
        ({"lora_up.weight": ZERO, "lora_down.weight": ONE, "alpha": ONE}, True),
        ({"lora_up.weight": ONE, "lora_down.weight": ONE, "alpha": ONE}, False),
        ({"hada_w1_a": ONE, "hada_w1_b": ONE, "hada_w2_a": ZERO, "hada_w2_b": ONE}, True),
        ({"hada_w1_a": ONE, "hada_w1_b": ONE, "hada_w2_a": ONE, "hada_w2_b": ONE}, False),
        ({"lokr_w1": ONE, "lokr_w2_a": ZERO, "lokr_w2_b": ONE}, True),
        ({"lokr_w1": ONE, "lokr_w2": ONE}, False),
        ({"a1.weight": ZERO, "a2.weight": ONE, "b1.weight": ZERO, "b2.weight": ONE}, True),
        ({"a1.weight": ZERO, "a2.weight": ONE, "b1.weight": ONE, "b2.weight": ONE}, False),
        ({"diff": ZERO, "diff_b": ONE}, False),
        ({"diff": ZERO}, True),
        ({"w_norm": ZERO, "b_norm": ZERO}, True),
        ({"oft_blocks": ZERO, "alpha": ONE}, True),
        ({"oft_blocks": ZERO, "rescale": ONE}, False),
        ({"weight": ZERO, "on_input": ONE}, True),
        ({"lora_up.weight": ZERO, "lora_down.weight": ONE, "dora_scale": ONE}, False),
        ({"emb_params": ONE}, False),
    ],
)
def test_a_lora_that_changes_nothing_is_known(layer: dict[str, torch.Tensor], nothing: bool) -> None:
    named = {f"lora_unet_a.{name}": tensor for name, tensor in layer.items()}
    assert changes_nothing(named) is nothing
    assert not changes_nothing(named | {"lora_unet_b.diff": ONE})
