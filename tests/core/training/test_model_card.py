"""The model card, as the hub's own library and a YAML reader see it; nothing that a user wrote breaks it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.repocard import metadata_load
from PIL import Image

from core.config.lora import LoraConfig
from core.manager.training_executor import Job
from core.settings.checks import load
from core.training.events import Event, Finished, Message, Sampled
from core.training.loop import Progress
from core.training.model_card import code, plain, write_model_card
from core.training.planning import check_destination
from core.training.setup import Run

MakeRun = Callable[..., Run]
Train = Callable[..., tuple[Job, Event | None]]

SMALL = {"width": 64, "height": 64}
HOSTILE = {
    "title": "Balls: ---\n# <script>alert(1)</script> | `x`",
    "author": "me [link](http://a) : {b}",
    "description": "first line\nsecond ![picture](http://tracker)\n---\nkey: value",
    "usage_hint": "<img src=x onerror=alert(1)>",
    "tags": "ball, a: b, 'quote\", - dash",
    "license": "my own: license",
    "trigger_phrase": 'ohx `tick` "quote" : #',
}
PROMPT = 'a "ball" ``` : # | <b>bold</b>\nnext'


def made(run: Run, folder: Path, prompts: list[str] | None = None, rows: list[str] | None = None) -> str:
    """The card of a run, with a grid of samples if there are prompts."""
    if prompts:
        names = rows or [f"{place:02d}" for place in range(len(prompts))]
        (run.folder.samples / "step-00000003").mkdir(parents=True)
        paths = [f"samples/step-00000003/{name}.png" for name in names]
        for path in paths:
            Image.new("RGB", (16, 16), "red").save(run.folder.path / path)
        run.folder.report(Sampled(step=3, paths=paths, prompts=prompts, rows=names))
    folder.mkdir(exist_ok=True)
    write_model_card(run, folder / "my_lora.safetensors", Progress(step=3, epoch=1))
    return (folder / "README.md").read_text(encoding="utf-8")


def test_the_hub_reads_what_a_run_writes(train: Train, tmp_path: Path) -> None:
    changes = {
        "metadata": {"model_card": True, "license": "openrail++", "tags": "ball, round", "author": "me"},
        "sampling": {"prompts": [{"prompt": "{trigger} on blue", **SMALL}, SMALL], "steps": 1},
        "ema": {"where": "device"},
    }
    job, ending = train("sdxl", changes)
    assert isinstance(ending, Finished), ending
    folder = Path(ending.path).parent
    data: Any = ModelCard.load(folder / "README.md").data
    assert data.license == "openrail++" and data.library_name == "diffusers"
    assert data.base_model == "stabilityai/stable-diffusion-xl-base-1.0"
    assert data.pipeline_tag == "text-to-image" and data.get("instance_prompt") == "ohx"
    assert {"lora", "diffusers", "text-to-image", "stable-diffusion-xl", "template:sd-lora", "ball", "round"} <= {
        *(data.tags or [])
    }
    assert data.get("widget") == [
        {"text": "ohx on blue", "output": {"url": "images/my_lora_00.png"}},
        {"text": " ", "output": {"url": "images/my_lora_01.png"}},
    ]
    samples = job.workspace / "samples" / "step-00000008"
    for place in ("00", "01"):
        copied = folder / "images" / f"my_lora_{place}.png"
        assert copied.read_bytes() == (samples / f"{place}.png").read_bytes()
    text = (folder / "README.md").read_text()
    assert 'load_lora_weights(".", weight_name="my_lora.safetensors")' in text
    assert "ComfyUI" in text and "| Steps | 8 \\(2 epochs\\) |" in text
    assert str(tmp_path) not in text
    assert any(event.text.endswith("README.md.") for event in job.events()[0] if isinstance(event, Message))


def test_nothing_that_a_user_wrote_breaks_it(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run({"metadata": {"model_card": True, **HOSTILE}})
    text = made(run, tmp_path / "out", [PROMPT, "b"])
    fences = [number for number, line in enumerate(text.splitlines()) if line == "---"]
    front = yaml.safe_load("\n".join(text.splitlines()[fences[0] + 1 : fences[1]]))
    assert front == metadata_load(tmp_path / "out" / "README.md")
    assert front["instance_prompt"] == HOSTILE["trigger_phrase"]
    assert front["widget"][0]["text"] == PROMPT
    assert front["license"] == "other" and front["license_name"] == "my own: license"
    assert front["tags"][-3:] == ["a: b", "'quote\"", "- dash"]
    body = text.split("---\n", 2)[2]
    lines = body.splitlines()
    begin, end = (place for place, line in enumerate(lines) if line.startswith("```"))  # nothing closed it earlier
    outside = "\n".join([*lines[:begin], *lines[end:]])
    for dangerous in ("<script", "<img", "![picture]", "[link](", "<b>"):
        assert dangerous not in outside
    (call,) = [line for line in lines[begin:end] if line.startswith("image = pipeline(")]
    assert eval(call.removeprefix("image = pipeline(").removesuffix(").images[0]")) == PROMPT
    rows = [line for line in lines if line.startswith("| ![]")]
    assert len(rows) == 2 and all(row.replace("\\|", "").count("|") == 3 for row in rows)


def test_without_samples_and_words_it_is_still_a_card(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run({"metadata": {"model_card": True}, "concept": {"trigger_word": ""}})
    text = made(run, tmp_path / "out")
    front = metadata_load(tmp_path / "out" / "README.md")
    assert front is not None and not {"widget", "instance_prompt", "license"} & front.keys()
    assert "Gallery" not in text and "## Trigger" not in text
    assert "# my\\_lora" in text


def test_only_the_main_weights_are_shown(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run({"metadata": {"model_card": True}})
    made(run, tmp_path / "out", ["a", "a"], ["00", "00-no-ema"])
    assert [path.name for path in (tmp_path / "out" / "images").iterdir()] == ["my_lora_00.png"]


def test_a_kind_that_diffusers_does_not_load_says_so(make_run: MakeRun, tmp_path: Path) -> None:
    networks: list[dict[str, Any]] = [{"name": "lokr", "rank": 4, "alpha": 4}]
    text = made(make_run({"metadata": {"model_card": True}, "networks": networks}), tmp_path / "out")
    assert "load_lora_weights" not in text and "diffusers: Refuses the file" in text.replace("\\", "")
    networks[0]["save_plain"] = True
    text = made(make_run({"metadata": {"model_card": True}, "networks": networks}), tmp_path / "plain")
    assert 'weight_name="my_lora_plain.safetensors"' in text


def test_off_it_is_not_written_and_a_failure_costs_only_the_card(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    write_model_card(run, tmp_path / "my_lora.safetensors", Progress())
    assert not (tmp_path / "README.md").exists()
    run = make_run({"metadata": {"model_card": True}})
    write_model_card(run, tmp_path / "nowhere" / "my_lora.safetensors", Progress())
    (told,) = [event for event in run.told if isinstance(event, Message) and event.level == "warning"]  # type: ignore[attr-defined]
    assert "The model card was not written." in told.text


@pytest.mark.parametrize("name", ["README.md", "images/ball_00.png"])
def test_a_card_that_is_there_is_a_problem_before_the_start(name: str, tmp_path: Path) -> None:
    def problems(**saving: Any) -> list[str]:
        data = {
            "base": {"source": "x"}, "concepts": [{"folder": "a"}], "metadata": {"model_card": True},
            "saving": {"destination": str(tmp_path / "ball.safetensors"), **saving},
        }  # fmt: skip
        return [problem.message for problem in check_destination(load(LoraConfig, data))]

    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "other_00.png").touch()
    assert problems() == []
    (tmp_path / name).touch()
    (told,) = problems()
    assert name in told
    assert problems(overwrite=True) == []


@pytest.mark.parametrize("text", ["a `tick`", "``", "plain", "`start", "two ``ticks`` here"])
def test_code_within_a_line_is_closed_by_nothing_inside(text: str) -> None:
    made = code(text)
    fence = made[: len(made) - len(made.lstrip("`"))]
    inner = made[len(fence) : -len(fence)]
    assert made.endswith(fence) and fence not in inner and inner.strip() == text


def test_plain_text_is_one_line_unless_it_may_be_more() -> None:
    assert plain("a\n b") == "a b" and plain("a\nb", lines=True) == "a\nb"
    assert plain("<a> | [b](c) `d` *e* _f_ #") == "&lt;a&gt; \\| \\[b\\]\\(c\\) \\`d\\` \\*e\\* \\_f\\_ \\#"
