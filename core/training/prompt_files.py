"""Reads sample prompts from a file: a prompt a line with kohya's flags, or TOML and JSON as kohya and OneTrainer do."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.config.lora import LoraConfig
from core.config.sections import SamplePrompt
from core.errors import OchreError, Problem
from core.settings.checks import validate

FLAGS: Mapping[str, str] = {
    "n": "negative",
    "w": "width",
    "h": "height",
    "d": "seed",
    "s": "steps",
    "l": "guidance",
    "ss": "sampler",
}
"""kohya's flags (`--w 768`) and the settings that they are."""

OTHER_FLAGS: Mapping[str, str] = {
    "g": "guidance that is built into a model, such as Flux",
    "cn": "a control image",
    "ctr": "where Lumina's guidance ends",
    "rcfg": "Lumina's guidance",
    "fs": "flow models",
    "f": "videos",
    "i": "videos and edits",
    "ci": "edits",
}
"""Flags of kohya's that only other kinds of models than these take, and what they are for."""

KEYS: Mapping[str, str] = {
    **{name: name for name in SamplePrompt.model_fields},
    "negative_prompt": "negative",
    "sample_steps": "steps",
    "diffusion_steps": "steps",
    "scale": "guidance",
    "cfg_scale": "guidance",
    "sample_sampler": "sampler",
    "noise_scheduler": "sampler",
}
"""kohya's and OneTrainer's names in TOML and JSON, and the settings that they are."""

OTHER_KEYS: Mapping[str, str] = {
    "guidance_scale": OTHER_FLAGS["g"],
    "controlnet_image": OTHER_FLAGS["cn"],
    "cfg_trunc_ratio": OTHER_FLAGS["ctr"],
    "renorm_cfg": OTHER_FLAGS["rcfg"],
    "flow_shift": OTHER_FLAGS["fs"],
    "frame_count": OTHER_FLAGS["f"],
    "image_path": OTHER_FLAGS["i"],
    "control_image_path": OTHER_FLAGS["ci"],
    **dict.fromkeys(("frames", "length"), "videos"),
    **dict.fromkeys(("sample_inpainting", "base_image_path", "mask_image_path"), "pictures that are painted over"),
    **dict.fromkeys(
        (
            f"text_encoder_{number}_{what}"
            for number in ("1", "2", "3", "4")
            for what in ("layer_skip", "sequence_length")
        ),
        "text encoders of their own",
    ),
    "transformer_attention_mask": "transformers",
}
"""Keys of theirs that only other kinds of models take, and what they are for."""

_FLAG = re.compile(r"(?:^|\s)--(?=\S)")


@dataclass
class PromptFile:
    """What a file holds. ignored: what is read but has no meaning here, in words, each with its place."""

    prompts: list[SamplePrompt] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)


class PromptFileError(OchreError):
    """A file of prompts can't be used. problems: each with its place."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        super().__init__(f"{path} can't be used as sample prompts.", " ".join(f"{problem}." for problem in problems))
        self.problems = problems


def read_prompts(path: Path) -> PromptFile:
    """The prompts of a .txt, .toml or .json file. PromptFileError, with every problem, if there is one."""
    readers: Mapping[str, Callable[[str, list[str]], Iterable[tuple[str, dict[str, Any]]]]]
    readers = {".txt": _of_lines, ".toml": _of_toml, ".json": _of_json}
    if path.suffix.lower() not in readers:
        raise PromptFileError(path, ["a file of prompts ends with .txt, .toml or .json"])
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise PromptFileError(path, ["there is no such file"]) from None
    except UnicodeDecodeError as error:
        raise PromptFileError(path, [f"it is not UTF-8 text: byte {error.start + 1} can't be read"]) from None
    except OSError as error:
        raise PromptFileError(path, [error.strerror or str(error)]) from None
    found, problems = PromptFile(), list[str]()
    for place, data in readers[path.suffix.lower()](text, found.ignored):
        _take(place, data, found, problems)
    if not (found.prompts or problems):
        problems.append("it holds no prompt")
    if problems:
        raise PromptFileError(path, problems)
    return found


def problems_of(config: LoraConfig) -> Iterator[Problem]:
    """What is wrong with the prompt file of a config, if it has one."""
    wanted = config.sampling.prompts_file
    if not wanted:
        return
    try:
        read_prompts(Path(wanted))
    except PromptFileError as error:
        for problem in error.problems:
            yield Problem("sampling.prompts_file", f"{wanted}: {problem}")


def _take(place: str, data: dict[str, Any], found: PromptFile, problems: list[str]) -> None:
    wrong = data.pop("", None)
    if wrong:
        problems.append(f"{place}: {wrong}")
        return
    prompt, told = validate(SamplePrompt, data)
    if prompt is None or told:
        problems += [f"{place}: {problem}" for problem in told]
    else:
        found.prompts.append(prompt)


# -- a prompt a line


def _of_lines(text: str, ignored: list[str]) -> Iterable[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield f"line {number}", parse_line(line, f"line {number}", ignored)


def parse_line(line: str, place: str, ignored: list[str]) -> dict[str, Any]:
    """A prompt's settings from a line with kohya's flags; what is wrong with it under "".

    As kohya reads it, a flag begins with ` --` and goes on to the next; large letters are the same.
    """
    prompt, *pieces = _FLAG.split(line.strip())
    data: dict[str, Any] = {"prompt": prompt.strip()}
    for piece in pieces:
        flag, _, value = piece.partition(" ")
        name = flag.strip().lower()
        if name in OTHER_FLAGS:
            ignored.append(f"{place}: --{name} is for {OTHER_FLAGS[name]}")
        elif name not in FLAGS:
            known = ", ".join(f"--{one}" for one in FLAGS)
            return {"": f"there is no flag --{flag}; there are {known}"}
        elif (wrong := _set(data, FLAGS[name], value.strip())) is not None:
            return {"": f"--{name} {wrong}"}
    return data


def _set(data: dict[str, Any], name: str, text: str) -> str | None:
    """Put a flag's value among the settings; what is wrong with it."""
    if name in ("negative", "sampler"):
        data[name] = text
        return None
    kind, called = (float, "number") if name == "guidance" else (int, "whole number")
    try:
        value = kind(text)
    except ValueError:
        return f"needs a {called} (it has {text!r})" if text else f"needs a {called}"
    if name == "seed" and value < 0:  # as A1111 has it
        data["random_seed"] = True
    else:
        data[name] = value
    return None


# -- tables


def _of_toml(text: str, ignored: list[str]) -> Iterable[tuple[str, dict[str, Any]]]:
    """kohya's `[prompt]` with `[[prompt.subset]]`, or `[[prompts]]` with Ochre's own names."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return [("", {"": f"not valid TOML: {error}"})]
    shared: Any = data.get("prompt", {})
    own = data.get("sampling", data)
    entries = own.get("prompts", []) if isinstance(own, Mapping) else []
    if isinstance(shared, Mapping) and shared:
        common = {name: value for name, value in shared.items() if name != "subset"}
        subsets = shared.get("subset", [{}])
        entries = [{**common, **one} if isinstance(one, Mapping) else one for one in subsets]
    return _of_entries(entries, ignored)


def _of_json(text: str, ignored: list[str]) -> Iterable[tuple[str, dict[str, Any]]]:
    """A list of tables, or of lines with flags."""
    try:
        return _of_entries(json.loads(text), ignored)
    except json.JSONDecodeError as error:
        return [("", {"": f"not valid JSON: {error}"})]


def _of_entries(entries: Any, ignored: list[str]) -> Iterable[tuple[str, dict[str, Any]]]:
    if not isinstance(entries, list):
        return [("", {"": "it must hold a list of prompts"})]
    found = []
    for number, entry in enumerate(entries, start=1):
        place = f"prompt {number}"
        if isinstance(entry, str):
            found.append((place, parse_line(entry, place, ignored)))
        elif not isinstance(entry, Mapping):
            found.append((place, {"": "must be a table or a text"}))
        elif entry.get("enabled", True):
            found.append((place, _of_table(entry, place, ignored)))
    return found


def _of_table(entry: Mapping[str, Any], place: str, ignored: list[str]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for key, value in entry.items():
        if key in ("enabled", "__version"):
            continue
        if key in OTHER_KEYS:
            if value not in (None, "", False):
                ignored.append(f"{place}: {key} is for {OTHER_KEYS[key]}")
        elif key not in KEYS:
            return {"": f"there is no {key!r}; there are {', '.join(KEYS)}"}
        else:
            data[KEYS[key]] = value
    if isinstance(data.get("seed"), int) and data["seed"] < 0:
        data |= {"random_seed": True}
        del data["seed"]
    return data
