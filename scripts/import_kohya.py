"""Makes concepts of a data set for kohya's trainer, a TOML or a folder: `./run-cmd.sh import_kohya dataset.toml`."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from core.config.lora import LoraConfig
from core.config.toml_file import set_values, to_data
from core.dataset.kohya.reading import Imported, Note, read_kohya
from core.dataset.settings import Concept
from core.errors import OchreError, SettingsError
from core.manager.concept_sets import ConceptSets
from core.manager.config_generator import ConfigGenerator, changes
from core.settings.checks import validate


def main(arguments: list[str] | None = None) -> int:
    """0: done. 2: it can't be read, can't be used here, or something would be overwritten."""
    parser = argparse.ArgumentParser(prog="./run-cmd.sh import_kohya", description=__doc__)
    parser.add_argument("source", type=Path, help="a dataset config, or a folder with subfolders such as 10_cat")
    parser.add_argument("--regularisation-folder", type=Path, help="beside a folder: that of regularisation pictures")
    parser.add_argument("--config-path", type=Path, help="write concepts and settings into this run.toml")
    parser.add_argument("--save-as", metavar="NAME", help="keep the concepts as a set of this name")
    parser.add_argument("--overwrite", action="store_true", help="replace the run.toml's concepts, or the set")
    options = parser.parse_args(arguments)
    try:
        imported = read_kohya(options.source, options.regularisation_folder)
        print("\n".join(told(imported)))
        data = merged(imported, options.config_path, options.overwrite) if options.config_path else None
        if options.save_as:
            save(imported, options.save_as, options.overwrite)
        if data is not None:
            write(data, options.config_path)
        if data is None and not options.save_as:
            print("\nNothing is written. --config-path writes a run.toml, --save-as keeps a set of concepts.")
    except OchreError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def told(imported: Imported) -> Iterator[str]:
    """What was understood, and what not, line by line."""
    yield f"{imported.source}: {len(imported.concepts)} concept{'s' if len(imported.concepts) > 1 else ''}"
    for number, concept in enumerate(imported.concepts, start=1):
        yield f"  {number}. {_summary(concept)}"
        yield from (f"     {change.path} = {_shown(change.after)}" for change in _set_in(concept))
    if imported.settings:
        yield from ["", "Settings of the run:"]
        yield from (f"  {path} = {_shown(value)}" for path, value in imported.settings.items())
    yield from _notes("Taken, but with a difference:", imported.differing)
    yield from _notes("Left out, or not given:", imported.left_out)


def _summary(concept: Concept) -> str:
    off = "" if concept.enabled else ", not enabled"
    word = f", trigger word {concept.trigger_word!r}" if concept.trigger_word else ""
    return f"{concept.name} ({concept.kind}{off}): {concept.folder}, repeats {concept.repeats:g}{word}"


def _set_in(concept: Concept) -> Iterator[Any]:
    """The other settings of a concept that aren't at their defaults."""
    said = ("name", "kind", "enabled", "folder", "repeats", "trigger_word")
    return (change for change in changes(to_data(Concept()), to_data(concept)) if change.path not in said)


def _notes(title: str, notes: Sequence[Note]) -> Iterator[str]:
    """Notes with the same words are told together."""
    if notes:
        yield from ["", title]
    for text in dict.fromkeys(note.text for note in notes):
        yield from (f"  {note.heading}" for note in notes if note.text == text)
        yield f"      {text}"


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def save(imported: Imported, title: str, overwrite: bool) -> None:
    """Keep the concepts as a set."""
    name = ConceptSets().save(title, imported.concepts, overwrite, f"Imported from {imported.source.name}.")
    print(
        f"\nSaved as the set of concepts {name!r}." + (" It has no settings of the run." if imported.settings else "")
    )


def merged(imported: Imported, path: Path, overwrite: bool) -> dict[str, Any]:
    """A run.toml's data with what was imported in it; with every default where there is no such file yet.

    OchreError where it is there and may not be overwritten, or isn't one; SettingsError where it can't hold this.
    """
    if path.exists() and not overwrite:
        raise OchreError(f"{path} is there already.", do="--overwrite replaces its concepts, and the settings above.")
    before = ConfigGenerator().read(path) if path.exists() else to_data(LoraConfig())
    old = {problem.path for problem in validate(LoraConfig, before)[1]}
    values = {"concepts": [to_data(concept) for concept in imported.concepts], **imported.settings}
    data = set_values(before, values)
    wrong = [problem for problem in validate(LoraConfig, data)[1] if problem.path not in old]
    if wrong:
        raise SettingsError(wrong, f"{path} with what was imported")
    return data


def write(data: dict[str, Any], path: Path) -> None:
    """Write a run.toml, and tell what it lacks still."""
    config, problems = validate(LoraConfig, data)
    assert config, "merged() has checked it"
    ConfigGenerator().write(config, path)
    print(f"\nWritten: {path}")
    for problem in problems:
        print(f"  To do: {problem}")


if __name__ == "__main__":
    sys.exit(main())
