"""The pictures of a run: looked at when it starts, the same ones when it goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from core.config.lora import LoraConfig
from core.dataset.manifest import Manifest
from core.dataset.survey import survey
from core.dataset.tile_captions.captioning import caption_tiles
from core.training.encoding import StoppedEarly, in_good_time
from core.training.events import Event, Message, Phase
from core.training.planning import advice_on
from core.training.run_folder import RunFolder, write_text


def frozen_manifest(
    config: LoraConfig, folder: RunFolder, cache_folder: Path, report: Callable[[Event], None]
) -> Manifest:
    """The workspace's manifest, which the first start writes. PictureError if there are no pictures.

    StoppedEarly if the user stopped the run while tiles were captioned; what was answered is kept.
    """
    if folder.manifest_path.exists():
        return Manifest.from_json(folder.manifest_path.read_text(encoding="utf-8"))
    found = survey(config.concepts, config.buckets, in_good_time("Reading the pictures", report))
    for note in found.left_out:
        report(Message(level="warning", text=f"Left out: {note}"))
    for note in found.converted:
        report(Message(text=f"Converted: {note}"))
    for warning in (*found.warnings, *advice_on(config)):
        report(Message(level="warning", text=warning))
    entries = caption_tiles(
        found.entries,
        config.concepts,
        cache_folder,
        report=lambda title, done, total: report(Phase(title=title, done=done, total=total)),
        warn=lambda text: report(Message(level="warning", text=text)),
        should_stop=folder.is_asked_to_stop,
        seed=config.training.seed,
    )
    if entries is None:
        raise StoppedEarly
    manifest = Manifest(tuple(entries), found.lines)
    write_text(folder.manifest_path, manifest.to_json())
    return manifest
