"""Cuts large pictures into square tiles, and leaves out the empty ones."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from core.contracts import Size
from core.dataset.manifest import Tile
from core.errors import PictureError

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    from core.dataset.settings import DetailCrops

MOST_TILES = 20_000
"""A picture that would be cut into more tiles than this is refused: a slip in the settings."""

EDGE = 64
"""A pixel lies on an edge if Sobel's gradient there is longer than this; that of a step of brightness by 16 is 64."""

_ROWS = 64  # so many rows are worked on at once: they fit into the processor's cache


@dataclass(frozen=True)
class TilesFound:
    """The tiles of one picture: those that are kept, and how many were blank and are not.

    None of either: a side of the picture is shorter than a tile.
    """

    kept: tuple[Tile, ...] = ()
    blank: int = 0


def grid(size: Size, crops: DetailCrops) -> list[Tile]:
    """All tiles of a picture of this size: scale after scale, each from left to right and then downwards.

    Together they cover every pixel of the picture at every scale; each is a full square inside it; neighbours overlap
    by at least `crops.overlap`; no two are equal. Empty for a picture with a side shorter than a tile; a larger one has
    tiles at every scale. PictureError where there would be more than `MOST_TILES`.
    """
    side, overlap = crops.tile_resolution, crops.overlap
    tiles: list[Tile] = []
    for scaled in scaled_sizes(size, crops):
        tops, lefts = starts(scaled.height, side, overlap), starts(scaled.width, side, overlap)
        if len(tiles) + len(tops) * len(lefts) > MOST_TILES:
            raise PictureError(
                f"It is {size}, and would be cut into more than {MOST_TILES} tiles.",
                do="Choose a larger tile, less overlap, or scales.",
            )
        tiles += [Tile(scaled, top, left, side) for top in tops for left in lefts]
    return tiles


def scaled_sizes(size: Size, crops: DetailCrops) -> list[Size]:
    """The sizes that a picture is brought to before it is cut, each once; empty where a side is shorter than a tile.

    For each scale: the area of a square of `scale` tiles' sides, in the picture's own aspect ratio; of a long narrow
    picture more, so that its shorter side is at least a tile's. Its own size where it would have to be enlarged, or
    where there are no scales.
    """
    side, shorter = crops.tile_resolution, min(size.height, size.width)
    if shorter < side:
        return []
    sizes = []
    for scale in crops.scales:
        factor = max(scale * side / math.sqrt(size.area), side / shorter)
        sizes.append(_times(size, factor, side) if factor < 1 else size)
    return list(dict.fromkeys(sizes or [size]))


def _times(size: Size, factor: float, least: int) -> Size:
    height, width = (max(least, int(length * factor + 0.5)) for length in (size.height, size.width))
    return Size(height=height, width=width)


def starts(length: int, side: int, overlap: int) -> list[int]:
    """Where tiles begin along a length (at least `side`): the fewest that overlap enough, spread evenly.

    The first begins at 0, the last ends at `length`.
    """
    gaps = math.ceil((length - side) / (side - overlap))
    return [index * (length - side) // gaps for index in range(gaps + 1)] if gaps else [0]


def stays_whole(found: TilesFound, crops: DetailCrops) -> bool:
    """Whether the whole picture stays in the set too: where it is asked for, and where no tile stands for it."""
    return crops.include_full_images or not found.kept


def why_whole(size: Size, found: TilesFound, crops: DetailCrops) -> str:
    """Why no tile stands for a picture, for the report; empty where tiles do. `size`: of the picture."""
    if found.kept:
        return ""
    if found.blank:
        return f"All of its {found.blank} tiles are blank; it is shown whole."
    return f"It is {size}, smaller than a tile of {crops.tile_resolution} px; it is shown whole."


def kept_tiles(picture: Image, crops: DetailCrops) -> TilesFound:
    """The tiles of an RGB picture without the blank ones. PictureError as in `grid`.

    Blank: the standard deviation of its brightness (0 to 255, ITU-R 601) is under `blank_std_threshold`, and the share
    of its pixels on an edge (`EDGE`) is under `blank_edge_threshold`. Each scale is looked at once, in strips, however
    many tiles there are: beside the picture itself this needs its size in bytes.
    """
    from PIL import Image

    tiles = grid(Size(height=picture.height, width=picture.width), crops)
    if not tiles or not crops.blank_std_threshold or not crops.blank_edge_threshold:
        return TilesFound(tuple(tiles))
    brightness = picture.convert("L")
    kept: list[Tile] = []
    for scaled in dict.fromkeys(tile.scaled for tile in tiles):
        size = (scaled.width, scaled.height)
        resized = brightness.resize(size, Image.Resampling.LANCZOS) if size != brightness.size else brightness
        kept += _with_content(resized, [tile for tile in tiles if tile.scaled == scaled], crops)
    return TilesFound(tuple(kept), len(tiles) - len(kept))


def _with_content(brightness: Image, tiles: list[Tile], crops: DetailCrops) -> list[Tile]:
    """Those of the tiles of one scale that are not blank."""
    side = crops.tile_resolution
    rows, columns = _cuts((tile.top for tile in tiles), side), _cuts((tile.left for tile in tiles), side)
    tables = _sums_up_to(brightness, rows, columns)
    row_of, column_of = {cut: row for row, cut in enumerate(rows)}, {cut: column for column, cut in enumerate(columns)}
    kept = []
    for tile in tiles:
        top, bottom = row_of[tile.top], row_of[tile.top + side]
        left, right = column_of[tile.left], column_of[tile.left + side]
        inside = tables[:, bottom, right] - tables[:, top, right] - tables[:, bottom, left] + tables[:, top, left]
        brightness_sum, squares, edges = (int(each) for each in inside)
        deviation = math.sqrt(squares * side**2 - brightness_sum**2) / side**2
        if deviation >= crops.blank_std_threshold or edges / side**2 >= crops.blank_edge_threshold:
            kept.append(tile)
    return kept


def _cuts(starts: Iterable[int], side: int) -> list[int]:
    """All places along a length where tiles begin or end."""
    begins = set(starts)
    return sorted(begins | {begin + side for begin in begins})


def _sums_up_to(brightness: Image, rows: list[int], columns: list[int]) -> np.ndarray:
    """3 R C, int64: the sums of `_strip_sums` over all pixels above each of the rows and left of each of the columns.

    The first row and column are 0, the last the picture's height and width.
    """
    import numpy as np

    pixels = np.asarray(brightness)
    sums = np.zeros((3, len(rows), len(columns)), np.int64)
    for row, (top, bottom) in enumerate(pairwise(rows), 1):
        strip = sum(_strip_sums(pixels, start, min(start + _ROWS, bottom)) for start in range(top, bottom, _ROWS))
        sums[:, row, 1:] = np.add.reduceat(strip, columns[:-1], axis=1)
    return sums.cumsum(1).cumsum(2)


def _strip_sums(pixels: np.ndarray, top: int, bottom: int) -> np.ndarray:
    """3 W, int64, of the rows from top to bottom of pixels (H W, uint8), in each column.

    Their brightness, its squares, and how many lie on an edge.
    """
    import numpy as np

    strip = pixels[top:bottom].astype(np.int32)
    edges = _on_edge(pixels, top, bottom).sum(axis=0)
    return np.stack([strip.sum(axis=0), np.einsum("hw,hw->w", strip, strip), edges]).astype(np.int64)


def _on_edge(pixels: np.ndarray, top: int, bottom: int) -> np.ndarray:
    """h W, bool: which of the rows' pixels lie on an edge, by Sobel's 3 x 3 operator; the border is repeated."""
    import numpy as np

    height = len(pixels)
    around = pixels[max(top - 1, 0) : bottom + 1]
    around = np.pad(around, ((top == 0, bottom == height), (1, 1)), mode="edge").astype(np.int16)
    down = around[:-2] + 2 * around[1:-1] + around[2:]
    across = around[:, :-2] + 2 * around[:, 1:-1] + around[:, 2:]
    right_change = (down[:, 2:] - down[:, :-2]).astype(np.int32)
    down_change = (across[2:] - across[:-2]).astype(np.int32)
    return right_change**2 + down_change**2 > EDGE**2
