"""Whole runs on tiny models: what comes out, what may change nothing, what stops a run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from core.contracts import Model
from core.errors import SettingsError, TrainingError
from core.families._saving import save_folder
from core.manager.training_executor import Job, TrainingExecutor
from core.registry import registry
from core.training.events import Event, Failed, Finished, Message, Sampled, Step, Stopped
from core.training.lora_file import check_finite

Train = Callable[..., tuple[Job, Event | None]]


def result(train: Train, *arguments: Any) -> dict[str, torch.Tensor]:
    """The LoRA that a run makes."""
    _, ending = train(*arguments)
    assert isinstance(ending, Finished), ending
    return load_file(ending.path)


def events_of(job: Job, kind: type[Event]) -> list[Any]:
    return [event for event in job.events()[0] if isinstance(event, kind)]


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], tolerance: float = 0) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(
            tensor, other[name], rtol=tolerance, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_a_run_tells_what_it_does_and_leaves_everything_in_its_place(family: str, train: Train, tmp_path: Path) -> None:
    prompts = {"sampling": {"prompts": [{"prompt": "{trigger} on blue", "width": 64, "height": 64}], "steps": 2}}
    job, ending = train(family, prompts | {"logging": {"tensorboard": True}})
    assert isinstance(ending, Finished), ending
    steps = events_of(job, Step)
    assert [event.step for event in steps] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [event.epoch for event in steps] == [1] * 4 + [2] * 4
    assert sum(event.images for event in steps) == 12
    assert steps[0].learning_rates["denoiser"] == pytest.approx(1e-4)
    assert [event.step for event in events_of(job, Sampled)] == [0, 4, 8]
    assert events_of(job, Sampled)[0].prompts == ["ohx on blue"]
    inside = {path.name for path in (tmp_path / "run").iterdir()}
    assert inside == {
        "run.toml", "run.lock", "manifest.json", "events.jsonl", "backups", "samples", "tensorboard", "output",
        "comparison.png",
    }  # fmt: skip
    assert Path(ending.path) == tmp_path / "run" / "output" / "my_lora.safetensors"
    assert job.state == "finished"


def test_all_parts_train_and_only_those_that_are_on(train: Train) -> None:
    both = {"parts": {"text_1": {"train": True, "learning_rate": 1e-3}}}
    trained = result(train, "sd15", both)
    ups = {name: tensor for name, tensor in trained.items() if name.endswith("lora_up.weight")}
    assert any(name.startswith("lora_te_text_model_encoder_layers_0_") for name in ups)
    assert any(name.startswith("lora_unet_down_blocks_0_attentions_0_") for name in ups)
    assert all(tensor.any() for tensor in ups.values())


def test_the_file_has_kohyas_metadata(train: Train) -> None:
    _, ending = train("sdxl", {"weightings": [{"name": "min_snr", "gamma": 5.0}]})
    assert isinstance(ending, Finished)
    with safe_open(ending.path, "pt") as file:
        metadata = file.metadata()
    expected = {
        "ss_base_model_version": "sdxl_base_v1-0",
        "ss_network_module": "networks.lora",
        "ss_network_dim": "4",
        "ss_network_alpha": "4.0",
        "ss_output_name": "my_lora",
        "ss_steps": "8",
        "ss_epoch": "2",
        "ss_num_train_images": "6",
        "ss_min_snr_gamma": "5.0",
        "ss_seed": "42",
        "ss_v2": "False",
        "modelspec.architecture": "stable-diffusion-xl-v1-base/lora",
        "modelspec.prediction_type": "epsilon",
        "modelspec.trigger_phrase": "ohx",
    }
    assert {name: metadata.get(name) for name in expected} == expected
    assert '"a ball": 6' in metadata["ss_tag_frequency"]
    assert len(metadata["sshs_model_hash"]) == 64


# -- settings that cost time or memory must not change the numbers


@pytest.mark.parametrize("memory", [{"latent_caching": False}, {"text_caching": False}], ids=str)
def test_caching_changes_nothing(memory: dict[str, bool], train: Train, tmp_path: Path) -> None:
    """With as many versions of a picture kept as it is shown times. (Kept versions of captions are drawn otherwise.)"""
    concept = {"image": {"flip": "random"}, "image_variations": 2, "text": {"caption_dropout": 0.2}}
    with_cache = result(train, "sd15", {"concept": concept})
    changes = {"concept": concept, "memory": memory, "saving": {"workspace": str(tmp_path / "other")}}
    assert_equal(with_cache, result(train, "sd15", changes))


def test_checkpointing_changes_nothing_but_the_last_bits(train: Train, tmp_path: Path) -> None:
    plain = result(train, "sd15", {"memory": {"gradient_checkpointing": False}})
    saving = {"saving": {"workspace": str(tmp_path / "other")}}
    assert_equal(plain, result(train, "sd15", {"memory": {"gradient_checkpointing": True}, **saving}), 1e-6)


def test_accumulation_is_a_larger_batch(train: Train, tmp_path: Path) -> None:
    buckets = {"aspect_ratio_bucketing": False, "remainder": "drop"}
    big = {"training": {"train_batch_size": 6, "epochs": 3}, "buckets": buckets}
    small = {"training": {"train_batch_size": 2, "gradient_accumulation_steps": 3, "epochs": 3}, "buckets": buckets}
    one = result(train, "sd15", big)
    other = result(train, "sd15", {**small, "saving": {"workspace": str(tmp_path / "other")}})
    assert_equal(one, other, 2e-5)


# -- what stops a run


@pytest.mark.parametrize("fused", [False, True])
def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_pictures(
    fused: bool, train: Train, tmp_path: Path
) -> None:
    model: Model = registry("families").get("sd15")().tiny()
    with torch.no_grad():
        model.parts["denoiser"].conv_out.weight.fill_(1e30)  # type: ignore[union-attr,operator]
    base = save_folder(model, tmp_path / "broken")
    changes = {"memory": {"fused_backward": True}, "training": {"max_grad_norm": 0.0}} if fused else {}
    job, ending = train("sd15", {"base": {"source": str(base)}, **changes})
    assert isinstance(ending, Failed)
    assert "at step 1, with" in ending.what and "not touched" in ending.why
    assert ".png" in ending.what
    assert not (tmp_path / "run" / "backups").exists()
    assert not (tmp_path / "run" / "output").exists()
    assert job.state == "failed"


def test_stop_backs_up_and_the_run_goes_on(train: Train, run_toml: Callable[..., Path], tmp_path: Path) -> None:
    whole = result(train, "sd15", {"saving": {"workspace": str(tmp_path / "whole")}})
    path = run_toml("sd15")
    job = TrainingExecutor().start(path)
    while not events_of(job, Step):
        pass
    job.stop()
    ending = job.wait(60)
    assert isinstance(ending, Stopped), ending
    assert job.state == "stopped"
    assert 0 < ending.step < 8
    again = TrainingExecutor().start(path)
    finished = again.wait(60)
    assert isinstance(finished, Finished), finished
    assert_equal(whole, load_file(finished.path))
    assert [event.step for event in events_of(again, Step)] == list(range(1, 9))


def test_two_runs_of_one_process_do_not_meet(train: Train, tmp_path: Path) -> None:
    first = result(train, "sd15")
    bf16 = {"memory": {"precision": "bf16"}, "training": {"seed": 7}, "saving": {"workspace": str(tmp_path / "second")}}
    assert result(train, "sdxl", bf16)
    again = result(train, "sd15", {"saving": {"workspace": str(tmp_path / "third")}})
    assert_equal(first, again)


def test_a_backup_can_be_the_base_of_another_run(train: Train, tmp_path: Path) -> None:
    job, _ = train("sd15")
    backup = next((job.workspace / "backups").iterdir())
    changes = {"base": {"source": str(backup)}, "training": {"max_steps": 1, "seed": 5}}
    changes["parts"] = {"denoiser": {"learning_rate": 1e-30}}
    later = result(train, "sd15", {**changes, "saving": {"workspace": str(tmp_path / "later")}})
    earlier = load_file(job.workspace / "output" / "my_lora.safetensors")
    assert_equal(earlier, later)


def test_an_update_of_zero_is_told(train: Train) -> None:
    job, _ = train("sd15", {"parts": {"denoiser": {"learning_rate": 1e-30}}, "saving": {"dtype": "fp16"}})  # has none
    assert any("changes nothing" in event.text for event in events_of(job, Message))


@pytest.mark.parametrize(("value", "reason"), [(1e5, "too large for it"), (float("nan"), "is broken")])
def test_what_is_not_finite_is_not_saved(value: float, reason: str) -> None:
    exact = {"lora_up.weight": torch.tensor([value])}
    with pytest.raises(TrainingError, match=reason):
        check_finite(exact, {name: tensor.half() for name, tensor in exact.items()}, "fp16")


def test_a_result_that_cannot_be_written_is_not_lost(
    train: Train, run_toml: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("a file where the folder should be")
    destination = str(tmp_path / "taken" / "deeper" / "ball.safetensors")
    _, ending = train("sd15", {"saving": {"destination": destination}})
    assert isinstance(ending, Failed)
    assert destination in ending.what
    job = TrainingExecutor().start(run_toml("sd15", {"saving": {"destination": str(tmp_path / "ball.safetensors")}}))
    assert isinstance(job.wait(60), Finished)
    assert (tmp_path / "ball.safetensors").exists()
    assert [event.step for event in events_of(job, Step)] == list(range(1, 9))


def test_a_precision_that_the_machine_lacks_is_told_before_the_start(
    run_toml: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "-1")
    with pytest.raises(SettingsError) as refused:
        TrainingExecutor().start(run_toml("sd15", {"memory": {"precision": "fp16"}}))
    (problem,) = refused.value.problems
    assert problem.path == "memory.precision" and problem.replacement == {"memory.precision": "fp32"}
    assert not (tmp_path / "run" / "events.jsonl").exists()
