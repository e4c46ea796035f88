"""Writes the page about the import from kohya's trainer, from the table that the import itself uses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from core.dataset.kohya.keys import COMMAND_LINE, KEYS, REMARKS, Key
from core.dataset.kohya.values import WHERE, shown

_CHOOSE = "Of several datasets' values a run takes the {}."

_BEGINNING = """\
# Importing from kohya's trainer

A data set that was made for kohya's trainer (sd-scripts) becomes concepts:

    ./run-cmd.sh import_kohya dataset.toml
    ./run-cmd.sh import_kohya pictures --regularisation-folder class_pictures

The first is a dataset config (TOML or JSON), as sd-scripts takes it by `--dataset_config`; each subset becomes a \
concept. The second is a folder with subfolders such as `10_sks dog`, each of which becomes a concept with 10 repeats \
and the trigger word `sks dog`; other subfolders, and pictures that lie in none, are passed over and named.

It prints what it understood, what means something slightly different here, and what is left out; nothing else is \
changed. `--config-path run.toml` writes concepts and settings into a run.toml, a new one or one that is there (then \
with `--overwrite`, which replaces its concepts and leaves other settings alone). `--save-as NAME` keeps the concepts \
as a set, which other runs can load.

A value counts from its subset, else from its dataset, else from `[general]`, else it is kohya's default. A key that \
is overridden everywhere, unknown, or written where sd-scripts doesn't take it is told as left out. Values of the \
wrong type, and folders that aren't there, are errors, all at once, each with its key.

A dataset config isn't all: what stood on kohya's command line, such as `--caption_extension .txt` or `--resolution`, \
isn't in the file. Where a key is missing whose default matters, that is told too.
"""

_ENDING = """\
## What is different all the same

* With `enable_bucket` off kohya's trainer brings every picture to exactly the resolution. So does Ochre: a square of \
whole bucket steps becomes the resolution with `buckets.aspect_ratio_bucketing` off; any other size, and a dataset \
without buckets beside one with, gets an exact resolution, such as `768x1152`.
* A caption file's first line is the first that isn't empty. Of a metadata file's caption with several lines, each \
line gets the tags; with kohya's trainer, where wildcards are off, the first is shown without them.
* `cat_00_10_20_30.png` doesn't take the caption of `cat`, as a face cut out of it would with kohya's trainer.
* Transparent parts are laid on white with every setting; kohya's trainer shows the colours stored under them.
* A second subset with the same folder in one dataset, and one with no repeats, become concepts that aren't enabled; \
kohya's trainer leaves them out.
* Metadata files have to be JSON; one in lines (`.jsonl`) is an error.
"""


def kohya_page() -> str:
    """The page, as Markdown."""
    counterparts = [key for key in KEYS.values() if key.ours]
    without = [key for key in KEYS.values() if not key.ours]
    lines = [
        _BEGINNING,
        "## Keys and settings",
        "",
        *_table(["Key", "Stands in", "kohya's default", "Setting", "What differs"], map(_row, counterparts)),
        "Settings without another table in front are those of a concept. Where nothing is said, nothing differs.",
        "",
        "## Keys without counterpart",
        "",
        *_table(["Key", "Stands in", "What to do"], map(_row_without, without)),
        "A key with kohya's default, which switches it off, is nothing to tell.",
        "",
        "## Options of the command line",
        "",
        "sd-scripts doesn't take these in a dataset config, but some programs write them there. They are told as left "
        "out, with their setting where there is one.",
        "",
        *_table(["Option", "Setting"], ([f"`{name}`", ours] for name, ours in COMMAND_LINE.items())),
        _ENDING,
    ]
    return "\n".join(lines)


def _table(header: list[str], rows: Iterable[list[str]]) -> Iterator[str]:
    for cells in (header, ["---"] * len(header), *rows):
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    yield ""


def _row(key: Key) -> list[str]:
    default = "" if key.default is None else f"`{shown(key.default)}`"
    choose = [_CHOOSE.format(key.choose)] if key.choose else []
    said = [f"{remark.when}: {remark.text}" for remark in REMARKS if remark.key == key.name]
    return [f"`{key.name}`", _where(key), default, _settings(key), " ".join([*choose, key.note, *said]).strip()]


def _settings(key: Key) -> str:
    """The settings that it becomes; where they have other values than the key, an example."""
    if key.example is None:
        return ", ".join(f"`{path}`" for path in key.ours)
    becomes = ", ".join(f"`{path} = {shown(value)}`" for path, value in key.settings(key.example).items())
    return f"of `{shown(key.example)}`: {becomes}"


def _row_without(key: Key) -> list[str]:
    return [f"`{key.name}`", _where(key), key.note]


def _where(key: Key) -> str:
    where = ", ".join(f"`{WHERE[level]}`" for level in reversed(key.levels))
    return f"{where}; {key.only}" if key.only else where
