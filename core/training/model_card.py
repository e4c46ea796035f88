"""The model card: a README.md beside the result, for the Hugging Face hub, with copies of the last samples."""

from __future__ import annotations

import html
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import OchreError
from core.training.events import Message, Sampled, read_events
from core.training.metadata import trigger_phrase
from core.training.planning import CARD, CARD_PICTURES
from core.training.run_folder import write_text

if TYPE_CHECKING:
    from core.config.lora import LoraConfig
    from core.training.loop import Progress
    from core.training.setup import Run

LICENSES = frozenset({
    "afl-3.0", "agpl-3.0", "apache-2.0", "artistic-2.0", "bigscience-openrail-m", "bsd-2-clause", "bsd-3-clause", "cc",
    "cc-by-2.0", "cc-by-3.0", "cc-by-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-nd-3.0",
    "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-sa-3.0",
    "cc-by-sa-4.0", "cc0-1.0", "creativeml-openrail-m", "gpl-2.0", "gpl-3.0", "lgpl-3.0", "mit", "mpl-2.0", "openrail",
    "openrail++", "other", "unknown", "unlicense", "wtfpl",
})  # fmt: skip
"""The hub's names of licenses; any other is `other` there, with its name."""

FAMILY_TAGS: Mapping[str, str] = {"sd15": "stable-diffusion", "sdxl": "stable-diffusion-xl"}


@dataclass(frozen=True)
class Sample:
    """A sample picture. place: within the card's folder."""

    place: str
    prompt: str


def write_model_card(run: Run, result: Path, progress: Progress) -> None:
    """Write the card beside the result, if the user wants one. What fails here is told: the result is written."""
    if not run.config.metadata.model_card:
        return
    try:
        samples = list(_copied_samples(run, result))
        write_text(result.parent / CARD, card(run, result, progress, samples))
    except (OSError, OchreError) as error:
        run.report(Message(level="warning", text=f"The model card was not written. {error}"))
    else:
        run.report(Message(text=f"The model card is {result.parent / CARD}."))


def _copied_samples(run: Run, result: Path) -> Iterator[Sample]:
    """Copies of the pictures of the last grid, of the weights that the main file holds."""
    grids = [event for event in read_events(run.folder.events_path)[0] if isinstance(event, Sampled)]
    if not grids or grids[-1].step == 0:
        return
    for (row, path), prompt in zip(grids[-1].by_row().items(), grids[-1].prompts, strict=True):
        if row.isdecimal():  # else it shows the other weights
            target = result.parent / CARD_PICTURES / f"{result.stem}_{row}.png"
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(run.folder.path / path, target)
            yield Sample(f"{CARD_PICTURES}/{target.name}", prompt)


def card(run: Run, result: Path, progress: Progress, samples: list[Sample]) -> str:
    """The card's text: YAML that the hub reads, and Markdown."""
    sections = [_introduction(run), _gallery(samples), _trigger(run.config), _use(run, result, samples)]
    sections.append(_training(run, progress))
    body = "\n\n".join("\n".join(lines) for lines in sections if lines)
    return f"---\n{front_matter(run, samples).strip()}\n---\n\n{body}\n"


def front_matter(run: Run, samples: list[Sample]) -> str:
    """The YAML of a card, without its fences."""
    from huggingface_hub import ModelCardData

    told = run.config.metadata
    more: dict[str, Any] = {}
    if told.license:
        known = told.license.lower() in LICENSES
        more["license"] = told.license.lower() if known else "other"
        more |= {} if known else {"license_name": plain(told.license, escape=False)}
    if trigger := trigger_phrase(run.config):
        more["instance_prompt"] = trigger
    if samples:
        more["widget"] = [{"text": one.prompt or " ", "output": {"url": one.place}} for one in samples]
    return ModelCardData(
        base_model=base_repository(run),
        library_name="diffusers",
        pipeline_tag="text-to-image",
        tags=list(dict.fromkeys(_tags(run))),
        **more,
    ).to_yaml()


def base_repository(run: Run) -> str:
    """The base's name on the hub; for a file, of the family's own model, of which it is one."""
    source = run.base.source
    is_name = re.fullmatch(r"[\w.-]+/[\w.-]+", source) and not Path(source).exists()
    return source if is_name else run.family.repositories[0]


def _tags(run: Run) -> Iterator[str]:
    yield from ("text-to-image", "diffusers", "diffusers-training")
    if run.config.adapts:
        yield "lora"
    if any(not network.adapts for network in run.config.networks):
        yield "textual_inversion"
    if tag := FAMILY_TAGS.get(run.family.name):
        yield tag
    yield "template:sd-lora"  # the hub shows a gallery of the widget's pictures
    yield from (tag.strip() for tag in run.config.metadata.tags.split(",") if tag.strip())


# -- the text


def _introduction(run: Run) -> list[str]:
    told = run.config.metadata
    kinds = " and ".join(dict.fromkeys(network.label for network in run.config.networks))
    lines = [f"# {plain(told.title or run.output_stem)}", ""]
    if told.description:
        lines += [plain(told.description, lines=True), ""]
    made = f"{plain(kinds)} for {run.family.label}, trained on {plain(run.base.name)} with Ochre."
    lines += [f"By {plain(told.author)}. {made}" if told.author else made]
    if told.usage_hint:
        lines += ["", plain(told.usage_hint, lines=True)]
    return lines


def _gallery(samples: list[Sample]) -> list[str]:
    if not samples:
        return []
    pictures = [f"| ![]({one.place}) | {plain(one.prompt) or 'no prompt'} |" for one in samples]
    return ["## Samples", "", "<Gallery />", "", "| Picture | Prompt |", "| --- | --- |", *pictures]


def _trigger(config: LoraConfig) -> list[str]:
    trigger = trigger_phrase(config)
    return ["## Trigger", "", f"Write {code(trigger)} in the prompt."] if trigger else []


def _use(run: Run, result: Path, samples: list[Sample]) -> list[str]:
    lines = ["## How to use it", ""]
    if run.config.adapts and (loadable := _for_diffusers(run.config, result)):
        prompt = next((one.prompt for one in samples if one.prompt), trigger_phrase(run.config))
        strings = [json.dumps(text, ensure_ascii=False) for text in (base_repository(run), loadable, prompt)]
        lines += [
            "In diffusers, from the folder of this file:", "", "```python",
            "import torch", "from diffusers import AutoPipelineForText2Image", "",
            f"pipeline = AutoPipelineForText2Image.from_pretrained({strings[0]}, torch_dtype=torch.float16)",
            'pipeline.to("cuda")', f'pipeline.load_lora_weights(".", weight_name={strings[1]})',
            f"image = pipeline({strings[2]}).images[0]", "```", "",
        ]  # fmt: skip
    if run.config.adapts:
        lines += [
            f"In ComfyUI, put {code(result.name)} into `models/loras` and add the node Load LoRA; in Forge and A1111, "
            f"into `models/Lora`, and write {code(f'<lora:{result.stem}:1>')} in the prompt."
        ]
    for network in run.config.networks:
        told = [f"* {program}: {plain(note)}" for program, note in network.loads_in().items() if note]
        lines += ["", f"{plain(network.label)} in other programs:", "", *told] if told else []
    return lines


def _for_diffusers(config: LoraConfig, result: Path) -> str | None:
    """The file that diffusers loads: the result, or the plain LoRA beside it."""
    if not any(network.loads_in()["diffusers"] for network in config.networks):
        return result.name
    plain_ones = [n for network in config.networks if network.adapts for n in network.beside_names()]
    return f"{result.stem}_{plain_ones[0]}{result.suffix}" if plain_ones else None


def _training(run: Run, progress: Progress) -> list[str]:
    config, training = run.config, run.config.training
    resolution = config.buckets.largest()
    rates = ", ".join(f"{part} {rate:g}" for part, rate in config.parts.rates().items())
    pictures = len({index for pool in run.plan.pools for index in pool.entries})
    rows = {
        "Base model": run.base.name,
        "Network": ", ".join(_network(network) for network in config.networks),
        "Resolution": str(resolution),
        "Pictures": pictures,
        "Steps": f"{progress.step} ({progress.epoch} epochs)",
        "Batch size": training.train_batch_size * training.gradient_accumulation_steps,
        "Optimizer": config.optimizer.name,
        "Learning rates": rates,
        "Schedule": config.schedule.name,
        "Loss": ", ".join(loss.name for loss in config.losses),
        "Weightings": ", ".join(weighting.name for weighting in config.weightings),
        "Precision": config.memory.precision,
        "Seed": training.seed,
    }
    told = [f"| {name} | {plain(str(value))} |" for name, value in rows.items() if value != ""]
    license_ = f"The license of {run.family.label} ({plain(run.family.licence)}) binds those who use this, too."
    return ["## Training", "", "| Setting | Value |", "| --- | --- |", *told, "", license_]


def _network(network: Any) -> str:
    sizes = [f"{name} {getattr(network, name):g}" for name in ("rank", "alpha", "vectors") if hasattr(network, name)]
    return " ".join([network.label, *([f"({', '.join(sizes)})"] if sizes else [])])


def plain(text: str, lines: bool = False, escape: bool = True) -> str:
    """A text that shows in Markdown as it is: nothing in it is a link, a picture, a tag or a table.

    lines: its line ends stay; else it is made one line.
    """
    if not lines:
        text = " ".join(text.split())
    return re.sub(r"([\\`*_{}\[\]()#+!|~$-])", r"\\\1", html.escape(text, quote=False)) if escape else text


def code(text: str) -> str:
    """A text as code within a line, whatever is in it."""
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{space}{' '.join(text.split())}{space}{fence}"
