"""Encoded pictures and captions on disk, found by all that determines them, so that runs share them."""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import torch
from torch import Tensor

from core.contracts import Part, Size
from core.dataset.manifest import Entry, sha256_of
from core.dataset.pictures import FITTING, decode, fit, read_file
from core.dataset.read_ahead import read_ahead
from core.errors import ModelFileError, PictureError, TrainingError
from core.weights.files import open_tensors, write_safetensors
from core.weights.header import read_header

Kind = Literal["latents", "text"]
Shown = tuple[Entry, bool]
"""A picture, and whether it is mirrored."""
Item = TypeVar("Item")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImageEncoder:
    """A VAE, as the cache sees it.

    encode: pixels (B 3 H W, fp32, -1 to 1, on the CPU) -> latents (B C h w); on what device is its own affair.
    fingerprint: of its weights. dtype: what it calculates in. batch_size: every call gets so many pictures, the last of
    them repeated where there are fewer, because batches of different sizes differ in the last bits.
    """

    encode: Callable[[Tensor], Tensor]
    fingerprint: str
    dtype: str
    batch_size: int = 1

    def key(self, entry: Entry, flip: bool) -> str:
        """Where this picture's latents are in the cache."""
        return _digest(
            "latents", FITTING, entry.sha256, entry.bucket, flip, self.fingerprint, self.dtype, self.batch_size
        )


@dataclass(frozen=True)
class TextEncoder:
    """One text encoder that isn't trained, as the cache sees it.

    encode: captions -> for each, its tensors by name, without a batch axis.
    fingerprint: of its weights and its tokenizer. The others as in ImageEncoder.
    """

    part: Part
    encode: Callable[[Sequence[str]], list[dict[str, Tensor]]]
    fingerprint: str
    dtype: str
    clip_skip: int = 1
    batch_size: int = 1

    def key(self, caption: str) -> str:
        """Where this caption's encoding is in the cache."""
        return _digest(
            "text", self.part, caption, self.fingerprint, self.dtype, f"clip skip {self.clip_skip}", self.batch_size
        )


class Cache:
    """A folder of safetensors files, `latents/ab/abcdef....safetensors`, each written whole or not at all."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    def path(self, kind: Kind, key: str) -> Path:
        """The file of a key, whether it is there or not."""
        return self.folder / kind / key[:2] / f"{key}.safetensors"

    def has(self, kind: Kind, key: str) -> bool:
        """Whether there is a whole file; a broken one counts as missing, and the log says so."""
        path = self.path(kind, key)
        if not path.exists():
            return False
        try:
            read_header(path)
        except ModelFileError as error:
            _log.warning("A file of the cache is broken and will be written anew. %s", error)
            return False
        return True

    def get(self, kind: Kind, key: str) -> dict[str, Tensor] | None:
        """The tensors of a key, on the CPU; None where there is no whole file."""
        if not self.has(kind, key):
            return None
        with open_tensors(self.path(kind, key)) as reader:
            return {name: reader.read(name) for name in reader.keys()}  # noqa: SIM118 - a reader is no dict

    def put(self, kind: Kind, key: str, tensors: Mapping[str, Tensor]) -> None:
        """Write the tensors of a key. OchreError where the disk is full or can't be written."""
        write_safetensors(self.path(kind, key), tensors, {}, overwrite=True)


def fill_latents(
    wanted: Iterable[Shown],
    cache: Cache,
    encoder: ImageEncoder,
    report: Callable[[int, int], None] = lambda done, total: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Encode the pictures that the cache lacks. False where `should_stop` ended it early.

    `report` is told how many are there, and of how many. PictureError for a picture that changed since it was looked
    at; TrainingError where the VAE gives values that are not finite.
    """
    keys = {encoder.key(*shown): shown for shown in wanted}
    missing = {key: shown for key, shown in keys.items() if not cache.has("latents", key)}
    done = len(keys) - len(missing)
    report(done, len(keys))
    buckets: defaultdict[Size, list[tuple[str, Shown]]] = defaultdict(list)
    for key, shown in missing.items():
        buckets[shown[0].bucket].append((key, shown))
    chunks = [chunk for pairs in buckets.values() for chunk in _chunks(pairs, encoder.batch_size)]
    with closing(read_ahead(lambda chunk: read_pixels([shown for _, shown in chunk]), chunks)) as pixels:
        for chunk, read in zip(chunks, pixels, strict=True):
            if should_stop():
                return False
            for (key, _), latents in zip(chunk, encode_pixels(read, [s for _, s in chunk], encoder), strict=True):
                cache.put("latents", key, {"latents": latents})
            done += len(chunk)
            report(done, len(keys))
    return True


def fill_text(
    captions: Iterable[str],
    cache: Cache,
    encoder: TextEncoder,
    report: Callable[[int, int], None] = lambda done, total: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Encode the captions that the cache lacks; as `fill_latents`. Their order is their alphabetical one."""
    keys = {encoder.key(caption): caption for caption in sorted(captions)}
    missing = [(key, caption) for key, caption in keys.items() if not cache.has("text", key)]
    done = len(keys) - len(missing)
    report(done, len(keys))
    for chunk in _chunks(missing, encoder.batch_size):
        if should_stop():
            return False
        for (key, _), encoded in zip(chunk, encode_captions([c for _, c in chunk], encoder), strict=True):
            cache.put("text", key, encoded)
        done += len(chunk)
        report(done, len(keys))
    return True


def read_pixels(shown: Sequence[Shown]) -> list[Tensor]:
    """Pictures, each laid into its bucket: 3 H W, fp32, -1 to 1. PictureError for one that changed meanwhile."""
    return [_read_pixels(entry, flip) for entry, flip in shown]


def _read_pixels(entry: Entry, flip: bool) -> Tensor:
    data = read_file(entry.path)
    if sha256_of(data) != entry.sha256:
        raise PictureError(
            f"{entry.path} has changed since the run was started.", do="Put it back, or start a new workspace."
        )
    return fit(decode(data, entry.path).picture, entry.bucket, flip)[0]


def encode_pixels(pixels: Sequence[Tensor], shown: Sequence[Shown], encoder: ImageEncoder) -> list[Tensor]:
    """The latents (C h w, fp32, on the CPU) of pictures of one bucket, the same as the cache would hold."""
    latents: list[Tensor] = []
    for chunk in _chunks(pixels, encoder.batch_size):
        with torch.no_grad():
            encoded = encoder.encode(torch.stack(_padded(chunk, encoder.batch_size)))
        latents += [one.float().cpu() for one in encoded[: len(chunk)]]
    broken = [entry.name for (entry, _), one in zip(shown, latents, strict=True) if not torch.isfinite(one).all()]
    if broken:
        raise TrainingError(
            f"The VAE gives values that are not finite for {', '.join(broken)}.",
            f"It calculates in {encoder.dtype}; SDXL's own VAE can't do so in fp16.",
            "Choose fp32 or bf16 as precision, or another VAE.",
        )
    return latents


def encode_captions(captions: Sequence[str], encoder: TextEncoder) -> list[dict[str, Tensor]]:
    """The encodings (on the CPU, in the precision they come in) of captions, the same as the cache would hold."""
    encoded: list[dict[str, Tensor]] = []
    for chunk in _chunks(captions, encoder.batch_size):
        with torch.no_grad():
            some = encoder.encode(_padded(chunk, encoder.batch_size))[: len(chunk)]
        encoded += [{name: tensor.cpu() for name, tensor in one.items()} for one in some]
    return encoded


def _chunks(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _padded(items: Sequence[Item], size: int) -> list[Item]:
    return [*items, *[items[-1]] * (size - len(items))]


def _digest(*parts: object) -> str:
    """A key of all that determines a result; the parts are told apart by their lengths."""
    digest = hashlib.blake2b(digest_size=20)
    for part in parts:
        text = repr(part).encode()
        digest.update(len(text).to_bytes(8, "big") + text)
    return digest.hexdigest()
