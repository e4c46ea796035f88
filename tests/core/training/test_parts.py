"""Which parts train by default, at which rates, and when they stop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from core.config.lora import LoraConfig
from core.config.sections import Parts
from core.settings.checks import validate
from core.settings.duration import steps_of
from core.training.events import Started, Step, read_events
from core.training.rates import stop_of


def test_default_is_what_the_family_trains() -> None:
    parts = Parts()
    assert parts.trained() == ["denoiser"]
    assert parts.trained(("denoiser", "text_1")) == ["denoiser", "text_1"]
    assert parts.decided(("text_1",)).trained() == ["text_1"]
    chosen = Parts.model_validate({"text_2": {"train": True}, "denoiser": {"train": False}})
    assert chosen.trained(("denoiser", "text_1")) == ["text_1", "text_2"]


@pytest.mark.parametrize(
    ("text", "steps"),
    [("", None), ("7 steps", 7), ("1 step", 1), ("2 epochs", 25), ("1 epoch", 10), ("9 epochs", None)],
)
def test_stops(text: str, steps: int | None) -> None:
    assert stop_of(text, [10, 25, 30]) == steps


@pytest.mark.parametrize("text", ["5", "five steps", "0 steps", "2 hours", "-1 epochs", "1.5 epochs"])
def test_a_stop_that_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="steps"):
        steps_of(text)


def problems_of(changes: Mapping[str, Any]) -> dict[str, str]:
    data = {"base": {"source": "x"}, "concepts": [{"folder": "y"}], **changes}
    return {problem.path: problem.message for problem in validate(LoraConfig, data)[1]}


def test_contradictions_are_named_with_both_settings() -> None:
    none_trained = problems_of({"parts": {"text_1": {"train": False, "stop_after": "1 epoch"}}})
    assert "train is no" in none_trained["parts.text_1.stop_after"]
    all_stop = problems_of({"parts": {"denoiser": {"stop_after": "1 epoch"}}})
    assert "every part" in all_stop["parts.denoiser.stop_after"]
    zero = problems_of({"parts": {"denoiser": {"learning_rate": 0.0}}})
    assert "nothing would be learned" in zero["parts.denoiser.learning_rate"]
    fused = {"fused_backward": True}
    assert "max_grad_norm" in problems_of({"memory": fused})["memory.fused_backward"]
    unclipped = {"max_grad_norm": 0.0}
    several = problems_of({"memory": fused, "training": unclipped | {"gradient_accumulation_steps": 2}})
    assert "gradient_accumulation_steps" in several["memory.fused_backward"]
    together = problems_of({"memory": fused, "training": unclipped, "optimizer": {"name": "prodigy"}})
    assert "optimizer.name" in together["memory.fused_backward"]
    halved = problems_of({"memory": fused | {"precision": "fp16"}, "training": unclipped})
    assert "fp16" in halved["memory.fused_backward"]
    assert problems_of({"memory": fused, "training": unclipped}) == {}


def test_a_part_that_stops_keeps_its_weights(train: Callable[..., Any], tmp_path: Path) -> None:
    both = {"denoiser": {"train": "yes"}, "text_1": {"train": "yes", "stop_after": "1 epoch"}}
    job, _ = train("sd15", {"parts": both, "saving": {"every": "1 epoch"}})
    events = read_events(job.workspace / "events.jsonl")[0]
    rates = [event.learning_rates["text_1"] for event in events if isinstance(event, Step)]
    assert all(rates[:4])
    assert rates[4:] == [0.0] * 4
    early, late = (load_file(path) for path in sorted((tmp_path / "run" / "output").glob("*.safetensors")))
    text = [name for name in early if name.startswith("lora_te")]
    assert text
    assert all(early[name].equal(late[name]) for name in text)
    assert not all(early[name].equal(late[name]) for name in early if name.startswith("lora_unet"))


def test_what_is_trained_by_default(train: Callable[..., Any], tmp_path: Path) -> None:
    def trained_weights(parts: dict[str, Any]) -> int:
        job, _ = train(
            "sd15",
            {
                "parts": parts,
                "training": {"max_steps": 1},
                "saving": {"workspace": str(tmp_path / str(len(parts) and parts["text_1"]["train"]))},
            },
        )
        return next(e.trained_weights for e in read_events(job.workspace / "events.jsonl")[0] if isinstance(e, Started))

    both = trained_weights({"text_1": {"train": "default"}})
    assert both == trained_weights({"text_1": {"train": "yes"}, "denoiser": {"train": "yes"}})
    assert both > trained_weights({"text_1": {"train": "no"}})
