"""Sample pictures during a run, and the comparison of before and after."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from core.config.sections import SamplePrompt
from core.config.toml_file import to_data
from core.contracts import PreviewRequest, Size
from core.dataset.draws import key_for
from core.devices import give_back_host_memory
from core.errors import OchreError, SettingsError
from core.families._samplers import SCHEDULERS
from core.families._sampling import evaluating
from core.settings.checks import load
from core.training.ema import weights_of
from core.training.events import Event, Message, Phase, Sampled, read_events, side_by_side
from core.training.prompt_files import problems_of, read_prompts
from core.training.run_folder import PROMPTS, write_text

if TYPE_CHECKING:
    from core.config.lora import LoraConfig
    from core.training.run_folder import RunFolder
    from core.training.setup import Run

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Preview:
    """One sample: its prompts with the trigger word put in, and how it is drawn.

    place: its number among the run's samples, from 0. random_seed: each time it has another seed than the request's.
    """

    positive: str
    negative: str
    request: PreviewRequest
    place: int = 0
    random_seed: bool = False

    def at(self, step: int, seed: int) -> PreviewRequest:
        """How it is drawn after a step. seed: the run's, on which a new one hangs."""
        if not self.random_seed:
            return self.request
        return replace(self.request, seed=key_for(seed, "sample seed", step, self.place) % 2**32)  # as long as A1111's


def previews_of(config: LoraConfig, from_file: Sequence[SamplePrompt] = ()) -> list[Preview]:
    """The samples that a config asks for, and after them those of its prompt file."""
    sampling, largest = config.sampling, config.buckets.largest()
    resolution = Size(largest.height, largest.width)
    trigger = next((concept.trigger_word for concept in config.concepts if concept.trigger_word), "")
    return [
        Preview(
            positive=prompt.prompt.replace("{trigger}", trigger),
            negative=prompt.negative.replace("{trigger}", trigger),
            request=PreviewRequest(
                width=prompt.width or shaped(resolution, prompt.shape).width,
                height=prompt.height or shaped(resolution, prompt.shape).height,
                steps=prompt.steps or sampling.steps,
                guidance=prompt.guidance or sampling.guidance,
                seed=prompt.seed,
                sampler=prompt.sampler or sampling.sampler,
            ),
            place=place,
            random_seed=prompt.random_seed,
        )
        for place, prompt in enumerate([*sampling.prompts, *from_file])
    ]


def shaped(resolution: Size, shape: str) -> Size:
    """The size of a sample: the training resolution, or about its area with sides of 2 to 3 ("portrait", "landscape").

    Sides are multiples of 64, or of 8 where that would change them too much.
    """
    if shape == "training":
        return resolution
    step = 64 if resolution.area >= 256**2 else 8
    short, long = (round(math.sqrt(resolution.area * ratio) / step) * step for ratio in (2 / 3, 3 / 2))
    return Size(height=long, width=short) if shape == "portrait" else Size(height=short, width=long)


def frozen_previews(config: LoraConfig, folder: RunFolder, report: Callable[[Event], None]) -> list[Preview]:
    """The run's samples. A prompt file is read when a run starts, and kept: the run goes on with the same prompts.

    SettingsError if the file can't be used.
    """
    wanted, kept = config.sampling.prompts_file, folder.path / PROMPTS
    if not wanted:
        return previews_of(config)
    if kept.exists() and folder.latest_backup():
        data = json.loads(kept.read_text(encoding="utf-8"))
        if data["file"] == wanted:
            return previews_of(config, [load(SamplePrompt, prompt, str(kept)) for prompt in data["prompts"]])
    if problems := list(problems_of(config)):
        raise SettingsError(problems)
    found = read_prompts(Path(wanted))
    for text in found.ignored:
        report(Message(text=f"Not used of {wanted}: {text}."))
    data = {"file": wanted, "prompts": [to_data(prompt) for prompt in found.prompts]}
    write_text(kept, json.dumps(data, ensure_ascii=False, indent=1))
    return previews_of(config, found.prompts)


def draw_samples(run: Run, step: int) -> None:
    """Draw every prompt with the model as it stands, and report where the pictures are.

    What fails, for whatever reason, is told, and stops neither the others nor the run.
    """
    if not run.previews:
        return
    shown = weights_of(run.ema, run.config.ema.sample)
    if step == 0:  # the average is the weights
        shown = shown[:1]
    drawn: list[tuple[int, Path, PreviewRequest]] = []
    for turn, (suffix, weights) in enumerate(shown):

        def grid(turn: int = turn, suffix: str = suffix, weights: AbstractContextManager[None] = weights) -> None:
            with run.stepping.evaluating(), weights, drawing(run):
                drawn.extend(_draw_all(run, step, suffix, (turn, len(shown))))

        _attempt(run, f"The samples after step {step} were not drawn.", grid)
    drawn.sort(key=lambda one: one[0])  # what shows the average and what shows the plain weights, side by side
    run.report(
        Sampled(
            step=step,
            paths=[str(path.relative_to(run.folder.path)) for _, path, _ in drawn],
            prompts=[run.previews[place].positive for place, _, _ in drawn],
            rows=[path.stem for _, path, _ in drawn],
            seeds=[request.seed for _, _, request in drawn],
        )
    )


def _draw_all(run: Run, step: int, suffix: str, turns: tuple[int, int]) -> Iterator[tuple[int, Path, PreviewRequest]]:
    """Draw every prompt with the weights that are in the model: place, file and request of each that was drawn.

    suffix: put after the names of the files. turns: how many grids are drawn already, and of how many.
    """
    folder, count = run.folder.samples / f"step-{step:08d}", len(run.previews)
    folder.mkdir(parents=True, exist_ok=True)
    for preview in run.previews:
        run.report(Phase(title="Drawing samples", done=turns[0] * count + preview.place, total=turns[1] * count))
        path = folder / (f"{preview.place:02d}-{suffix}.png" if suffix else f"{preview.place:02d}.png")
        request = preview.at(step, run.seed)
        what = f"Sample {preview.place + 1} ({preview.positive[:60]!r}) was not drawn after step {step}."
        if _attempt(run, what, partial(_draw, run, preview, request, path)):
            yield preview.place, path, request


def _draw(run: Run, preview: Preview, request: PreviewRequest, path: Path) -> None:
    with run.accelerator.autocast():
        positive, negative = run.texts.of_prompts([preview.positive, preview.negative])
        picture = run.family.preview(run.model, positive, negative, request)
    about = PngInfo()
    about.add_text("parameters", infotext(preview, request, run.output_stem))
    try:
        picture.save(path, pnginfo=about)
    except BaseException:
        path.unlink(missing_ok=True)  # half a picture
        raise


def infotext(preview: Preview, request: PreviewRequest, model: str) -> str:
    """How a picture was drawn, as A1111 writes it into its own: other programs read that."""
    told = {
        "Steps": request.steps,
        "Sampler": SCHEDULERS[request.sampler].label,
        "CFG scale": f"{request.guidance:g}",
        "Seed": request.seed,
        "Size": f"{request.width}x{request.height}",
        "Model": model,
        "Version": "Ochre",
    }
    lines = [preview.positive, *([f"Negative prompt: {preview.negative}"] if preview.negative else [])]
    return "\n".join([*lines, ", ".join(f"{name}: {value}" for name, value in told.items())])


def _attempt(run: Run, what: str, work: Callable[[], None]) -> bool:
    """Whether some work was done. Whatever fails is told, and its memory is given back.

    Drawing is code of many: a sampler, a decoder, a card whose memory is full. None of it is worth a run.
    """
    try:
        work()
        return True
    except Exception as error:
        log.info("%s", what, exc_info=True)
        why = str(error) if isinstance(error, OchreError) else f"{type(error).__name__}: {error}".split("\n")[0]
    run.report(Message(level="warning", text=f"{what} {why}"))
    give_back_host_memory()  # after the exception is gone, which held what was in use as it was raised
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return False


@contextmanager
def drawing(run: Run) -> Iterator[None]:
    """The model ready to draw: nothing drops out, no gradients, the VAE on the device."""
    vae = run.model.parts["vae"]
    home = next(vae.parameters()).device  # the CPU, unless pictures are encoded as they come
    with evaluating(run.model.parts):
        try:
            vae.to(run.device)
            yield
        finally:
            vae.to(home)


def compare_samples(run: Run) -> None:
    """Write `comparison.png`: the first samples (before the first step, where they were drawn) beside those of now."""
    drawn = [event for event in read_events(run.folder.events_path)[0] if isinstance(event, Sampled)]
    if len(drawn) < 2:
        return
    first, last = drawn[0], drawn[-1]
    rows = side_by_side([first, last])
    columns = [
        (title, [run.folder.path / path if path else None for path in (paths[place] for _, paths in rows)])
        for place, title in enumerate(("before" if first.step == 0 else f"step {first.step}", "after"))
    ]
    target, labels = run.folder.path / "comparison.png", [label for label, _ in rows]
    _attempt(run, "The samples were not put side by side.", lambda: comparison(columns, labels, target))


def comparison(columns: Sequence[tuple[str, Sequence[Path | None]]], prompts: Sequence[str], target: Path) -> None:
    """Write a picture with a row for each prompt and a column for each set of samples.

    columns: title and the samples' files, one for each prompt, or None.
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
            path = paths[row]
            if path is None:
                continue
            with Image.open(path) as picture:
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
