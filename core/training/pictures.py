"""The pictures of a run: looked at when it starts, the same ones when it goes on."""

from __future__ import annotations

from collections.abc import Callable

from core.config.lora import LoraConfig
from core.dataset.manifest import Manifest
from core.dataset.survey import survey
from core.training.events import Event, Message, Phase
from core.training.run_folder import RunFolder, write_text

_TOLD = 100
"""Progress is told each time that so many pictures are read."""


def frozen_manifest(config: LoraConfig, folder: RunFolder, report: Callable[[Event], None]) -> Manifest:
    """The workspace's manifest, which the first start writes. PictureError if there are no pictures."""
    if folder.manifest_path.exists():
        return Manifest.from_json(folder.manifest_path.read_text(encoding="utf-8"))

    def reading(done: int, total: int) -> None:
        if done % _TOLD == 0 or done == total:
            report(Phase(title="Reading the pictures", done=done, total=total))

    report(Phase(title="Reading the pictures"))
    found = survey(config.concepts, config.buckets, reading)
    for note in found.left_out:
        report(Message(level="warning", text=f"Left out: {note}"))
    for note in found.converted:
        report(Message(text=f"Converted: {note}"))
    for warning in found.warnings:
        report(Message(level="warning", text=warning))
    manifest = Manifest(tuple(found.entries), found.lines)
    write_text(folder.manifest_path, manifest.to_json())
    return manifest
