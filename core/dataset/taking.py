"""Takes the pictures of one concept's folder into a survey: their captions, buckets, masks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from core.contracts import Size
from core.dataset.buckets import Resolution, bucket_for
from core.dataset.caption_files import CaptionsFound, read_captions, read_prompt_lines
from core.dataset.companions import check_companion, conditioning_path, mask_path
from core.dataset.folders import Folder, Passed, why_foreign
from core.dataset.found import Picture, Survey, counted, listed
from core.dataset.looks import Job, Look
from core.dataset.loss_weights import read_loss_weights
from core.dataset.manifest import Entry, Note
from core.dataset.settings import Buckets
from core.dataset.text_files import printable
from core.dataset.tiles import TilesFound, stays_whole
from core.errors import PictureError

SHORTEST_SIDE = 16
"""Pictures with a side under this many pixels teach nothing and are left out."""


class Taking:
    """The pictures of one folder, and what lies beside them."""

    def __init__(self, folder: Folder, buckets: Buckets) -> None:
        self.folder, self.concept, self.buckets = folder, folder.concept, buckets
        self.resolutions = buckets.resolutions(folder.concept)
        self._partly: list[str] = []  # pictures that some of the resolutions have no bucket for
        image = self.concept.image
        there = {str(Path(path)): path for path in folder.companions}
        self.masks = _beside(folder.pictures, mask_path, there)
        self.conditionings = _beside(folder.pictures, conditioning_path, there)
        self._wanted = [
            *(self.masks.values() if image.mask == "file" else ()),
            *(self.conditionings.values() if image.conditioning else ()),
        ]

    def jobs(self) -> Iterator[Job]:
        """What has to be read: the pictures, then those that lie beside them."""
        image = self.concept.image
        crops = image.detail_crops if image.detail_crops.enabled else None
        for path in self.folder.pictures:
            yield Job(path, image.alpha_colour, crops)
        for path in self._wanted:
            yield Job(path)

    def take(self, looks: Iterator[Look], found: Survey) -> None:
        """Add what the looks at `jobs` gave to what was found."""
        folder = self.folder
        own = list(islice(looks, len(folder.pictures)))
        beside = dict(zip(self._wanted, islice(looks, len(self._wanted)), strict=True))
        found.problems.extend(_shared_captions(folder))
        captions = self._captions(found)
        weights = self._weights(found)
        before = len(found.left_out)
        used: list[str] = []
        for path, look in zip(folder.pictures, own, strict=True):
            found.pictures.append(Picture(path, folder.index, look))
            try:
                entries = self._entries(path, look, captions.captions.get(path, ()), beside)
                found.entries.extend(replace(entry, weight=weights.get(path, 1.0)) for entry in entries)
            except PictureError as error:
                found.left_out.append(Note(printable(path), str(error)))
                continue
            used.append(path)
            if look.converted:
                found.converted.append(Note(printable(path), look.converted))
        if not used:
            reasons = listed([f"{folder.name_of(note.path)}: {note.reason}" for note in found.left_out[before:]])
            found.problems.append(f"No picture in the folder {folder.path} can be used: {reasons}")
        found.left_out += [Note(printable(path), why_foreign(path)) for path in folder.foreign]
        passed = self._passed(captions.orphans)
        found.passed.append(passed)
        if folder.index not in found.lines:
            found.warnings.extend(_caption_warnings(folder, used, captions.captions))
        found.warnings.extend(captions.warnings)
        found.warnings.extend(_passed_warnings(passed))
        found.warnings.extend(self._own_warnings(used))

    def _captions(self, found: Survey) -> CaptionsFound[str]:
        """The pictures' captions; problems, and the lines of a prompt file, go to what was found."""
        captions = read_captions(self.concept, self.folder.pictures)
        found.problems.extend(captions.problems)
        if self.concept.text.lines_path:
            try:
                found.lines[self.folder.index] = read_prompt_lines(self.concept)
            except PictureError as error:
                found.problems.append(str(error))
        return captions

    def _weights(self, found: Survey) -> dict[str, float]:
        """How much single pictures count; problems and warnings go to what was found."""
        weights = read_loss_weights(self.folder)
        found.problems.extend(weights.problems)
        found.warnings.extend(weights.warnings)
        return weights.weights

    def _entries(self, path: str, look: Look, captions: tuple[str, ...], beside: dict[str, Look]) -> list[Entry]:
        """The picture's entries: itself, its tiles, itself as a tile. PictureError, with the reason, if it has none."""
        if look.error:
            raise PictureError(look.error)
        if min(look.width, look.height) < SHORTEST_SIDE:
            raise PictureError(f"It is too small: {look.size}, and each side needs at least {SHORTEST_SIDE} pixels.")
        whole = Entry(
            path=path,
            sha256=look.sha256,
            width=look.width,
            height=look.height,
            captions=captions,
            concept=self.folder.index,
            buckets=self._sizes(look.size, self.folder.name_of(path)),
            name=f"{self.folder.path.name}/{self.folder.name_of(path)}",
            mask=_companion(path, look, self.masks.get(path), beside),
            conditioning=_companion(path, look, self.conditionings.get(path), beside),
        )
        return [whole] if look.tiles is None else self._with_tiles(whole, look.tiles)

    def _with_tiles(self, whole: Entry, found: TilesFound) -> list[Entry]:
        crops = self.concept.image.detail_crops
        entries = [whole] if stays_whole(found, crops) else []
        square = (Size(crops.tile_resolution, crops.tile_resolution),)
        entries += [replace(whole, buckets=square, tile=tile) for tile in found.kept]
        if crops.include_context_tiles:
            resolution = Resolution(crops.tile_resolution, crops.tile_resolution)
            entries.append(replace(whole, buckets=(bucket_for(whole.size, self.buckets, resolution),)))
        return entries

    def _sizes(self, size: Size, name: str) -> tuple[Size, ...]:
        """The picture's bucket at each resolution, each once. PictureError where no resolution has one."""
        sizes: dict[Size, None] = {}
        refused: list[PictureError] = []
        for resolution in self.resolutions:
            try:
                sizes[bucket_for(size, self.buckets, resolution)] = None
            except PictureError as error:
                refused.append(error)
        if not sizes:
            raise refused[0]
        if refused:
            self._partly.append(name)
        return tuple(sizes)

    def _own_warnings(self, used: list[str]) -> Iterator[str]:
        """About masks, conditioning pictures and resolutions."""
        image, where = self.concept.image, f"In {self.folder.path}:"
        if self._partly:
            yield (
                f"{where} {counted(len(self._partly), 'picture')} too small for some of the resolutions, shown at the "
                f"others: {listed(self._partly)}."
            )
        for wanted, pairs, title in (
            (image.mask == "file", self.masks, "mask"),
            (image.conditioning, self.conditionings, "conditioning picture"),
        ):
            without = [self.folder.name_of(path) for path in used if path not in pairs]
            if wanted and without:
                yield f"{where} {len(without)} of {counted(len(used), 'picture')} without {title}: {listed(without)}."
            if pairs and not wanted:
                yield f"{where} {counted(len(pairs), title)} not used, as that is off for this concept."

    def _passed(self, orphans: Iterable[Path]) -> Passed:
        folder = self.folder
        foreign = {_stem(path) for path in folder.foreign}
        paired = {*self.masks.values(), *self.conditionings.values()}
        reads_files = self.concept.text.prompt_source == "caption_file"
        return Passed(
            index=folder.index,
            path=str(folder.path),
            pictures=len(folder.pictures),
            masks=len(self.masks),
            conditionings=len(self.conditionings),
            unpaired=[folder.name_of(path) for path in folder.companions if path not in paired],
            foreign=folder.names_of(folder.foreign),
            orphans=[folder.name_of(str(path)) for path in orphans if _stem(str(path)) not in foreign],
            unread=[] if reads_files else folder.names_of(folder.captions),
            others=folder.names_of(folder.others),
            subfolders=folder.names_of(folder.subfolders),
            hidden=folder.names_of(folder.hidden),
            again=folder.names_of(folder.again),
        )


def _stem(path: str) -> str:
    """A path without its last ending."""
    return path.rpartition(".")[0]


def _beside(pictures: list[str], place: Callable[[str], Path], there: dict[str, str]) -> dict[str, str]:
    """The masks (or conditioning pictures) of the pictures that have one; `place` says where it would lie."""
    if not there:
        return {}
    pairs = ((path, there.get(str(place(path)))) for path in pictures)
    return {path: other for path, other in pairs if other}


def _companion(path: str, look: Look, other: str | None, beside: dict[str, Look]) -> str:
    """sha256 of a mask or conditioning picture. PictureError if it can't be used; empty where none is wanted."""
    if other is None or other not in beside:
        return ""
    its, name = beside[other], Path(other).name
    if its.error:
        raise PictureError(f"Its {name} can't be used: {its.error}")
    if problem := check_companion(Path(path).name, look.size, name, its.size):
        raise PictureError(problem)
    return its.sha256


def _shared_captions(folder: Folder) -> Iterator[str]:
    if folder.concept.text.prompt_source != "caption_file":
        return
    stems: defaultdict[str, list[str]] = defaultdict(list)
    for path in folder.pictures:
        stems[_stem(path)].append(folder.name_of(path))
    shared = [" and ".join(names) for names in stems.values() if len(names) > 1]
    if shared:
        extension = folder.concept.text.caption_extension
        yield (
            f"In {folder.path}, pictures of the same name would share one {extension} caption: {listed(shared)}. "
            "Rename one of each, with its caption."
        )


def _caption_warnings(folder: Folder, used: list[str], captions: dict[str, tuple[str, ...]]) -> Iterator[str]:
    concept = folder.concept
    without = [folder.name_of(path) for path in used if not any(captions.get(path, ()))]
    if without:
        instead = f"the trigger word {concept.trigger_word!r} alone" if concept.trigger_word else "an empty caption"
        wanted = {
            "caption_file": f" ({concept.text.caption_extension} file with text)",
            "file_name": " in the name",
            "metadata_file": " in the metadata file",
        }
        yield (
            f"In {folder.path}: {len(without)} of {counted(len(used), 'picture')} without a caption"
            f"{wanted.get(concept.text.prompt_source, '')}, shown with {instead}: {listed(without)}."
        )


def _passed_warnings(passed: Passed) -> Iterator[str]:
    for names, what, more in (
        (passed.orphans, "caption file", "without picture"),
        (passed.unread, "caption file", "not read, as captions come from elsewhere"),
        (passed.unpaired, "mask or conditioning file", "without picture"),
        (passed.others, "file", "neither picture nor caption, passed over"),
        (passed.subfolders, "subfolder", "not looked into"),
        (passed.again, "link", "to folders that were looked into already"),
    ):
        if names:
            yield f"In {passed.path}: {counted(len(names), what)} {more}: {listed(names)}."
