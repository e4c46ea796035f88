"""Sample pictures during a run, and the comparison of before and after."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from PIL import Image, ImageDraw, ImageFont

from core.contracts import PreviewRequest
from core.training.events import Phase, Sampled, read_events

if TYPE_CHECKING:
    from core.config.lora import LoraConfig
    from core.training.setup import Run


@dataclass(frozen=True)
class Preview:
    """One sample: its prompts with the trigger word put in, and how it is drawn."""

    positive: str
    negative: str
    request: PreviewRequest


def previews_of(config: LoraConfig) -> list[Preview]:
    """The samples that a config asks for."""
    sampling, resolution = config.sampling, config.buckets.largest()
    trigger = next((concept.trigger_word for concept in config.concepts if concept.trigger_word), "")
    return [
        Preview(
            positive=prompt.prompt.replace("{trigger}", trigger),
            negative=prompt.negative.replace("{trigger}", trigger),
            request=PreviewRequest(
                width=prompt.width or resolution.width,
                height=prompt.height or resolution.height,
                steps=sampling.steps,
                guidance=sampling.guidance,
                seed=prompt.seed,
            ),
        )
        for prompt in sampling.prompts
    ]


def draw_samples(run: Run, step: int) -> None:
    """Draw every prompt of the config with the model as it stands, and report where the pictures are."""
    if not run.previews:
        return
    paths, folder = [], run.folder.samples / f"step-{step:08d}"
    folder.mkdir(parents=True, exist_ok=True)
    with drawing(run):
        for index, preview in enumerate(run.previews):
            run.report(Phase(title="Drawing samples", done=index, total=len(run.previews)))
            with run.accelerator.autocast():
                positive, negative = run.texts.of_prompts([preview.positive, preview.negative])
                picture = run.family.preview(run.model, positive, negative, preview.request)
            path = folder / f"{index:02d}.png"
            picture.save(path)
            paths.append(str(path.relative_to(run.folder.path)))
    run.report(Sampled(step=step, paths=paths, prompts=[preview.positive for preview in run.previews]))


@contextmanager
def drawing(run: Run) -> Iterator[None]:
    """The model ready to draw: nothing drops out, no gradients, the VAE on the device."""
    modes = {part: module.training for part, module in run.model.parts.items()}
    for module in run.model.parts.values():
        module.eval()
    vae = run.model.parts["vae"]
    home = next(vae.parameters()).device  # the CPU, unless pictures are encoded as they come
    vae.to(run.device)
    try:
        with torch.no_grad():
            yield
    finally:
        vae.to(home)
        for part, module in run.model.parts.items():
            module.train(modes[part])


def compare_samples(run: Run) -> None:
    """Write `comparison.png`: the samples before the first step beside those of now."""
    drawn = [event for event in read_events(run.folder.events_path)[0] if isinstance(event, Sampled)]
    if len(drawn) < 2:
        return
    first, last = drawn[0], drawn[-1]
    columns = [
        ("before" if event.step == 0 else f"step {event.step}", [run.folder.path / path for path in event.paths])
        for event in (first, last)
    ]
    columns[1] = ("after", columns[1][1])
    comparison(columns, last.prompts, run.folder.path / "comparison.png")


def comparison(columns: Sequence[tuple[str, Sequence[Path]]], prompts: Sequence[str], target: Path) -> None:
    """Write a picture with a row for each prompt and a column for each set of samples.

    columns: title and the samples' files, one for each prompt.
    """
    side, label, head, gap = 192, 220, 34, 8
    width = label + len(columns) * (side + gap) + gap
    canvas = Image.new("RGB", (width, head + len(prompts) * (side + gap) + gap), "white")
    draw = ImageDraw.Draw(canvas)
    font, small = ImageFont.load_default(18), ImageFont.load_default(15)
    for column, (title, _) in enumerate(columns):
        draw.text((label + column * (side + gap) + side / 2, head / 2), title, "black", font, anchor="mm")
    for row, prompt in enumerate(prompts):
        top = head + row * (side + gap)
        draw.multiline_text(
            (gap, top + side / 2), _wrapped(prompt, small, label - 2 * gap), "black", small, anchor="lm"
        )
        for column, (_, paths) in enumerate(columns):
            with Image.open(paths[row]) as picture:
                fitted = _within(picture.convert("RGB"), side)
            left = label + column * (side + gap) + (side - fitted.width) // 2
            canvas.paste(fitted, (left, top + (side - fitted.height) // 2))
    canvas.save(target)


def _within(picture: Image.Image, side: int) -> Image.Image:
    scale = side / max(picture.size)
    size = (round(picture.width * scale), round(picture.height * scale))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _wrapped(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int) -> str:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)
