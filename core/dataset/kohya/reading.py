"""Reads kohya's dataset configs and folders: they become concepts, settings, and a list of all that is different."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from core.dataset.formats import suffixes
from core.dataset.kohya.importing import Import, Imported, caption_endings
from core.dataset.kohya.values import Account, Dataset, Note, Table
from core.dataset.survey import proposed_repeats
from core.errors import OchreError, PictureError, Problem, SettingsError

__all__ = ["Imported", "Note", "read_config", "read_folder", "read_kohya"]


def read_kohya(path: Path, regularisation: Path | None = None) -> Imported:
    """What a dataset config, or a folder of folders named in kohya's way, says.

    regularisation: the folder of regularisation folders, beside a folder. Errors as in `read_config`, `read_folder`.
    """
    if path.is_dir():
        return read_folder(path, regularisation)
    if regularisation:
        what = "A folder of regularisation pictures goes with a folder of pictures."
        raise OchreError(what, f"{path} is none.", "In a dataset config a subset with is_reg is one.")
    return read_config(path)


def read_config(path: Path) -> Imported:
    """The concepts and settings of a dataset config (TOML or JSON), as kohya's trainer takes it by `--dataset_config`.

    A value counts from its subset, else from its dataset, else from [general], else it is kohya's default. Relative
    folders count from the working folder, as with kohya's trainer, or else from the config's.

    OchreError, naming the file, where it can't be read; SettingsError, with every problem and its key, where a value
    has the wrong type, can't be had here, or names a folder or file that isn't there.
    """
    data = _load(path)
    account = _account(data, str(path))
    for name, value in data.items():
        if name not in ("general", "datasets"):
            account.say(name, value, "It is neither [general] nor [[datasets]].", taken=False)
    return Import(account, path).read()


def read_folder(folder: Path, regularisation: Path | None = None) -> Imported:
    """The concepts of a folder with subfolders such as `10_sks dog`: ten repeats, trigger word `sks dog`.

    Those of `regularisation` are of that kind. Captions are the first lines of files that end in .caption if there are
    only such, else in .txt. There are no settings: kohya's trainer takes them by its command line. PictureError, naming
    the folder, where it has no such subfolder.
    """
    subsets, passed_over = list(_subsets(folder, False)), list(_passed_over(folder))
    if regularisation:
        subsets += _subsets(regularisation, True)
        passed_over += _passed_over(regularisation)
    tables = [Table(place, "subsets", values) for place, values in subsets]
    account = Account(Table("general", "general", {}), [Dataset(Table("datasets", "datasets", {}), tables)])
    for path, why in passed_over:
        account.say(str(path), None, why, taken=False)
    text = "Of folders their names alone are known. Resolution, buckets, batch size and whatever else stood on the "
    account.say(str(folder), None, f"{text}command line of kohya's trainer are to be set in the run.", taken=False)
    return Import(account, folder).read(sizes_too=False)


def _load(path: Path) -> dict[str, Any]:
    """The tables of a config."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
        data = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except FileNotFoundError:
        raise OchreError(f"There is no file or folder {path}.", do="Check the path.") from None
    except UnicodeDecodeError as error:
        why = f"Byte {error.start + 1} can't be read."
        raise OchreError(f"{path} is not UTF-8 text.", why, "Save it as UTF-8.") from None
    except OSError as error:
        raise OchreError(f"{path} can't be read.", f"{error.strerror}.") from error
    except RecursionError:
        raise OchreError(f"{path} can't be read.", "It is nested too deeply.") from None
    except ValueError as error:  # of tomllib and of json
        kind = "JSON" if path.suffix.lower() == ".json" else "TOML"
        raise SettingsError([Problem("", f"not valid {kind}: {error}")], str(path)) from None
    if not isinstance(data, dict):
        raise SettingsError([Problem("", "must be a table")], str(path))
    return data


def _account(data: Mapping[str, Any], source: str) -> Account:
    """The tables of a config's data. SettingsError where one is missing or is no table."""
    problems: list[Problem] = []
    general = data.get("general", {})
    if not isinstance(general, Mapping):
        problems.append(Problem("general", "must be a table"))
    datasets = []
    for place, values in _tables(data, "datasets", "datasets", problems):
        subsets = [
            Table(inner, "subsets", table) for inner, table in _tables(values, "subsets", f"{place}.subsets", problems)
        ]
        own = {name: value for name, value in values.items() if name != "subsets"}
        datasets.append(Dataset(Table(place, "datasets", own), subsets))
    if problems:
        raise SettingsError(problems, source)
    return Account(Table("general", "general", general), datasets)


def _tables(
    data: Mapping[str, Any], name: str, place: str, problems: list[Problem]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Place and values of each table in a list of them."""
    found = data.get(name)
    header = re.sub(r"\.\d+", "", place)
    if found is None or found == []:
        problems.append(Problem(place, f"is missing; there must be a table [[{header}]]"))
    elif not isinstance(found, list):
        problems.append(Problem(place, f"must be a list of tables: write [[{header}]], with two brackets"))
    else:
        for index, values in enumerate(found):
            if isinstance(values, Mapping):
                yield f"{place}.{index}", values
            else:
                problems.append(Problem(f"{place}.{index}", "must be a table"))


# -- folders


def _subsets(folder: Path, is_regularisation: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Place and values of the subset that kohya's trainer makes of each subfolder. PictureError where there is none."""
    found = [path for path in _folders(folder) if proposed_repeats(path)]
    if not found:
        raise PictureError(f"{folder} has no subfolder such as 10_sks dog.", do=_where_else(folder))
    for path in found:
        word = path.name.partition("_")[2]
        yield (
            str(path),
            {
                "image_dir": str(path.absolute()),
                "num_repeats": proposed_repeats(path),
                "is_reg": is_regularisation,
                "class_tokens": word,
                "caption_extension": _ending(path),
            },
        )


def _ending(folder: Path) -> str:
    endings = caption_endings(folder)
    return ".caption" if endings[".caption"] and not endings[".txt"] else ".txt"


def _passed_over(folder: Path) -> Iterator[tuple[Path, str]]:
    """What else lies in the folder, with what is to be said of it."""
    for path in _folders(folder):
        if proposed_repeats(path):
            continue
        if re.fullmatch(r"\d+", path.name):
            yield path, f"It is passed over. kohya's trainer takes it, without a word: call it {path.name}_ for that."
        else:
            yield path, "It is passed over, as its name doesn't begin with repeats from 1 to 10,000, such as 10_."
    pictures = [path.name for path in _listed(folder) if path.suffix.lower() in suffixes()]
    if pictures:
        yield folder, f"{len(pictures)} pictures lie in no subfolder and are passed over, as with kohya's trainer."


def _where_else(folder: Path) -> str:
    if proposed_repeats(folder.absolute()):
        return f"It is itself one: give the folder that it lies in, {folder.absolute().parent}."
    inside = [path for path in _folders(folder) if any(proposed_repeats(inner) for inner in _folders(path))]
    if inside:
        return f"There are such in {inside[0]}: give that."
    return "Call each folder of pictures by its repeats, an underscore, and its word; or add it as a concept."


def _folders(folder: Path) -> list[Path]:
    return [path for path in _listed(folder) if path.is_dir()]


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise PictureError(f"The folder {folder} can't be read.", f"{error.strerror}.") from error
