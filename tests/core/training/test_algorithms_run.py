"""Every algorithm in a whole run: bf16, gradient checkpointing, dropouts, a plain LoRA beside, going on after it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.torch import load_file

from core.manager.training_executor import Job
from core.registry import registry
from core.training.events import Event, Finished, Message, Step, read_events

Train = Callable[..., tuple[Job, Event | None]]

ADAPTERS = [name for name, cls in registry("networks").all().items() if cls.adapts]
SIZES: dict[str, dict[str, Any]] = {
    "oft": {"block_size": 4, "rescaled": True},
    "boft": {"block_size": 4, "constraint": 0.01},
    "lokr": {"factor": 4, "rank": 2},
    "loha": {"decompose": True, "rank": 2},
    "locon": {"tucker": True, "rank": 2},
    "dylora": {"block_size": 2, "rank": 4},
}


@pytest.mark.parametrize("name", ADAPTERS)
def test_it_trains_and_saves(name: str, train: Train) -> None:
    cls: Any = registry("networks").get(name)
    network = {"name": name, "module_dropout": 0.1, "dropout": 0.1, **SIZES.get(name, {})}
    plain = "save_plain" in cls.model_fields and not cls(**network).is_plain()
    if plain:
        network |= {"save_plain": True, "plain_rank": 4}
    part = {"train": "yes", "learning_rate": 1e-2}
    changes = {
        "networks": [network],
        "parts": {"denoiser": part, "text_1": part},
        "training": {"max_steps": 2},
        "memory": {"precision": "bf16", "gradient_checkpointing": True},
    }
    job, ending = train("sd15", changes)
    assert isinstance(ending, Finished), ending
    events = read_events(job.workspace / "events.jsonl")[0]
    assert len([event for event in events if isinstance(event, Step)]) == 2
    told = [event.text for event in events if isinstance(event, Message)]
    assert not any("changes nothing" in text for text in told)
    assert any(text.startswith("The plain LoRA beside it") for text in told) == plain
    saved = Path(ending.path)
    beside = saved.with_stem(f"{saved.stem}_plain")
    assert beside.is_file() == plain
    if plain:
        assert {key.rpartition(".lora_")[2] for key in load_file(beside) if ".lora_" in key} == {
            "down.weight",
            "up.weight",
        }
        with safe_open(beside, "pt") as file:
            assert file.metadata()["ss_network_module"] == "networks.lora"
    assert all(tensor.isfinite().all() for tensor in load_file(saved).values())
