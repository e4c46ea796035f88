"""How a picture is shown in each of its versions: in which bucket, mirrored or not, turned, brighter, cut elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from core.contracts import Size
from core.dataset.draws import uniform_for
from core.dataset.manifest import Entry, Tile
from core.dataset.settings import Change, Concept, ConceptImage


@dataclass(frozen=True, slots=True)
class View:
    """One way to show a picture; all that changes its pixels.

    bucket: the size that comes out. angle: degrees counter-clockwise. place: where the crop lies in what is left over,
    from 0 (top, left) to 1; a half is the middle. brightness, contrast, saturation: factors. hue: share of the circle.
    shift: of a tile, down and to the right, in pixels of the scaled picture.
    """

    bucket: Size
    flip: bool = False
    angle: float = 0.0
    place: tuple[float, float] = (0.5, 0.5)
    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0
    shift: tuple[int, int] = (0, 0)


class Shown(NamedTuple):
    """A picture, how it is shown, and what its concept says of transparent parts and masks."""

    entry: Entry
    view: View
    image: ConceptImage


def view_of(entry: Entry, concept: Concept, seed: int, times_shown: int, epoch: int, kept: bool) -> View:
    """How a picture is shown after it was shown `times_shown` times: a pure function of its arguments.

    It goes through its resolutions in turn, then to its next version. kept: versions are encoded once and kept, so that
    there are only `image_variations` of them; otherwise each showing is a new one.
    """
    version = times_shown // len(entry.buckets)
    if kept:
        version %= concept.image_variations
    return _Drawn(entry, concept.image, seed, version).view(bucket_of(entry, times_shown), epoch)


def bucket_of(entry: Entry, times_shown: int) -> Size:
    """The bucket of a showing. Pictures begin with different resolutions, so that each epoch has all of them."""
    return entry.buckets[(times_shown + entry.key) % len(entry.buckets)]


def period_of(entry: Entry, concept: Concept) -> int:
    """After how many showings the kept views of a picture come round again, where a new epoch brings no new grid."""
    return len(entry.buckets) * concept.image_variations


def is_regenerated(entry: Entry, concept: Concept) -> bool:
    """Whether each epoch shows the entry in a place of its own."""
    return entry.tile is not None and concept.image.detail_crops.regenerate_each_epoch


def varies(image: ConceptImage) -> bool:
    """Whether the versions of one picture differ."""
    changes = (image.flip, image.rotate, image.brightness, image.contrast, image.saturation, image.hue)
    return image.crop_jitter or "random" in changes


@dataclass(frozen=True)
class _Drawn:
    """The draws of one version of a picture."""

    entry: Entry
    image: ConceptImage
    seed: int
    version: int

    def view(self, bucket: Size, epoch: int) -> View:
        image = self.image
        return View(
            bucket=bucket,
            flip=self._share("flip") < 0.5 if image.flip == "random" else image.flip == "fixed",
            angle=self._amount("rotate", image.rotate, image.rotate_angle),
            place=(self._share("top"), self._share("left")) if image.crop_jitter else (0.5, 0.5),
            brightness=1 + self._amount("brightness", image.brightness, image.brightness_strength),
            contrast=1 + self._amount("contrast", image.contrast, image.contrast_strength),
            saturation=1 + self._amount("saturation", image.saturation, image.saturation_strength),
            hue=self._amount("hue", image.hue, image.hue_strength),
            shift=self._shift(epoch),
        )

    def _share(self, purpose: str, *more: int) -> float:
        return uniform_for(self.seed, purpose, self.entry.key, self.version, *more)

    def _amount(self, purpose: str, change: Change, strength: float) -> float:
        """Fixed: the strength. Random: from minus to plus the strength."""
        if change == "random":
            return abs(strength) * (2 * self._share(purpose) - 1)
        return strength if change == "fixed" else 0.0

    def _shift(self, epoch: int) -> tuple[int, int]:
        """By how much a tile lies beside its place in the grid: at most half of its side, and inside the picture."""
        tile = self.entry.tile
        if tile is None or not self.image.detail_crops.regenerate_each_epoch:
            return (0, 0)
        down = _shifted(tile, tile.top, tile.scaled.height, self._share("tile top", epoch))
        right = _shifted(tile, tile.left, tile.scaled.width, self._share("tile left", epoch))
        return (down, right)


def _shifted(tile: Tile, start: int, length: int, share: float) -> int:
    least, most = max(-start, -(tile.side // 2)), min(length - tile.side - start, tile.side // 2)
    return least + int(share * (most - least + 1))
