"""Asks every family whether it knows a file or folder, and says what it seems to be if none does."""

from __future__ import annotations

from pathlib import Path

from core.contracts import Family, Match
from core.errors import ModelFileError
from core.families._strangers import file_kind, folder_kind
from core.registry import registry
from core.weights.diffusers_folders import read_configs
from core.weights.header import read_header


def recognise(path: Path) -> list[Match]:
    """Every family's match for a file or diffusers folder, of which only the beginning and the configs are read.

    Raises ModelFileError if there is none that Ochre can train, and says what the file seems to be.
    """
    families: list[Family] = [family() for family in registry("families").all().values()]
    if path.is_dir():
        index, configs = read_configs(path)
        found = [match for family in families if (match := family.recognise_folder(index, configs))]
        kind = "" if found else folder_kind(index, configs)
    else:
        header = read_header(path)
        found = [match for family in families if (match := family.recognise(header))]
        kind = "" if found else file_kind(header)
    if trainable := [match for match in found if not match.refusal]:
        return trainable
    labels = {family.name: family.label for family in families}
    if found:
        refusal = f"It is of {labels[found[0].family]}. {found[0].refusal}"
    else:
        refusal = f"It seems to be {kind}." if kind else "Nothing in it is familiar."
    raise ModelFileError(
        f"{path} is not a model that Ochre can train.",
        refusal,
        f"Choose a whole checkpoint of {' or '.join(labels.values())}.",
    )
