"""ConceptSets: sets of concepts under a name, to load into other runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from core.config.migrations import VERSION
from core.config.toml_file import read_config, to_toml
from core.dataset.settings import Concept
from core.errors import OchreError, Problem, SettingsError
from core.manager.profile_manager import PROFILES
from core.settings import Settings, setting
from core.settings.checks import check_all
from core.training.run_folder import write_text

_LONGEST_NAME = 100
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)")
"""What Windows takes for a device, whatever ending it has."""


class About(Settings):
    """What a set is called."""

    title: str = setting("", "Title", "What you call it.", affects="log", min_length=1)
    explanation: str = setting("", "Explanation", "What it is for.", kind="text", affects="log")


class ConceptSet(Settings):
    """Concepts to load into other runs."""

    version: int = setting(VERSION, "Version", "Layout of this file.", ge=1, le=VERSION, affects="files")
    about: About = setting(lambda: About(title="concepts"), "About", "What it is.")
    concepts: list[Concept] = setting([], "Concepts", "The pictures.", min_length=1)

    def missing(self) -> list[Problem]:
        """The folders and files of enabled concepts that aren't on this machine; a set with such can be loaded."""
        return [
            Problem(f"concepts.{index}.{path}", f"{written} isn't there")
            for index, concept in enumerate(self.concepts)
            if concept.enabled
            for path, written in _places(concept)
            if written and not Path(written).expanduser().exists()
        ]


class ConceptSets:
    """The sets of a user, each a file `concepts/user/NAME.toml` beside the profiles."""

    def __init__(self, folder: Path = PROFILES) -> None:
        self.folder = folder / "concepts" / "user"

    def names(self) -> list[str]:
        """The names of all sets, in their order, whether they can be read or not."""
        return sorted(path.stem for path in self.folder.glob("*.toml"))

    def sets(self) -> dict[str, ConceptSet]:
        """The sets that can be used, by their names. Those that can't are told by `broken`."""
        found = {name: self._try(name) for name in self.names()}
        return {name: one for name, one in found.items() if isinstance(one, ConceptSet)}

    def broken(self) -> list[OchreError]:
        """What is wrong with the files that are no usable sets."""
        return [error for name in self.names() if isinstance(error := self._try(name), OchreError)]

    def load(self, name: str) -> ConceptSet:
        """The set of a name. OchreError if there is none; SettingsError, with every problem, if it can't be used."""
        return read_config(ConceptSet, self._existing(name))

    def save(self, title: str, concepts: Sequence[Concept], overwrite: bool = False, explanation: str = "") -> str:
        """Keep concepts under a title; the set's name, made of it, comes back.

        OchreError where there is a set of this name and it may not be overwritten, or no file can have the name;
        SettingsError where the concepts can't be used.
        """
        name = name_of(title)
        path = self.folder / f"{name}.toml"
        if path.exists() and not overwrite:
            raise OchreError(f"There is a set of concepts {name!r} already.", do="Choose another title.")
        if not concepts:
            raise OchreError("There are no concepts to save.", do="Add one first.")
        one = ConceptSet(about=About(title=title.strip(), explanation=explanation), concepts=list(concepts))
        if problems := list(check_all(one)):
            raise SettingsError(problems, f"The concepts of {title.strip()}")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OchreError(f"{self.folder} can't be made.", error.strerror or str(error)) from error
        write_text(path, to_toml(one))
        return name

    def delete(self, name: str) -> None:
        """Remove a set. OchreError if there is none, or if it can't be removed."""
        path = self._existing(name)
        try:
            path.unlink()
        except OSError as error:
            raise OchreError(f"{path} can't be removed.", f"{error.strerror}.") from error

    def _try(self, name: str) -> ConceptSet | OchreError:
        try:
            return self.load(name)
        except OchreError as error:
            return error

    def _existing(self, name: str) -> Path:
        names = self.names()
        if name not in names:
            there = f"There are {', '.join(names)}." if names else "There is none yet."
            raise OchreError(f"There is no set of concepts {name!r}.", do=there)
        return self.folder / f"{name}.toml"


def name_of(title: str) -> str:
    """The name of the file of a title: lower case, with an underscore for all but letters and digits.

    OchreError where nothing is left, it is too long, or no file can have it.
    """
    name = re.sub(r"\W+", "_", title.lower()).strip("_")
    if any("\ud800" <= letter <= "\udfff" for letter in title):
        raise OchreError("The title of the set of concepts is not UTF-8 text.", do="Choose another.")
    if not name:
        raise OchreError("The set of concepts needs a title.", do="Give it one with a letter or a digit.")
    if len(name.encode()) > _LONGEST_NAME:
        raise OchreError("The title of the set of concepts is too long.", do="Choose a shorter one.")
    if _DEVICES.fullmatch(name):
        raise OchreError(f"No file can be called {name!r} on Windows.", do="Choose another title.")
    return name


def _places(concept: Concept) -> list[tuple[str, str]]:
    """Path and value of each setting of a concept that names a folder or file which it reads."""
    source = concept.text.prompt_source
    places = [("folder", concept.folder)]
    if source == "prompt_file":
        places.append(("text.prompt_path", concept.text.prompt_path))
    if source == "metadata_file":
        places.append(("text.metadata_path", concept.text.metadata_path))
    return places
