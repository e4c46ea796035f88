"""Writes the demo's picture folders: the new thing, the old shapes beside it, and some of both held out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from .pictures import SHAPES, TRIGGER, captions, draw, random_scene

# Width and height; several shapes of picture, so that aspect-ratio buckets have something to do.
PICTURE_SIZES = ((64, 64), (64, 64), (80, 64), (64, 80), (88, 56))

README = """\
# The demo

`model/` is an image model of the SD 1.5 architecture at small size, as a diffusers folder. It draws one shape
({shapes}) in one of eight colours on a ground of another colour, at 64 x 64 pixels, from captions such as
"a red circle on a blue ground"; `samples.png` shows what it makes of sixteen prompts. It has never seen a
glim, the white eye in `pictures/` (20 pictures with captions; trigger word `glim`), which is what the demo run
teaches it. `regularisation/` has 24 pictures of the old shapes, to train beside the new ones so that they are
not forgotten, and `held_out/` has eight pictures of each that no training uses, for measuring. All of them
are drawn by `scripts/demo_model/pictures.py`.

`./run-cmd.sh make_demo_model` makes this folder again from a seed, with no data and no weights from
elsewhere: an autoencoder, first on crops of large pictures, then on small ones (mean absolute error at the end
{autoencoder_loss:.4f}, where pixels go from -1 to 1); text encoder and UNet together, on {pictures_shown:,}
pictures in all (mean denoising loss at the end {loss:.4f}). It takes about an hour on one core of a CPU; on
another machine or with other threads the weights differ in their last digits, and so a little in what they draw.
As stored here, with fixed noise and times, its denoising loss is {shapes_loss:.4f} on `held_out/shapes` and
{glim_loss:.4f} on `held_out/glim`.
"""


def write_folders(out: Path, seed: int) -> None:
    """Writes `pictures`, `regularisation` and `held_out/{glim,shapes}`: each PNG with its caption in a .txt."""
    folders = (("pictures", 20, (TRIGGER,)), ("regularisation", 24, SHAPES))
    held_out = ((f"held_out/{TRIGGER}", 8, (TRIGGER,)), ("held_out/shapes", 8, SHAPES))
    for index, (name, number, things) in enumerate(folders + held_out):
        rng = np.random.default_rng([seed, 4, index])
        write_folder(out / name, number, things, rng)


def write_folder(folder: Path, number: int, things: tuple[str, ...], rng: np.random.Generator) -> None:
    """Draws `number` pictures of the things in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(number):
        thing = things[index % len(things)]
        scene = random_scene(rng, PICTURE_SIZES[index % len(PICTURE_SIZES)], thing)
        stem = folder / f"{thing}_{index + 1:02d}"
        Image.fromarray(draw(scene)).save(stem.with_suffix(".png"), optimize=True)
        stem.with_suffix(".txt").write_text(captions(scene)[0] + "\n", encoding="utf-8")


def write_readme(out: Path, figures: dict[str, float], shapes_loss: float, glim_loss: float) -> None:
    """Writes the demo's README with the figures that were measured."""
    text = README.format(**figures, shapes_loss=shapes_loss, glim_loss=glim_loss, shapes=", ".join(SHAPES))
    (out / "README.md").write_text(text, encoding="utf-8")
