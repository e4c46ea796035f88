"""Accounts for the settings of other programs: which of ours does the same, or why there is none.

A setting of ours names what others call it (`also`), so most answers come from the declarations. What is left stands in
the program's file here: its names by section, `[ours]` (name -> path of a setting of ours) and `[why]` (name -> why
there is none, or what to do). A name that is in neither is unaccounted for.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from core.config.lora import LoraConfig
from core.registry import plugin_name
from core.settings import Settings, info
from core.settings.checks import plugin_kind
from core.settings.tree import table_classes

FOLDER = Path(__file__).parent
PROGRAMS: Mapping[str, str] = {"kohya": "kohya's sd-scripts", "lycoris": "LyCORIS", "onetrainer": "OneTrainer"}
_MOST = 4
"""Paths that are named for one setting; of more, as of a setting that all optimizers have, only how many."""


@dataclass(frozen=True)
class Answer:
    """What is said of another program's setting. ours: paths of settings that do the same. why: the rest."""

    name: str
    ours: tuple[str, ...] = ()
    why: str = ""

    @property
    def accounted(self) -> bool:
        """Whether there is a setting of ours, or a reason why not."""
        return bool(self.ours or self.why)


@dataclass(frozen=True)
class Section:
    """Some of a program's settings, by where it declares them or what they are about."""

    title: str
    answers: tuple[Answer, ...]


def audit(program: str) -> list[Section]:
    """A program's settings with their answers."""
    data = tomllib.loads((FOLDER / f"{program}.toml").read_text(encoding="utf-8"))
    ours, why = data.get("ours", {}), data.get("why", {})
    return [
        Section(
            section["title"],
            tuple(_answer(name, ours, why, section.get("why", "")) for name in section["names"]),
        )
        for section in data["sections"]
    ]


def _answer(name: str, ours: Mapping[str, Any], why: Mapping[str, str], of_section: str) -> Answer:
    said = ours.get(name)
    if said is not None:
        return Answer(name, tuple([said] if isinstance(said, str) else said), why.get(name, ""))
    if name in why or of_section:
        return Answer(name, (), why.get(name, of_section))
    return Answer(name, tuple(called().get(name.casefold(), ())))


@cache
def paths() -> dict[str, tuple[str, ...]]:
    """Every setting of ours -> what others call it. A plug-in's settings stand under its name: `networks.lora.rank`."""
    return dict(_paths(LoraConfig, ""))


def _paths(cls: type[Settings], path: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    for name, field in cls.model_fields.items():
        here, tables = f"{path}.{name}" if path else name, table_classes(cls, name)
        yield here, tuple(info(field).also)
        for table in tables:
            plugin = plugin_kind(cls, name)
            under = f"{here}.{plugin_name(table)}" if plugin else here
            if plugin:
                yield under, tuple(getattr(table, "programs_call_it", ()))
            yield from _paths(table, under)


@cache
def called() -> dict[str, list[str]]:
    """What a setting, or a plug-in, is called here or elsewhere, in small letters -> the paths that are called so."""
    found: dict[str, list[str]] = {}
    for path, also in paths().items():
        for name in {path.rpartition(".")[2].casefold(), *(one.casefold() for one in also)}:
            found.setdefault(name, []).append(path)
    return found


def audit_page() -> str:
    """docs/settings-audit.md."""
    lines = [
        "# The settings of other programs, and ours",
        "",
        "Each setting of kohya's sd-scripts, of LyCORIS and of OneTrainer, with the setting here that does the same, "
        "or why there is none. `networks.lora.rank` is the setting `rank` of the table `[[networks]]` whose name is "
        "`lora`. The values may be written in another way: [settings.md](settings.md) tells.",
    ]
    for program, label in PROGRAMS.items():
        lines += ["", f"## {label}"]
        for section in audit(program):
            lines += ["", f"### {section.title}", "", "| There | Here |", "| --- | --- |"]
            lines += [f"| `{answer.name}` | {_told(answer)} |" for answer in section.answers]
    return "\n".join(lines) + "\n"


def _told(answer: Answer) -> str:
    if len(answer.ours) > _MOST:
        last = answer.ours[0].rpartition(".")[2]
        kinds = sorted({path.partition(".")[0] for path in answer.ours})
        named = f"`{last}` of {len(answer.ours)} of the {' and '.join(kinds)}"
    else:
        named = ", ".join(f"`{path}`" for path in answer.ours)
    return ": ".join(part for part in (named, answer.why) if part).replace("|", "\\|")
