"""ProfileManager: ready-made settings, Ochre's and the user's own, to lay over what stands in a panel."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import tomlkit

from core.config.lora import LoraConfig
from core.config.migrations import VERSION
from core.config.toml_file import merge, read_toml, set_values, to_data
from core.devices import Machine
from core.errors import OchreError, Problem, SettingsError
from core.manager.config_generator import Change, changes, precision_for
from core.manager.found_family import found_family
from core.registry import plugin_name, registry
from core.settings import Settings
from core.settings.checks import plugin_kind, validate
from core.settings.tree import table_class
from core.training.run_folder import write_text

Kind = Literal["training", "memory", "sampling"]

PROFILES = Path(__file__).parents[2] / "profiles"

MEMORY = ("memory", "training.train_batch_size", "training.gradient_accumulation_steps")
"""The settings that memory profiles may change, and training profiles may not."""

SAMPLING = ("sampling.prompts", "sampling.before_first_step")
"""The settings that sampling presets may change, and training profiles may not."""

_A_RUNS_OWN = (
    "version", "job", "base.source", "base.family", "base.vae", "concepts", "engine", "logging", "memory.cache_dir",
    "saving.workspace", "saving.name", "saving.destination", "saving.overwrite", "sampling.prompts_file",
    "metadata.title", "metadata.description", "metadata.tags", "metadata.trigger_phrase", "metadata.usage_hint",
    "metadata.comment", "metadata.cover",
)  # fmt: skip
"""What a user's profile leaves out: which model, which pictures, where things go."""

# A card sold as 16 GB tells of 14.7 to 16 GiB: some is the driver's, some was never there.
_AS_SOLD = 0.92
# Apple's chips share their memory with the system, and lend a GPU about two thirds of it.
_LENT = {"mps": 0.67}


@dataclass(frozen=True)
class Profile:
    """A profile. name: its file's. about: its [about] table. settings: a partial config, for every family.

    for_families: family -> what is laid over `settings` for it. user: it is a user's own.
    """

    name: str
    kind: Kind
    title: str
    about: Mapping[str, Any]
    settings: dict[str, Any]
    for_families: dict[str, dict[str, Any]]
    user: bool
    path: Path

    @property
    def families(self) -> list[str]:
        """The families that it is for; none are named where it is for all."""
        return list(self.about.get("families", []))

    def settings_for(self, family: str | None) -> dict[str, Any]:
        """Its partial config for a family."""
        return merge(self.settings, self.for_families.get(family or "", {}))


class ProfileManager:
    """The profiles of a folder: `training/*.toml`, `memory/*.toml` and `sampling/*.toml`, and users' own in `user`."""

    def __init__(self, folder: Path = PROFILES, job: type[LoraConfig] = LoraConfig) -> None:
        self.folder, self.job = folder, job

    def profiles(self, kind: Kind, family: str | None = None) -> list[Profile]:
        """The profiles that can be used (for a family), Ochre's first. Those that can't are told by `broken`."""
        found = [profile for profile in self._all(kind) if isinstance(profile, Profile)]
        fitting = [profile for profile in found if not (family and profile.families) or family in profile.families]
        return sorted(fitting, key=lambda one: (one.user, 0 if one.user else one.about.get("min_gb", 0), one.title))

    def broken(self, kind: Kind) -> list[OchreError]:
        """What is wrong with the files that are no usable profiles."""
        return [error for error in self._all(kind) if isinstance(error, OchreError)]

    def get(self, kind: Kind, name: str) -> Profile:
        """The profile of a name. OchreError if there is none, or if its file is broken."""
        for path in self._files(kind):
            if path.stem == name:
                return self._read(kind, path)
        names = ", ".join(path.stem for path in self._files(kind))
        raise OchreError(f"There is no {kind} profile {name!r}.", do=f"There are {names}.")

    def apply(
        self, profile: Profile, data: Mapping[str, Any], family: str | None = None
    ) -> tuple[dict[str, Any], list[Change]]:
        """`data` with a profile's settings laid over it, and what that changed. `data` itself is untouched.

        family: else the one that is set in `data`, or that its base model shows.
        OchreError if the profile isn't for this family, or the family isn't known and makes a difference.
        """
        settings = profile.settings_for(self._family(profile, data, family))
        laid = lay_over(self.job, data, settings)
        return laid, list(changes(data, laid))

    def compare(self, one: Profile, other: Profile, family: str | None = None) -> list[Change]:
        """The settings in which two profiles differ; None where one leaves a setting as it is."""
        return list(changes(one.settings_for(family), other.settings_for(family)))

    def save(
        self, kind: Kind, title: str, explanation: str, settings: Mapping[str, Any], overwrite: bool = False
    ) -> Profile:
        """Keep settings (a whole config's data, or a part of it) as a profile of the user's own.

        Of them a profile keeps what belongs to its kind, and neither model, pictures nor places.
        OchreError if there is a profile of this name (a user's own may be overwritten), or if it can't be used.
        """
        name = re.sub(r"\W+", "_", title.lower()).strip("_")
        if not name:
            raise OchreError("The profile needs a title.", do="Give it one with a letter or a digit.")
        path = self.folder / kind / "user" / f"{name}.toml"
        taken = any(old.stem == name for old in self._files(kind) if not (overwrite and old == path))
        if taken:
            raise OchreError(f"There is a {kind} profile {name!r} already.", do="Choose another title.")
        own = _own(kind, settings)
        self._check(own, f"The profile {title}")
        families = [family] if kind == "training" and (family := self._known_family(settings)) else []
        about = {"title": title, "kind": kind, "families": families, "explanation": explanation}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OchreError(f"{path.parent} can't be made.", error.strerror or str(error)) from error
        write_text(path, tomlkit.dumps({"version": VERSION, "about": about, **own}))
        return self._read(kind, path)

    def propose_memory(self, machine: Machine) -> Profile:
        """The memory profile for a machine, with a precision that it calculates in."""
        memory_gb = machine.memory_gb * _LENT.get(machine.kind, 1.0)
        shipped = [profile for profile in self.profiles("memory") if not profile.user]
        fitting = [profile for profile in shipped if _fits(profile, machine.kind, memory_gb)]
        assert fitting, f"no memory profile fits {machine}"
        profile = max(fitting, key=lambda one: one.about["min_gb"])
        memory = profile.settings["memory"]
        if memory["precision"] in machine.precisions:
            return profile
        return replace(profile, settings=merge(profile.settings, {"memory": {"precision": precision_for(machine)}}))

    # -- its files

    def _files(self, kind: Kind) -> list[Path]:
        folder = self.folder / kind
        return [*sorted(folder.glob("*.toml")), *sorted(folder.glob("user/*.toml"))]

    def _all(self, kind: Kind) -> list[Profile | OchreError]:
        found: list[Profile | OchreError] = []
        names: set[str] = set()
        for path in self._files(kind):
            try:
                if path.stem in names:
                    raise OchreError(f"{path} has the name of another profile.", do="Rename it.")
                found.append(self._read(kind, path))
            except OchreError as error:
                found.append(error)
            names.add(path.stem)
        return found

    def _read(self, kind: Kind, path: Path) -> Profile:
        data = read_toml(path)
        data.pop("version", None)
        about, overlays = data.pop("about", {}), data.pop("family", {})
        problems = list(_wrong(about, overlays, kind))
        if problems:
            raise SettingsError(problems, str(path))
        user = path.parent.name == "user"
        profile = Profile(path.stem, kind, about["title"], about, data, overlays, user, path)
        for family in profile.families or ["", *overlays]:
            self._check(profile.settings_for(family), str(path))
        return profile

    def _check(self, settings: Mapping[str, Any], source: str) -> None:
        """SettingsError with what is wrong once a partial config is laid over the defaults."""
        defaults = to_data(self.job())
        missing = {problem.path for problem in validate(self.job, defaults)[1]}
        _, problems = validate(self.job, lay_over(self.job, defaults, settings))
        problems = [problem for problem in problems if problem.path not in missing]
        if problems:
            raise SettingsError(problems, source)

    # -- for which family

    def _family(self, profile: Profile, data: Mapping[str, Any], family: str | None) -> str | None:
        family = family or self._known_family(merge(data, {"base": profile.settings.get("base", {})}))
        families = profile.families
        if family is None and len(families) <= 1:
            return families[0] if families else None
        if family is None:
            labels = " and ".join(_label(name) for name in families)
            why = f"The profile {profile.title} has values of their own for {labels}."
            raise OchreError("Choose the base model, or set its family, before the profile.", why)
        if families and family not in families:
            what = f"The profile {profile.title} is not for {_label(family)}."
            raise OchreError(what, do=f"It is for {' and '.join(_label(name) for name in families)}.")
        return family

    @staticmethod
    def _known_family(data: Mapping[str, Any]) -> str | None:
        base = data.get("base", {})
        if base.get("family", "detect") != "detect":
            return base["family"]
        try:
            return found_family(base.get("source", ""))
        except OchreError:
            return None  # a base that can't be used is told where it was chosen


def lay_over(owner: type[Settings], data: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """`data` of `owner` with a partial config laid over it.

    Choosing another plug-in brings that one's defaults. A list replaces the list; a table in place of a list is laid
    over each of its entries. What doesn't fit `owner` is laid over as it is, for the config's check to tell.
    """
    laid = dict(data)
    for name, value in settings.items():
        old = data.get(name)
        if isinstance(value, Mapping) and isinstance(old, list):
            laid[name] = [_lay_table(owner, name, entry, value) for entry in old]
        elif isinstance(value, Mapping):
            laid[name] = _lay_table(owner, name, old if isinstance(old, Mapping) else {}, value)
        elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            laid[name] = [_lay_table(owner, name, {}, item) for item in value]
        else:
            laid[name] = value
    return laid


def _lay_table(owner: type[Settings], name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    cls = table_class(owner, name, new if "name" in new else old)
    if cls is None:
        return dict(new)  # the config's check says what is wrong with it
    other = plugin_kind(owner, name) is not None and old.get("name") != plugin_name(cls)
    return lay_over(cls, to_data(cls()) if other or not old else old, new)


def _wrong(about: Any, overlays: Any, kind: Kind) -> list[Problem]:
    """What is wrong with a profile's own tables."""
    if not isinstance(about, Mapping) or not isinstance(about.get("title"), str) or not about["title"]:
        return [Problem("about.title", "is missing; a profile has a table [about] with its title")]
    problems = []
    if about.get("kind", kind) != kind:
        problems.append(Problem("about.kind", f"must be {kind!r} in this folder (it is {about['kind']!r})"))
    named = about.get("families", [])
    if not (isinstance(named, list) and all(isinstance(name, str) for name in named)):
        return [*problems, Problem("about.families", "must be a list of families")]
    if not (isinstance(overlays, Mapping) and all(isinstance(overlay, Mapping) for overlay in overlays.values())):
        return [*problems, Problem("family", "must hold a table for each family")]
    known = registry("families").names()
    for name in dict.fromkeys([*named, *overlays]):
        if name not in known:
            problems.append(Problem("about.families", f"there is no family {name!r}; there are {', '.join(known)}"))
    return problems


def _fits(profile: Profile, machine: str, memory_gb: float) -> bool:
    on_processor = profile.about.get("machine") == "cpu"
    least = profile.about["min_gb"] * _AS_SOLD
    smallest = profile.about.get("smallest", False)
    return on_processor if machine == "cpu" else not on_processor and (smallest or memory_gb >= least)


def _own(kind: Kind, data: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that belong to a kind of profile."""
    kept = _without(data, _A_RUNS_OWN)
    if kind == "training":
        return _without(kept, (*MEMORY, *SAMPLING))
    flat = {path: _at(kept, path) for path in {"memory": MEMORY, "sampling": SAMPLING}[kind]}
    return set_values({}, {path: value for path, value in flat.items() if value is not None})


def _without(data: Mapping[str, Any], paths: Sequence[str], parent: str = "") -> dict[str, Any]:
    return {
        name: _without(value, paths, f"{parent}{name}.") if isinstance(value, Mapping) else value
        for name, value in data.items()
        if f"{parent}{name}" not in paths
    }


def _at(data: Any, path: str) -> Any:
    for key in path.split("."):
        data = data.get(key) if isinstance(data, Mapping) else None
    return data


def _label(family: str) -> str:
    names = registry("families").names()
    return registry("families").get(family).label if family in names else family
