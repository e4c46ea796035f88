"""Prompts from files: a prompt a line with kohya's flags, TOML, JSON; what is wrong is told with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.config.lora import LoraConfig
from core.settings.checks import load
from core.training.prompt_files import PromptFileError, problems_of, read_prompts

LINES = """\
# a comment, and an empty line follow

a cat, sitting --n dog, blurry --w 512 --h 768 --d 7 --s 28 --l 7.5 --ss k_euler_a
  a cat -- on a roof  --W 64 --D -1
"{trigger}", plain
"""


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def prompts(path: Path) -> list[dict[str, Any]]:
    """What differs from a prompt's defaults."""
    return [prompt.model_dump(exclude_defaults=True) for prompt in read_prompts(path).prompts]


def test_lines_with_kohyas_flags(tmp_path: Path) -> None:
    assert prompts(write(tmp_path, "p.txt", LINES)) == [
        {
            "prompt": "a cat, sitting", "negative": "dog, blurry", "width": 512, "height": 768, "seed": 7, "steps": 28,
            "guidance": 7.5, "sampler": "euler_a",
        },
        {"prompt": "a cat -- on a roof", "width": 64, "random_seed": True},
        {"prompt": '"{trigger}", plain'},
    ]  # fmt: skip


def test_kohyas_toml_and_ours(tmp_path: Path) -> None:
    kohya = """
[prompt]
width = 512
scale = 7
sample_steps = 40
[[prompt.subset]]
prompt = "a cat"
[[prompt.subset]]
prompt = "a dog"
negative_prompt = "cat"
scale = 5.5
sample_sampler = "dpmsolver++"
seed = 3
"""
    assert prompts(write(tmp_path, "kohya.toml", kohya)) == [
        {"prompt": "a cat", "width": 512, "guidance": 7.0, "steps": 40},
        {
            "prompt": "a dog", "negative": "cat", "width": 512, "guidance": 5.5, "steps": 40, "sampler": "dpm++_2m",
            "seed": 3,
        },
    ]  # fmt: skip
    ours = '[[sampling.prompts]]\nprompt = "a cat"\nsampler = "heun"\n'
    assert prompts(write(tmp_path, "run.toml", ours)) == [{"prompt": "a cat", "sampler": "heun"}]
    assert prompts(write(tmp_path, "bare.toml", ours.replace("sampling.", ""))) == [
        {"prompt": "a cat", "sampler": "heun"}
    ]


def test_json_of_kohya_and_of_onetrainer(tmp_path: Path) -> None:
    kohya = [{"prompt": "a cat", "sample_steps": 9}, "a dog --s 8 --n cat"]
    assert prompts(write(tmp_path, "kohya.json", json.dumps(kohya))) == [
        {"prompt": "a cat", "steps": 9},
        {"prompt": "a dog", "steps": 8, "negative": "cat"},
    ]
    onetrainer = {
        "__version": 0, "enabled": True, "prompt": "a cat", "negative_prompt": "", "height": 512, "width": 768,
        "frames": 1, "length": 10.0, "seed": 42, "random_seed": True, "diffusion_steps": 20, "cfg_scale": 6.0,
        "noise_scheduler": "DPMPP_SDE_KARRAS", "text_encoder_1_layer_skip": 0, "text_encoder_1_sequence_length": None,
        "sample_inpainting": False, "base_image_path": "", "mask_image_path": "",
    }  # fmt: skip
    path = write(tmp_path, "samples.json", json.dumps([onetrainer, onetrainer | {"enabled": False}]))
    assert prompts(path) == [
        {
            "prompt": "a cat", "height": 512, "width": 768, "seed": 42, "random_seed": True, "steps": 20,
            "guidance": 6.0, "sampler": "dpm++_2m_sde_karras",
        }
    ]  # fmt: skip


def test_what_other_kinds_of_models_take_is_told(tmp_path: Path) -> None:
    found = read_prompts(write(tmp_path, "p.txt", "a cat --g 3.5 --fs 3 --cn a.png --w 64"))
    assert [prompt.width for prompt in found.prompts] == [64]
    assert len(found.ignored) == 3 and all(text.startswith("line 1: --") for text in found.ignored)
    assert "flow" in found.ignored[1]
    found = read_prompts(write(tmp_path, "p.json", '[{"prompt": "a", "flow_shift": "3", "guidance_scale": 3.5}]'))
    assert [text.split(" is for")[0] for text in found.ignored] == ["prompt 1: flow_shift", "prompt 1: guidance_scale"]


@pytest.mark.parametrize(
    "name, text, said",
    [
        ("p.txt", "a cat\na dog --x 3", ["line 2: there is no flag --x; there are --n, --w"]),
        ("p.txt", "a --w big\n\na --s 0.5\nb --s", ["line 1: --w needs a whole", "line 3: --s needs a", "line 4: --s"]),
        ("p.txt", "a --w 500 --h 16000", ["line 1: width: must be a multiple of 8", "line 1: height: must be at most"]),
        ("p.txt", "a --ss magic", ["line 1: sampler: must be one of"]),
        ("p.txt", "a --l 0.5", ["line 1: guidance: "]),
        ("p.txt", "# nothing\n", ["it holds no prompt"]),
        ("p.toml", "[prompt\n", ["not valid TOML"]),
        ("p.toml", "[prompt]\n[[prompt.subset]]\nprompt = 3", ["prompt 1: prompt: must be text"]),
        ("p.json", "[", ["not valid JSON"]),
        ("p.json", '{"prompt": "a"}', ["must hold a list"]),
        ("p.json", '[3, {"promt": "a"}]', ["prompt 1: must be a table", "prompt 2: there is no 'promt'"]),
        ("p.csv", "a", ["ends with .txt, .toml or .json"]),
    ],
)  # fmt: skip
def test_every_mistake_is_told_with_its_place(name: str, text: str, said: list[str], tmp_path: Path) -> None:
    with pytest.raises(PromptFileError) as caught:
        read_prompts(write(tmp_path, name, text))
    assert len(caught.value.problems) == len(said)
    for problem, words in zip(caught.value.problems, said, strict=True):
        assert problem.startswith(words) if words.startswith("line") else words in problem


def test_a_file_that_is_not_there_or_no_text_is_a_problem_of_the_setting(tmp_path: Path) -> None:
    def told(path: Path) -> list[str]:
        config = load(LoraConfig, {**BASE, "sampling": {"prompts_file": str(path)}})
        problems = list(problems_of(config))
        assert {problem.path for problem in problems} <= {"sampling.prompts_file"}
        return [problem.message for problem in problems]

    (missing,) = told(tmp_path / "no.txt")
    assert "no.txt" in missing and "no such file" in missing
    (tmp_path / "latin.txt").write_bytes("a café".encode("latin-1"))
    (broken,) = told(tmp_path / "latin.txt")
    assert "byte 6" in broken
    (tmp_path / "mark.txt").write_bytes("a café".encode("utf-8-sig"))
    assert told(tmp_path / "mark.txt") == []


BASE = {"base": {"source": "x"}, "concepts": [{"folder": "pictures"}]}
