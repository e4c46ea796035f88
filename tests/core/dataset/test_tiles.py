"""The grid of tiles, and which of them are blank, held against a plain calculation over each tile."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from core.contracts import Size
from core.dataset import tiles
from core.dataset.manifest import Tile
from core.dataset.settings import DetailCrops
from core.dataset.tiles import EDGE, MOST_TILES, TilesFound, grid, kept_tiles, scaled_sizes, stays_whole, why_whole
from core.errors import PictureError


def crops(**changes) -> DetailCrops:
    return DetailCrops(**{"enabled": True, "tile_resolution": 64, "overlap": 16, **changes})


@st.composite
def cuttings(draw) -> tuple[Size, DetailCrops]:
    side = draw(st.sampled_from([64, 72, 128]))
    size = Size(height=draw(st.integers(1, 700)), width=draw(st.integers(1, 700)))
    overlap = draw(st.integers(0, side - 8))
    return size, crops(tile_resolution=side, overlap=overlap, scales=draw(st.lists(st.integers(1, 8), max_size=3)))


@given(cuttings())
def test_every_pixel_of_each_scale_is_covered_by_whole_and_different_tiles(cutting):
    size, settings = cutting
    found = grid(size, settings)
    side = settings.tile_resolution
    assert bool(found) == (min(size.height, size.width) >= side)
    assert len(set(found)) == len(found)
    assert list(dict.fromkeys(tile.scaled for tile in found)) == scaled_sizes(size, settings)
    for scaled in scaled_sizes(size, settings):
        covered = np.zeros((scaled.height, scaled.width), bool)
        for tile in found:
            if tile.scaled == scaled:
                square = covered[tile.top : tile.top + side, tile.left : tile.left + side]
                assert tile.top >= 0 and tile.left >= 0 and tile.side == side and square.shape == (side, side)
                square[:] = True
        assert covered.all()


@given(cuttings())
def test_neighbours_overlap_enough_and_evenly_and_are_as_few_as_can_be(cutting):
    size, settings = cutting
    side, overlap = settings.tile_resolution, settings.overlap
    for scaled in scaled_sizes(size, settings):
        for length, places in (
            (scaled.height, sorted({tile.top for tile in grid(size, settings) if tile.scaled == scaled})),
            (scaled.width, sorted({tile.left for tile in grid(size, settings) if tile.scaled == scaled})),
        ):
            gaps = np.diff(places)
            assert places[0] == 0 and places[-1] + side == length
            assert all(side - gap >= overlap for gap in gaps)
            assert not len(gaps) or max(gaps) - min(gaps) <= 1
            assert len(gaps) == 0 or side + (len(gaps) - 1) * (side - overlap) < length


@given(cuttings())
def test_a_scale_has_the_area_that_it_names_and_never_enlarges(cutting):
    size, settings = cutting
    side = settings.tile_resolution
    sizes = scaled_sizes(size, settings)
    assume(sizes)
    assert all(each.height <= size.height and each.width <= size.width for each in sizes)
    assert len(set(sizes)) == len(sizes)
    for each in sizes:
        assert abs(each.width / size.width - each.height / size.height) <= 1 / min(size.height, size.width)
        wanted = [(scale * side) ** 2 for scale in settings.scales]
        near = any(abs(each.area - area) <= each.width + each.height for area in wanted)
        assert near or each == size or min(each.height, each.width) == side


def test_pixel_counts_worked_out_by_hand():
    assert [(tile.left, tile.top) for tile in grid(Size(64, 160), crops())] == [(0, 0), (48, 0), (96, 0)]
    assert [(tile.left, tile.top) for tile in grid(Size(64, 128), crops(overlap=0))] == [(0, 0), (64, 0)]
    six = grid(Size(4000, 6000), crops(tile_resolution=512, overlap=64, scales=[2]))
    assert six[0].scaled == Size(836, 1254)
    assert [(tile.left, tile.top) for tile in six] == [(0, 0), (371, 0), (742, 0), (0, 324), (371, 324), (742, 324)]


def test_scales_that_would_enlarge_give_the_own_size_once():
    assert scaled_sizes(Size(200, 300), crops(scales=[2, 20, 40])) == [Size(105, 157), Size(200, 300)]
    assert scaled_sizes(Size(64, 64), crops(scales=[1, 2, 4])) == [Size(64, 64)]


def test_a_long_narrow_picture_is_not_shrunk_below_a_tile():
    assert scaled_sizes(Size(100, 800), crops(scales=[2])) == [Size(64, 512)]
    assert len(grid(Size(100, 800), crops(scales=[2]))) == 11


def test_a_slip_in_the_settings_is_refused_not_cut_into_millions():
    with pytest.raises(PictureError, match=f"6000x6000, and would be cut into more than {MOST_TILES} tiles"):
        grid(Size(6000, 6000), crops(overlap=40))


def sobel(pixels: np.ndarray) -> np.ndarray:
    """Sobel's gradient of a tile in float64, as a sum over shifted copies."""
    kernel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], float)
    padded = np.pad(pixels.astype(float), 1, mode="edge")
    height, width = pixels.shape
    windows = [[padded[y : y + height, x : x + width] for x in range(3)] for y in range(3)]
    across = sum(kernel[y, x] * windows[y][x] for y in range(3) for x in range(3))
    down = sum(kernel.T[y, x] * windows[y][x] for y in range(3) for x in range(3))
    return np.hypot(across, down)


def landscape() -> Image.Image:
    """A sky that hardly changes, a house with windows, a meadow with a little noise."""
    rng = np.random.default_rng(1)
    pixels = np.zeros((300, 400, 3), float)
    pixels[:150] = np.linspace(190, 200, 150)[:, None, None]
    pixels[150:] = 90 + rng.normal(0, 2.5, (150, 400, 1))
    picture = Image.fromarray(pixels.astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((60, 100, 140, 200), fill="#a04030")
    for left in range(70, 130, 12):
        draw.rectangle((left, 120, left + 5, 140), fill="white")
    return picture


@pytest.mark.parametrize("scales", [[], [4], [3, 5]])
@pytest.mark.parametrize(("deviation", "edges"), [(4.0, 0.005), (30.0, 0.05), (2.6, 0.9), (128.0, 1e-4)])
def test_blank_tiles_are_those_that_a_plain_calculation_finds(scales, deviation, edges):
    picture = landscape()
    settings = crops(scales=scales, blank_std_threshold=deviation, blank_edge_threshold=edges)
    everything = grid(Size(300, 400), settings)
    expected = []
    for tile in everything:
        size = (tile.scaled.width, tile.scaled.height)
        grey = picture.convert("L").resize(size, Image.Resampling.LANCZOS)
        whole = np.asarray(grey)
        inside = np.s_[tile.top : tile.top + tile.side, tile.left : tile.left + tile.side]
        share = (sobel(whole)[inside] > EDGE).mean()
        if whole[inside].astype(float).std() >= deviation or share >= edges:
            expected.append(tile)
    assert kept_tiles(picture, settings) == TilesFound(tuple(expected), len(everything) - len(expected))
    assert 0 < len(expected) < len(everything)


def test_it_makes_no_difference_in_which_strips_a_picture_is_read(monkeypatch):
    picture = landscape()
    expected = kept_tiles(picture, crops(blank_std_threshold=20))
    monkeypatch.setattr(tiles, "_ROWS", 7)
    assert kept_tiles(picture, crops(blank_std_threshold=20)) == expected


def test_the_stated_edge_is_a_step_of_brightness_by_16():
    for step, is_edge in ((16, False), (17, True)):
        pixels = np.full((64, 64), 100, np.uint8)
        pixels[:, 32:] += step
        settings = crops(blank_std_threshold=128, blank_edge_threshold=2 / 64)
        assert len(kept_tiles(Image.fromarray(pixels).convert("RGB"), settings).kept) == is_edge


@pytest.mark.parametrize("off", ["blank_std_threshold", "blank_edge_threshold"])
def test_a_threshold_of_zero_keeps_all_tiles(off):
    white = Image.new("RGB", (200, 100), "white")
    assert kept_tiles(white, crops(**{off: 0})) == TilesFound(tuple(grid(Size(100, 200), crops())), 0)


def test_the_largest_tiles_are_counted_without_overflow():
    pixels = np.full((4096, 4096), 255, np.uint8)
    pixels[:, ::2] = 253
    settings = crops(tile_resolution=4096, blank_std_threshold=1.0, blank_edge_threshold=0.5)
    picture = Image.fromarray(pixels).convert("RGB")
    assert len(kept_tiles(picture, settings).kept) == 1  # its deviation is 1 exactly
    assert kept_tiles(picture, settings.model_copy(update={"blank_std_threshold": 1.001})).blank == 1


def test_no_picture_is_lost_where_it_gives_no_tiles():
    only_tiles = crops(include_full_images=False)
    size = Size(100, 200)
    small, blank = (
        kept_tiles(Image.new("RGB", (63, 500)), only_tiles),
        kept_tiles(Image.new("RGB", (200, 100), "white"), only_tiles),
    )
    assert small == TilesFound() and stays_whole(small, only_tiles)
    assert (
        why_whole(Size(500, 63), small, only_tiles) == "It is 63x500, smaller than a tile of 64 px; it is shown whole."
    )
    assert blank.blank == 8 and stays_whole(blank, only_tiles)
    assert why_whole(size, blank, only_tiles) == "All of its 8 tiles are blank; it is shown whole."
    some = TilesFound((Tile(size, 0, 0, 64),), 3)
    assert not stays_whole(some, only_tiles) and stays_whole(some, crops()) and not why_whole(size, some, only_tiles)
