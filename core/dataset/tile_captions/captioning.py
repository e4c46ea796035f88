"""Lets a vision model caption tiles, each once: what it answered is kept beside the cache of encodings."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from core.dataset.draws import uniform_for
from core.dataset.manifest import Entry, sha256_of
from core.dataset.pictures import cut_tile, decode, read_file, resized
from core.dataset.settings import Concept, DetailCrops
from core.dataset.tile_captions.asking import Asking, Stopped, Telling, Way
from core.dataset.tile_captions.ollama import Question
from core.errors import OchreError, PictureError

if TYPE_CHECKING:
    from PIL.Image import Image

FOLDER = "tile_captions"
"""The folder inside a cache folder."""

_VERSION = 1
_PLACEHOLDER = "{context}"


def caption_tiles(
    entries: Sequence[Entry],
    concepts: Sequence[Concept],
    cache_folder: Path,
    report: Callable[[str, int, int], None] = lambda title, done, total: None,
    warn: Callable[[str], None] = lambda text: None,
    should_stop: Callable[[], bool] = lambda: False,
    seed: int = 0,
) -> list[Entry] | None:
    """The entries, with captions of their own for the tiles whose concepts want that. None: `should_stop` ended it.

    Which tiles are asked for is drawn by seed and tile (`caption_probability`). Each answer is kept at once under
    `cache_folder/tile_captions`, found by the picture's content, the tile, the model and all that it is asked: so no
    tile is asked for twice, and an interrupted pass goes on where it was.

    A tile without an answer keeps its picture's caption, and `warn` is told once how many there are and why; or, as
    `caption_failure` says, an OchreError stops all. Failures aren't kept. PictureError for a picture that is gone or
    has changed. report: what is done, how much of it, and of how much. All three are called on this thread.
    """
    kept = KeptCaptions(cache_folder)
    wanted = {
        place: Wanted.of(entry, concepts[entry.concept])
        for place, entry in enumerate(entries)
        if is_asked_for(entry, concepts[entry.concept], seed)
    }
    captions = {one.key: caption for one in wanted.values() if (caption := kept.get(one.key))}
    missing = _missing(wanted.values(), captions)
    telling = Telling(report, should_stop, len(captions), len(captions) + sum(map(len, missing.values())))
    try:
        for way, some in missing.items():
            asking = Asking(way, telling, kept)
            captions |= asking.answers(some, _TilesOfPictures().png)
            if asking.failure:
                warn(asking.failure)
    except Stopped:
        return None
    changed = {place: captions[one.key] for place, one in wanted.items() if one.key in captions}
    return [
        replace(entry, captions=(changed[place],)) if place in changed else entry for place, entry in enumerate(entries)
    ]


def is_asked_for(entry: Entry, concept: Concept, seed: int) -> bool:
    """Whether a tile is to have a caption of its own: a pure draw."""
    crops = concept.image.detail_crops
    if entry.tile is None or not crops.enabled or not crops.enable_captioning:
        return False
    return uniform_for(seed, "tile caption", entry.key) < crops.caption_probability


@dataclass(frozen=True)
class Wanted:
    """A tile that a caption is wanted for. prompt: with the picture's caption in it. key: of all that it hangs on."""

    entry: Entry
    crops: DetailCrops
    background: str
    prompt: str
    key: str

    @classmethod
    def of(cls, entry: Entry, concept: Concept) -> Wanted:
        """What is asked of a tile. Of several captions of its picture the model is told all, each in a line."""
        assert entry.tile
        crops, background, tile = concept.image.detail_crops, concept.image.alpha_colour, entry.tile
        prompt = crops.caption_user_prompt.replace(_PLACEHOLDER, "\n".join(entry.captions))
        place = (tile.scaled.width, tile.scaled.height, tile.left, tile.top, tile.side)
        asked = (crops.caption_model, crops.caption_system_prompt, prompt)
        content = json.dumps([_VERSION, entry.sha256, place, background, asked])
        return cls(entry, crops, background, prompt, hashlib.sha256(content.encode()).hexdigest())

    def __str__(self) -> str:
        return f"{self.entry.name}, {self.entry.tile}"

    def question(self, picture: bytes, attempt: int) -> Question:
        """What the model is asked. Another attempt has another seed, lest the answer be the same."""
        return Question(picture, self.crops.caption_system_prompt, self.prompt, int(self.key[:7], 16) + attempt)


def _missing(wanted: Iterable[Wanted], captions: Mapping[str, str]) -> dict[Way, list[Wanted]]:
    """The tiles without a caption, of equal ones the first; those that are asked for in one way stand together."""
    unique: dict[str, Wanted] = {}
    for one in wanted:
        if one.key not in captions:
            unique.setdefault(one.key, one)
    ways: defaultdict[Way, list[Wanted]] = defaultdict(list)
    for one in unique.values():
        ways[Way.of(one.crops)].append(one)
    return ways


class KeptCaptions:
    """Answers on disk, `tile_captions/ab/abcdef....json`, each there whole or not at all."""

    def __init__(self, cache_folder: Path | str) -> None:
        self.folder = Path(cache_folder) / FOLDER

    def path(self, key: str) -> Path:
        """The file of a key, whether it is there or not."""
        return self.folder / key[:2] / f"{key}.json"

    def get(self, key: str) -> str:
        """A tile's caption; empty where there is none, or only a damaged file, which is then written anew."""
        try:
            data = json.loads(self.path(key).read_text(encoding="utf-8"))
            caption = data["caption"]
            whole = isinstance(caption, str) and data["crc32"] == _checksum(caption)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return ""
        return caption if whole else ""

    def put(self, key: str, caption: str, model: str) -> None:
        """Keep a caption. OchreError where the disk is full or can't be written."""
        path = self.path(key)
        partial = path.with_name(f".{path.name}.{uuid4().hex}.part")
        content = {"caption": caption, "model": model, "crc32": _checksum(caption)}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
            partial.replace(path)
        except OSError as error:
            with suppress(OSError):  # the folder itself may be missing
                partial.unlink(missing_ok=True)
            raise OchreError(
                f"{path} can't be written.", f"{error.strerror}.", "Make room, or choose another cache folder."
            ) from error


def _checksum(caption: str) -> str:
    return f"{zlib.crc32(caption.encode()):08x}"


class _TilesOfPictures:
    """Cuts tiles; of a picture's tiles that come one after the other, it is read and resized once."""

    def __init__(self) -> None:
        self._of: tuple[str, str] | None = None
        self._whole: Image | None = None
        self._scaled: Image | None = None

    def png(self, wanted: Wanted) -> bytes:
        """A tile as a PNG. PictureError for a picture that is gone or has changed."""
        from PIL.Image import Resampling

        entry, tile = wanted.entry, wanted.entry.tile
        assert tile
        if self._whole is None or self._of != (entry.path, wanted.background):
            self._whole = self._scaled = None  # before the next is read: two may not fit into memory
            data = read_file(entry.path)
            if sha256_of(data) != entry.sha256:
                raise PictureError(f"{entry.path} has changed since it was looked at.", do="Start again.")
            self._whole = decode(data, entry.path, wanted.background).picture
            self._of = (entry.path, wanted.background)
        if self._scaled is None or self._scaled.size != (tile.scaled.width, tile.scaled.height):
            self._scaled = resized(self._whole, tile.scaled, Resampling.LANCZOS)
        file = BytesIO()
        cut_tile(self._scaled, tile, (0, 0), Resampling.LANCZOS).save(file, "PNG", compress_level=1)
        return file.getvalue()
