"""A folder in which everything is wrong that may be wrong with pictures; docs/pictures.md shows the report on it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

CONFIG = """\
[buckets]
resolution = "512, 768"

[training]
train_batch_size = 4

[[concepts]]
name = "fox"
folder = "messy"
subfolders = true
trigger_word = "rusty"

[concepts.image]
flip = "random"
mask = "file"

[concepts.image.detail_crops]
enabled = true
tile_resolution = 512
"""


def blots(width: int, height: int, seed: int) -> Image.Image:
    """Smooth blots of colour, which look much the same after they are resized and compressed."""
    small = np.random.default_rng(seed).integers(0, 256, (7, 7, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def make_messy_folder(folder: Path) -> None:
    """Make the folder, which must not be there yet."""
    (folder / "in the snow").mkdir(parents=True)
    _good_pictures(folder)
    _pictures_that_cannot_be_used(folder)
    _what_is_no_picture(folder)


def _good_pictures(folder: Path) -> None:
    fox = blots(640, 480, 1)
    _save(fox, folder / "fox.png", "fox, sitting, outdoors")
    Image.new("L", fox.size, 255).save(folder / "fox-masklabel.png")
    shutil.copy(folder / "fox.png", folder / "fox (copy).png")
    fox.resize((512, 384), Image.Resampling.LANCZOS).save(folder / "fox from a message.jpg", quality=60)
    (folder / "fox from a message.txt").write_text("fox, sitting, outdoors", encoding="utf-8")
    _save(blots(300, 400, 2), folder / "small.png", "fox, running, outdoors")
    _save(blots(600, 600, 3).convert("CMYK"), folder / "printed.jpg", "")
    _save(blots(700, 500, 4), folder / "in the snow" / "😀 snow.png", ", ".join(["a fox in deep snow"] * 20))
    large = blots(1600, 1200, 5)
    large.paste("white", (0, 0, 1600, 700))
    _save(large, folder / "in the snow" / "large.webp", "a fox far away, snow, outdoors")


def _pictures_that_cannot_be_used(folder: Path) -> None:
    _save(blots(600, 400, 6), folder / "broken.png", "fox")
    whole = (folder / "broken.png").read_bytes()
    (folder / "broken.png").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.png").touch()
    _save(blots(8, 8, 7), folder / "icon.png", "fox")
    _save(blots(640, 480, 8), folder / "wrong mask.png", "fox, asleep")
    Image.new("L", (320, 240)).save(folder / "wrong mask-masklabel.png")
    (folder / "drawing.psd").write_bytes(b"8BPS")


def _what_is_no_picture(folder: Path) -> None:
    (folder / "deleted.txt").write_text("fox, jumping", encoding="utf-8")
    Image.new("L", (64, 64)).save(folder / "deleted-masklabel.png")
    (folder / "notes.md").write_text("to do", encoding="utf-8")
    (folder / ".DS_Store").touch()
    (folder / ".ipynb_checkpoints").mkdir()
    blots(64, 64, 9).save(folder / ".ipynb_checkpoints" / "fox-checkpoint.png")


def _save(picture: Image.Image, path: Path, caption: str) -> None:
    picture.save(path)
    path.with_suffix(".txt").write_text(caption, encoding="utf-8")
