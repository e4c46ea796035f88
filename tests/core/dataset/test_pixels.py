"""What is read for a view: the picture, its mask and its conditioning picture, from the files that were seen."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from core.contracts import Size
from core.dataset import pixels as module
from core.dataset.companions import conditioning_path, mask_path
from core.dataset.manifest import Entry, Tile, sha256_of
from core.dataset.pictures import fit, fit_mask, load_picture
from core.dataset.pixels import forget_pictures, read_pixels, read_together
from core.dataset.settings import ConceptImage
from core.dataset.views import Shown, View
from core.errors import PictureError

BUCKET = Size(64, 64)
CHANGED = View(BUCKET, flip=True, angle=12, place=(0.1, 0.8), brightness=1.2, contrast=0.8, saturation=1.3, hue=0.1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    forget_pictures()
    path = tmp_path / "cat.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)).save(path)
    return path


def disc(path: Path, size: tuple[int, int] = (120, 90)) -> None:
    """A mask: a white rectangle on black."""
    mask = Image.new("L", size)
    mask.paste(255, (size[0] // 2, 0, size[0], size[1] // 3))
    mask.save(path)


def entry_of(path: Path, tile: Tile | None = None) -> Entry:
    def sha256(path: Path) -> str:
        return sha256_of(path.read_bytes()) if path.exists() else ""

    own, mask, conditioning = sha256(path), sha256(mask_path(path)), sha256(conditioning_path(path))
    width, height = Image.open(path).size
    return Entry(str(path), own, width, height, (), 0, (BUCKET,), path.name, mask, conditioning, tile)


def test_a_picture_alone(path: Path) -> None:
    entry = entry_of(path)
    read = read_pixels(Shown(entry, CHANGED, ConceptImage()))
    assert torch.equal(read.pixels, fit(load_picture(path), entry, CHANGED))
    assert read.mask is None
    assert read.conditioning is None


def test_a_mask_of_a_file(path: Path) -> None:
    disc(mask_path(path))
    entry = entry_of(path)
    read = read_pixels(Shown(entry, CHANGED, ConceptImage(mask="file")))
    assert read.mask is not None
    assert torch.equal(read.mask, fit_mask(Image.open(mask_path(path)), entry, CHANGED))
    assert 0 < read.mask.mean() < 1
    assert read_pixels(Shown(entry, CHANGED, ConceptImage())).mask is None


def test_a_coloured_mask_with_transparent_parts_counts_where_it_is_white(path: Path) -> None:
    mask = Image.new("RGBA", (120, 90), (255, 255, 255, 0))
    mask.paste((255, 255, 255, 255), (0, 0, 60, 90))
    mask.save(mask_path(path))
    read = read_pixels(Shown(entry_of(path), View(Size(90, 120)), ConceptImage(mask="file")))
    assert read.mask is not None
    assert (read.mask[..., :60] == 1).all()
    assert (read.mask[..., 60:] == 0).all()


@pytest.mark.parametrize("kind", ["file", "alpha"])
def test_without_mask_all_counts(path: Path, kind: str) -> None:
    read = read_pixels(Shown(entry_of(path), CHANGED, ConceptImage(mask=kind)))  # type: ignore[arg-type]
    assert read.mask is not None
    assert torch.equal(read.mask, torch.ones(1, 64, 64))


def test_alpha_as_mask_and_its_colour(path: Path) -> None:
    image = Image.open(path).convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 120, 45))
    image.save(path)
    read = read_pixels(Shown(entry_of(path), View(Size(90, 120)), ConceptImage(mask="alpha", alpha_colour="#ff0000")))
    assert read.mask is not None
    assert (read.mask[:, :45] == 0).all()
    assert (read.mask[:, 45:] == 1).all()
    assert (read.pixels[:, :45] == torch.tensor([1.0, -1, -1])[:, None, None]).all()


def test_a_conditioning_picture_gets_the_same_changes(path: Path) -> None:
    image = Image.open(path)
    image.paste((128, 128, 128), (0, 0, 120, 45))
    image.save(conditioning_path(path))
    read = read_pixels(Shown(entry_of(path), CHANGED, ConceptImage(conditioning=True)))
    assert read.conditioning is not None
    same = (read.conditioning == read.pixels).all(0).float().mean()
    assert 0.3 < same < 0.9
    assert read_pixels(Shown(entry_of(path), CHANGED, ConceptImage())).conditioning is None


def test_another_size_names_both_files(path: Path) -> None:
    disc(mask_path(path), (120, 80))
    disc(conditioning_path(path), (60, 45))
    entry = entry_of(path)
    with pytest.raises(PictureError, match=r"cat\.png has 120x90 pixels, but .*cat-masklabel\.png has 120x80"):
        read_pixels(Shown(entry, View(BUCKET), ConceptImage(mask="file")))
    with pytest.raises(PictureError, match=r"cat\.png has 120x90 pixels, but .*cat-condlabel\.png has 60x45"):
        read_pixels(Shown(entry, View(BUCKET), ConceptImage(conditioning=True)))


@pytest.mark.parametrize("which", ["picture", "mask", "conditioning"])
@pytest.mark.parametrize("tiled", [False, True])
def test_files_that_changed_or_went_are_named(path: Path, which: str, tiled: bool) -> None:
    disc(mask_path(path))
    disc(conditioning_path(path))
    entry = entry_of(path, Tile(Size(90, 120), 0, 0, 64) if tiled else None)
    shown = Shown(entry, View(BUCKET), ConceptImage(mask="file", conditioning=True))
    read_pixels(shown)
    victim = {"picture": path, "mask": mask_path(path), "conditioning": conditioning_path(path)}[which]
    Image.new("RGB", (120, 90)).save(victim)
    with pytest.raises(PictureError, match=rf"{victim.name} has changed"):
        read_pixels(shown)
    victim.unlink()
    with pytest.raises(PictureError, match=rf"{victim.name} can't be read"):
        read_pixels(shown)


def tiles_of(path: Path) -> list[Shown]:
    """A shown view of each of six tiles, shifted and turned differently."""
    image, scaled = ConceptImage(mask="file", conditioning=True), Size(150, 200)
    tiles = [Tile(scaled, top, left, 64) for top in (0, 80) for left in (0, 64, 130)]
    views = [View(BUCKET, shift=(n, n // 2), angle=n * 7.0) for n in range(6)]
    return [Shown(entry_of(path, tile), view, image) for tile, view in zip(tiles, views, strict=True)]


def test_tiles_are_those_of_the_whole_picture(path: Path) -> None:
    disc(mask_path(path))
    Image.open(path).rotate(180).save(conditioning_path(path))
    for shown in tiles_of(path):
        read = read_pixels(shown)
        assert torch.equal(read.pixels, fit(load_picture(path), shown.entry, shown.view))
        assert read.mask is not None
        assert torch.equal(read.mask, fit_mask(Image.open(mask_path(path)), shown.entry, shown.view))
        assert read.conditioning is not None
        assert torch.equal(read.conditioning, fit(load_picture(conditioning_path(path)), shown.entry, shown.view))


def test_a_file_is_decoded_once_for_its_tiles(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also by several threads at once; and anew when it was written again."""
    disc(mask_path(path))
    disc(conditioning_path(path))
    decoded: list[str] = []
    decode = module.decode
    monkeypatch.setattr(module, "decode", lambda *args: decoded.append(Path(args[1]).name) or decode(*args))
    shown = tiles_of(path)
    with ThreadPoolExecutor(6) as pool:
        at_once = list(pool.map(read_pixels, shown))
    assert sorted(decoded) == ["cat-condlabel.png", "cat-masklabel.png", "cat.png"]
    one_by_one = read_together(shown)
    assert len(decoded) == 3
    for first, second in zip(at_once, one_by_one, strict=True):
        assert torch.equal(first.pixels, second.pixels)
    os.utime(path, (1, 1))
    read_pixels(shown[0])
    assert decoded[3:] == ["cat.png"]
    forget_pictures()
    read_pixels(shown[0])
    assert len(decoded) == 7


def test_views_that_are_read_together_need_one_decoding(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = [Shown(entry_of(path), View(BUCKET, angle=angle), ConceptImage()) for angle in (0, 5, 10)]
    expected = [read_pixels(one).pixels for one in shown]
    decoded: list[str] = []
    decode = module.decode
    monkeypatch.setattr(module, "decode", lambda *args: decoded.append(args[1]) or decode(*args))
    assert all(torch.equal(a, b.pixels) for a, b in zip(expected, read_together(shown), strict=True))
    assert decoded == [str(path)]
