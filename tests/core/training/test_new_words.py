"""Embeddings in whole runs: alone, with a LoRA, stopped early; and what is told before the start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from core.config.lora import LoraConfig
from core.config.toml_file import set_values, to_data
from core.manager.config_generator import ConfigGenerator
from core.registry import registry
from core.settings.checks import validate
from core.training.events import Finished, Saved, Step

WORD = {"name": "embedding", "token": "zqx", "vectors": 2, "learning_rate": 0.01}
READ = {"concept": {"trigger_word": "zqx"}, "training": {"max_steps": 3}}
LORA = {"name": "lora", "rank": 4, "alpha": 4}

Train = Callable[..., Any]


def problems(**values: Any) -> dict[str, str]:
    data = {"base": {"source": "x"}, "concepts": [{"folder": "y"}], **values}
    return {problem.path: problem.message for problem in validate(LoraConfig, data)[1]}


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_alone_it_is_the_only_thing_that_is_written(family: str, train: Train, tmp_path: Path) -> None:
    job, ending = train(family, READ | {"networks": [WORD]})
    assert isinstance(ending, Finished), ending
    assert Path(ending.path) == tmp_path / "run" / "output" / "my_lora_zqx.safetensors"
    assert [path.name for path in Path(ending.path).parent.glob("*.safetensors")] == ["my_lora_zqx.safetensors"]
    tensors = load_file(ending.path)
    assert {name: tensor.shape[0] for name, tensor in tensors.items()} == (
        {"emb_params": 2} if family == "sd15" else {"clip_l": 2, "clip_g": 2}
    )
    rates = [event.learning_rates for event in job.events()[0] if isinstance(event, Step)]
    assert set(rates[0]) == {f"embedding zqx {part}" for part in registry("families").get(family).text_parts}


def test_with_a_lora_both_learn_and_each_has_its_file(train: Train, tmp_path: Path) -> None:
    stopping = WORD | {"stop_after": "2 steps"}
    job, ending = train("sd15", READ | {"networks": [LORA, stopping], "saving": {"every": "1 step"}})
    assert isinstance(ending, Finished), ending
    assert Path(ending.path).name == "my_lora.safetensors"
    assert any(tensor.any() for name, tensor in load_file(ending.path).items() if "lora_up" in name)
    saved = [event for event in job.events()[0] if isinstance(event, Saved)]
    vectors = [load_file(event.beside[0])["emb_params"] for event in saved]
    assert not torch.equal(vectors[0], vectors[1])
    assert torch.equal(vectors[1], vectors[2]), "it stopped after two steps"


def test_bundled_it_is_in_the_lora(train: Train) -> None:
    _, ending = train("sd15", READ | {"networks": [LORA, WORD | {"file": "bundled"}]})
    assert isinstance(ending, Finished), ending
    assert "bundle_emb.zqx.string_to_param.*" in load_file(ending.path)


def test_a_template_has_the_word_in_its_place(train: Train, tmp_path: Path) -> None:
    text = {"prompt_source": "subject_template"}
    _, ending = train("sd15", READ | {"networks": [WORD], "concept": {"trigger_word": "zqx", "text": text}})
    assert isinstance(ending, Finished), ending


def test_a_word_that_nobody_reads_is_told_before_the_first_step(train: Train) -> None:
    _, ending = train("sd15", {"networks": [WORD], "training": {"max_steps": 1}})
    assert "no caption has the word zqx" in str(ending)


def test_a_word_that_exists_is_told_before_the_start() -> None:
    changes = {"base.source": "somebody/model", "base.family": "sd15", "concepts.0.folder": "y"}
    data = set_values(to_data(LoraConfig()), changes) | {"networks": [WORD | {"token": "Cat"}]}
    found = {problem.path: problem.message for problem in ConfigGenerator().validate(data)[1]}
    assert "knows the word Cat already" in found["networks.0.token"]


def test_contradictions() -> None:
    assert "two embeddings" in problems(networks=[WORD, WORD | {"token": "ZQX"}])["networks.1.token"]
    assert "one network that changes layers" in problems(networks=[LORA, {"name": "locon"}])["networks"]
    assert problems(networks=[])["networks"].startswith("there is nothing to train")
    assert "nothing would be learned" in problems(networks=[WORD | {"learning_rate": 0.0}])["networks.0.learning_rate"]
    prodigy = problems(networks=[WORD | {"learning_rate": 1e-3}], optimizer={"name": "prodigy"})
    assert "needs a rate from" in prodigy["networks.0.learning_rate"]
    assert "steps or epochs" in problems(networks=[WORD | {"stop_after": "3 hours"}])["networks.0.stop_after"]
    averaging = {"networks": [LORA | {"weight_dtype": "bf16"}]}
    names = registry("optimizers").names()
    averaging["optimizer"] = {"name": next(name for name in names if "free" in name and "adamw" in name)}
    assert "needs fp32" in problems(schedule={"name": "constant"}, **averaging)["networks.0.weight_dtype"]


def test_more_layers_left_out_than_there_are(train: Train) -> None:
    _, ending = train("sd15", {"parts": {"text_1": {"train": "no", "layer_skip": 9}}, "training": {"max_steps": 1}})
    assert "has 3 layers, and 9 of them would be left out" in str(ending)
