"""Folders of real pictures with captions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from core.dataset.settings import Buckets, Concept

# on a busy machine any example may take long
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

Folder = Callable[..., Path]


def noise_picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """A picture that doesn't compress, so that a file cut in half really lacks something."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.fixture
def buckets() -> Buckets:
    return Buckets(resolution=128, step=32, minimum=64, maximum=256)


@pytest.fixture
def make_folder(tmp_path: Path) -> Folder:
    """A folder of pictures of the given sizes, named 00.png ..., each with a caption."""

    def make(*sizes: tuple[int, int], name: str = "pictures") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for index, (width, height) in enumerate(sizes):
            noise_picture(width, height, index).save(folder / f"{index:02d}.png")
            (folder / f"{index:02d}.txt").write_text(f"cat, tag {index}, sitting, outdoors", encoding="utf-8")
        return folder

    return make


@pytest.fixture
def concept(make_folder: Folder) -> Concept:
    """A concept of twelve pictures in three shapes."""
    sizes = [(128, 128)] * 5 + [(200, 130)] * 4 + [(90, 150)] * 3
    return Concept(name="cats", folder=str(make_folder(*sizes)), trigger_word="sks")
