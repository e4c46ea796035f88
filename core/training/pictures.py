"""The pictures of a run: looked at when it starts, the same ones when it goes on."""

from __future__ import annotations

from collections.abc import Callable

from core.config.lora import LoraConfig
from core.dataset.manifest import Entry, Manifest
from core.dataset.survey import survey
from core.training.events import Event, Message, Phase
from core.training.run_folder import RunFolder, write_text


def frozen_entries(config: LoraConfig, folder: RunFolder, report: Callable[[Event], None]) -> list[Entry]:
    """The pictures in the workspace's manifest, which the first start writes. PictureError if there are none."""
    if folder.manifest_path.exists():
        return list(Manifest.from_json(folder.manifest_path.read_text(encoding="utf-8")).entries)
    report(Phase(title="Reading the pictures"))
    found = survey(config.concepts, config.buckets)
    for note in found.left_out:
        report(Message(level="warning", text=f"Left out: {note}"))
    for note in found.converted:
        report(Message(text=f"Converted: {note}"))
    for warning in found.warnings:
        report(Message(level="warning", text=warning))
    write_text(folder.manifest_path, Manifest(tuple(found.entries)).to_json())
    return found.entries
