"""A class that a config names by its import path, and `key = value` arguments that are checked against its signature.

For whom Ochre has no plug-in: any optimizer, any schedule. Values are Python's literals and nothing else; nothing that
stands in a config is ever evaluated.
"""

from __future__ import annotations

import ast
import difflib
import dis
import importlib
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from core.errors import MachineError, Problem

_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")
_PLACEHOLDER = re.compile(r"%(\w+)%")
_LITERALS = 'a number, "text" in quotes, True, False, None, or a list of these'


class ArgumentError(ValueError):
    """A line that isn't `key = value`; the message is in the user's words."""


def parse_argument(line: str, placeholders: Mapping[str, float] | None = None) -> tuple[str, Any]:
    """Key and value of `key = value`. ArgumentError if it isn't one.

    As kohya's optimizer_args and OneTrainer's parameters: `0.9, 0.99` is a tuple. placeholders: name -> the number
    that stands for `%NAME%`.
    """
    key, equals, text = (piece.strip() for piece in line.partition("="))
    if not equals or not key.isidentifier():
        raise ArgumentError(f"{line.strip()!r} isn't written as key = value")
    known = placeholders or {}
    if unknown := [name for name in _PLACEHOLDER.findall(text) if name not in known]:
        there_are = f"; there are {', '.join(f'%{name}%' for name in known)}" if known else ""
        raise ArgumentError(f"{key}: nothing stands for %{unknown[0]}%{there_are}")
    try:
        return key, ast.literal_eval(_PLACEHOLDER.sub(lambda match: repr(known[match[1]]), text))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        hint = {"true": "; write True", "false": "; write False", "none": "; write None"}.get(text.lower(), "")
        raise ArgumentError(f"{key}: {text or 'nothing'} is no value; it takes {_LITERALS}{hint}") from None


def parse_arguments(lines: Sequence[str], placeholders: Mapping[str, float] | None = None) -> dict[str, Any]:
    """Every argument; of a key that stands twice the last. ArgumentError for a line that isn't one."""
    return dict(parse_argument(line, placeholders) for line in lines)


def import_class(path: str, base: str) -> type:
    """The class at `path` ("package.module.Class"). MachineError if there is none, or if it is no kind of `base`."""
    if not _PATH.fullmatch(path):
        raise MachineError(f"{path or 'Nothing'} is no import path.", do="Write it as package.module.Class.")
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        missing = f"There is no module {error.name}"
        raise MachineError(f"{path} can't be imported.", f"{missing}.", "Correct it, or install its package.") from None
    except AttributeError:
        raise MachineError(f"{module} has no {name}{_nearest(name, dir(importlib.import_module(module)))}.") from None
    except Exception as error:  # a foreign module runs whatever it likes while it is imported
        raise MachineError(f"{path} can't be imported.", f"{type(error).__name__}: {error}.") from error
    kind = _class_at(base)
    if not (isinstance(found, type) and issubclass(found, kind)):
        raise MachineError(f"{path} is no {kind.__name__}.", f"It must be a class that inherits from {base}.")
    return found


def _class_at(path: str) -> type:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def class_problems(
    path: str,
    lines: Sequence[str],
    base: str,
    given: Sequence[str],
    placeholders: Mapping[str, float] | None = None,
    fields: tuple[str, str] = ("class_path", "arguments"),
    by_name: Sequence[str] = (),
) -> Iterator[Problem]:
    """What is wrong with the class at `path` and its arguments. Imports the class if it can.

    given: the arguments that Ochre passes itself, in order (an optimizer's `params`). by_name: those that it passes by
    their names. fields: names of the settings that hold path and arguments, for the problems' paths.
    """
    arguments: dict[str, int] = {}
    for index, line in enumerate(lines):
        where = f"{fields[1]}.{index}"
        try:
            key, _ = parse_argument(line, placeholders)
        except ArgumentError as error:
            yield Problem(where, str(error))
            continue
        if key in arguments:
            yield Problem(where, f"{key} is given twice")
        arguments.setdefault(key, index)
    try:
        cls = import_class(path, base)
    except MachineError as error:
        yield Problem(fields[0], str(error))
        return
    for key, message in signature_problems(cls, list(arguments), given, by_name):
        yield Problem(f"{fields[1]}.{arguments[key]}" if key in arguments else fields[1], message)


def signature_problems(
    cls: type, keys: Sequence[str], given: Sequence[str], by_name: Sequence[str] = ()
) -> Iterator[tuple[str, str]]:
    """(argument, what is wrong with it) for arguments that `cls` doesn't take, and for those that it can't do without.

    given, by_name: as in `class_problems`. A `**kwargs` that the class never reads takes nothing: what it was given
    would have no effect, in silence.
    """
    parameters = _parameters(cls)
    named = {name for name, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    takes_more = _reads_more(cls, parameters)
    own = {*list(parameters)[: len(given)], *given, *by_name}
    for key in keys:
        if key in own:
            yield key, f"{key} is set by Ochre itself; leave it out"
        elif key not in named and not takes_more:
            names = sorted(named - own)
            takes = f"; it takes {', '.join(names)}" if names else "; it takes none"
            yield key, f"{cls.__name__} has no argument {key!r}{_nearest(key, names) or takes}"
    for name in named - own - set(keys):
        if parameters[name].default is inspect.Parameter.empty:
            yield name, f"{cls.__name__} needs {name}; add a line {name} = ..."


def _parameters(cls: type) -> dict[str, inspect.Parameter]:
    """What the constructor takes, but for the object itself."""
    return dict(list(inspect.signature(cls.__init__).parameters.items())[1:])


def _reads_more(cls: type, parameters: Mapping[str, inspect.Parameter]) -> bool:
    """Whether the constructor takes `**kwargs` and reads them."""
    name = next((name for name, p in parameters.items() if p.kind is p.VAR_KEYWORD), None)
    if name is None:
        return False
    code = getattr(inspect.unwrap(cls.__init__), "__code__", None)
    return code is None or any(
        instruction.argval == name and instruction.opname.startswith("LOAD")
        for instruction in dis.get_instructions(code)
    )


def _nearest(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""
