"""A form's tables: a group of settings, a choice of a plug-in with its settings, a list of either as cards."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from html import escape
from typing import Any, get_args, get_origin

import ipywidgets as ipw
from pydantic.fields import FieldInfo

from core.config.toml_file import to_data
from core.errors import Problem
from core.registry import plugin_name, registry
from core.settings import Settings, info
from core.settings.checks import plugin_kind
from widgets.body import Card, Message, Node, Rows
from widgets.field import Replace, Row, element_type
from widgets.wording import explained, one_of, sentence

_TITLES = ("name", "prompt", "blocks", "pattern")
"""Settings whose value tells a card from the others."""


def make_node(owner: type[Settings], name: str, replace: Replace) -> Node:
    """The row or table of a declared setting."""
    field = owner.model_fields[name]
    kind = plugin_kind(owner, name)
    inner = element_type(field.annotation)
    table = isinstance(inner, type) and issubclass(inner, Settings)
    if get_origin(field.annotation) is list and table:
        return Cards(field, lambda: Choice(field, kind, replace) if kind else Group(inner, replace), inner)
    if kind:
        return Choice(field, kind, replace)
    return Group(inner, replace, field) if table else Row(field, name, replace)


class Group:
    """A group of settings: basic ones first, advanced ones when asked for."""

    def __init__(self, cls: type[Settings], replace: Replace, field: FieldInfo | None = None) -> None:
        self.cls, self.field = cls, field
        self.changed: Callable[[str], None] = lambda path: None
        self.children = {name: make_node(cls, name, replace) for name in cls.model_fields if _can_be_set(cls, name)}
        self._rest: dict[str, Any] = {}
        for name, child in self.children.items():
            child.changed = lambda path, name=name: self.changed(_join(name, path))
        self._message = Message()
        self._heading: Any = None

    def data(self) -> dict[str, Any]:
        values = {name: child.data() for name, child in self.children.items()}
        return self._rest | {name: value for name, value in values.items() if value is not None}

    def fill(self, value: Any) -> None:
        value = value if isinstance(value, Mapping) else {}
        self._rest = {key: item for key, item in value.items() if key not in self.children}
        for name, child in self.children.items():
            child.fill(value[name] if name in value else _default(self.cls.model_fields[name]))

    def show(self, problems: Mapping[str, Problem]) -> None:
        inside = {name: _below(name, problems) for name in self.children}
        for name, child in self.children.items():
            child.show(inside[name])
        known = {_join(name, path) for name, found in inside.items() for path in found}
        self._message.show([_named(path, problem) for path, problem in problems.items() if path not in known])

    def inside(self, key: str) -> Node | None:
        return self.children.get(key)

    def matches(self, words: str) -> bool:
        return any(child.matches(words) for child in self.children.values())

    def widgets(self, more: bool = True, search: str = "") -> list[ipw.Widget]:
        return Part(self, self.children, messages=True).widgets(more, search)

    def messages(self) -> list[ipw.Widget]:
        """What is wrong with it as a whole."""
        return self._message.widgets()

    def heading(self) -> list[ipw.Widget]:
        """Its title and description, where it stands inside another group."""
        if self.field is None:
            return []
        if self._heading is None:
            self._heading = _heading(self.field)
        return [self._heading]

    def advanced(self) -> int:
        return Part(self, self.children).advanced()

    def hides_problem(self) -> bool:
        return Part(self, self.children).hides_problem()

    @property
    def label(self) -> str:
        """Its title, or what a card is called that holds it."""
        if self.field is not None:
            return self.field.title or ""
        return str(next(filter(None, map(self._named, _TITLES)), "New"))

    def _named(self, name: str) -> Any:
        return self.children[name].data() if name in self.children else ""

    def applies(self, name: str) -> bool:
        """Whether a setting applies, with the values that its neighbours have now."""
        conditions = info(self.cls.model_fields[name]).shown_if
        return all(self.children[other].data() in values for other, values in conditions.items())


class Part:
    """Some of a group's settings as rows: basic ones first, tables last.

    messages: what is wrong with the group as a whole is told above them. heading: so are its title and description.
    """

    def __init__(self, group: Group, names: Container[str], messages: bool = False, heading: bool = False) -> None:
        self._group, self._messages, self._heading = group, messages, heading
        self._children = {name: child for name, child in group.children.items() if name in names}

    def widgets(self, more: bool = True, search: str = "") -> list[ipw.Widget]:
        """The rows of those that apply, each table under its heading."""
        shown: list[ipw.Widget] = []
        shown += self._group.messages() if self._messages else []
        shown += self._group.heading() if self._heading else []
        for name, child in self._in_order():
            advanced = isinstance(child, Row) and child.info.level == "advanced"
            if not self._group.applies(name) or (advanced and not more) or (search and not child.matches(search)):
                continue
            if isinstance(child, Cards) and not more and child.advanced():
                continue
            rows = child.widgets(more, search)
            shown += [*child.heading(), *rows] if isinstance(child, Group | Cards) and rows else rows
        return shown

    def advanced(self) -> int:
        """How many are advanced, of those that apply."""
        return sum(child.advanced() for name, child in self._children.items() if self._group.applies(name))

    def hides_problem(self) -> bool:
        """Whether one of those has a problem."""
        return any(child.hides_problem() for child in self._children.values())

    def _in_order(self) -> list[tuple[str, Node]]:
        def rank(item: tuple[str, Node]) -> int:
            return 2 if not isinstance(item[1], Row) else item[1].info.level == "advanced"

        return sorted(self._children.items(), key=rank)


class Choice:
    """A plug-in, chosen by its label, and its own settings. What was typed for one that is left is kept.

    Settings that every plug-in of the kind has, as a schedule's warm-up, stay as they are when another is chosen.
    """

    def __init__(self, field: FieldInfo, kind: str, replace: Replace) -> None:
        self.field = field
        self._plugins: dict[str, type[Settings]] = registry(kind).all()
        self._everyones = [name for name in registry(kind).base.model_fields if name != "name"]
        self._before: Any = None
        self._replace = replace
        self.changed: Callable[[str], None] = lambda path: None
        title = field.title if get_origin(field.annotation) is not list else "Kind"
        options = [(str(getattr(cls, "label", name)), name) for name, cls in self._plugins.items()]
        self.chooser = Row(FieldInfo(annotation=str, title=title), "name", replace, options)
        self.chooser.changed = self._chosen
        self._groups: dict[str, Group] = {}
        self._unknown: Any = None
        self.fill(_default(field) if get_origin(field.annotation) is not list else {"name": next(iter(self._plugins))})

    def data(self) -> Any:
        if self._unknown is not None:
            return self._unknown
        return {"name": self.name, **self._group().data()}

    @property
    def name(self) -> Any:
        """The chosen plug-in's name."""
        return self.chooser.data()

    @property
    def label(self) -> str:
        """Its title; in a list, that of the chosen plug-in."""
        return self.chosen if get_origin(self.field.annotation) is list else self.field.title or ""

    @property
    def chosen(self) -> str:
        """The chosen plug-in's label."""
        return next((label for label, name in self.chooser.options if name == self.name), str(self.name))

    def fill(self, value: Any) -> None:
        name = value.get("name") if isinstance(value, Mapping) else None
        self._unknown = None if name in self._plugins else value
        self._before = name
        self.chooser.fill(name)
        self._describe()
        if self._unknown is None:
            self._group().fill({key: item for key, item in value.items() if key != "name"})

    def show(self, problems: Mapping[str, Problem]) -> None:
        own = {path: problem for path, problem in problems.items() if path in ("", "name")}
        self.chooser.show(own)
        if self._unknown is None:
            self._group().show({path: problem for path, problem in problems.items() if path not in own})

    def inside(self, key: str) -> Node | None:
        return self.chooser if key == "name" else self._group().inside(key) if self._unknown is None else None

    def matches(self, words: str) -> bool:
        found = self.chooser.matches(words) or any(_is_called(cls, words) for cls in self._plugins.values())
        return found or (self._unknown is None and self._group().matches(words))

    def label_options(self, labels: Mapping[str, str]) -> None:
        """Show other words for some plug-ins: name -> words."""
        self.chooser.options = [(labels.get(name, label), name) for label, name in self.chooser.options]

    def widgets(self, more: bool = True, search: str = "") -> list[ipw.Widget]:
        inside = self._group().widgets(more, search) if self._unknown is None else []
        return [self.chooser.widget, *inside]

    def advanced(self) -> int:
        return self._group().advanced() if self._unknown is None else 0

    def hides_problem(self) -> bool:
        return self._unknown is None and self._group().hides_problem()

    def _group(self) -> Group:
        if self.name not in self._groups:
            group = self._groups[self.name] = Group(self._plugins[self.name], self._replace)
            group.fill({})
            group.changed = lambda path: self.changed(path)
        return self._groups[self.name]

    def _chosen(self, path: str) -> None:
        self._unknown = None
        left = self._groups.get(self._before)
        if left:
            for name in set(self._everyones) & set(self._group().children):
                self._group().children[name].fill(left.children[name].data())
        self._before = self.name
        self._describe()
        self.changed("name")

    def _describe(self) -> None:
        about = self._plugins.get(self.name)
        summary = (about.__doc__ or "").strip().splitlines()[0] if about else ""
        self.chooser.describe(summary)


class Cards:
    """A list of groups or plug-ins: a card for each, with a button that removes it, and one that adds another.

    new: what an added entry begins with; the defaults, where it is None.
    adding: what stands on the button that adds one. shown_as: what a panel shows in place of the cards and the button.
    """

    def __init__(self, field: FieldInfo, make: Callable[[], Group | Choice], cls: type[Settings]) -> None:
        self.field, self._make, self._cls = field, make, cls
        self.changed: Callable[[str], None] = lambda path: None
        self.cards: list[Card] = []
        self.new: Mapping[str, Any] | None = None
        self.adding = f"Add {one_of(field.title or 'Entries')}"
        self.shown_as: Rows | None = None
        self._message = Message()
        self._add: Any = None
        self._heading: Any = None
        self.fill(_default(field))

    def data(self) -> list[Any]:
        return [card.node.data() for card in self.cards]

    def fill(self, value: Any) -> None:
        items = value if isinstance(value, list) else []
        del self.cards[len(items) :]
        while len(self.cards) < len(items):
            self.cards.append(self._new_card())
        for card, item in zip(self.cards, items, strict=True):
            card.fill(item)

    def show(self, problems: Mapping[str, Problem]) -> None:
        for index, card in enumerate(self.cards):
            card.show(_below(str(index), problems))
        self._message.show([sentence(problem.message) for path, problem in problems.items() if path == ""])

    def inside(self, key: str) -> Node | None:
        return self.cards[int(key)].node if key.isdecimal() and int(key) < len(self.cards) else None

    def matches(self, words: str) -> bool:
        title = (self.field.title or "").casefold()
        return words.casefold() in title or any(card.node.matches(words) for card in self.cards)

    def widgets(self, more: bool = True, search: str = "") -> list[ipw.Widget]:
        if self.shown_as is not None:
            return [*self._message.widgets(), *self.shown_as.widgets(more, search)]
        if self._add is None:
            self._add = ipw.Button(description=self.adding, icon="plus")
            self._add.add_class("ochre-add")
            self._add.on_click(lambda _: self.add())
        return [*self._message.widgets(), *(card.widget for card in self.cards), self._add]

    def heading(self) -> list[ipw.Widget]:
        """Its title and description, where it stands inside a group."""
        if self._heading is None:
            self._heading = _heading(self.field)
        return [self._heading]

    def advanced(self) -> int:
        """1 for an advanced list with nothing in it. Each card has a button for its own advanced settings."""
        return int(info(self.field).level == "advanced" and not self.cards)

    def hides_problem(self) -> bool:
        return False

    @property
    def label(self) -> str:
        """The list's title."""
        return self.field.title or ""

    def add(self) -> None:
        """Add an entry as new ones begin."""
        self.cards.append(self._new_card())
        if self.new is not None:
            self.cards[-1].fill(self.new)
        self.changed(str(len(self.cards) - 1))

    def insert(self, place: int, data: Any) -> None:
        """Add an entry with these data in front of the one at `place`."""
        card = self._new_card()
        card.fill(data)
        self.cards.insert(place, card)
        self.changed("")

    def remove(self, card: Card) -> None:
        """Take an entry out."""
        self.cards.remove(card)
        self.changed("")

    def _new_card(self) -> Card:
        card = Card(self._make(), self.remove)
        card.changed = lambda path: self.changed(_join(self.cards.index(card), path))
        return card


def _is_called(plugin: type[Settings], words: str) -> bool:
    """Whether a plug-in is called so, here or in other programs."""
    names = (getattr(plugin, "label", ""), plugin_name(plugin), *getattr(plugin, "programs_call_it", ()))
    wanted = words.casefold().replace("_", " ")
    return any(wanted in name.casefold().replace("_", " ") for name in names)


def _heading(field: FieldInfo) -> ipw.HTML:
    title, about = escape(field.title or ""), explained(field.description or "")
    return ipw.HTML(f'<h4>{title}</h4><span class="ochre-help">{about}</span>', _dom_classes=("ochre-heading",))


def _can_be_set(cls: type[Settings], name: str) -> bool:
    """Not a plug-in's own name, and nothing that has one value only."""
    field = cls.model_fields[name]
    return field.title is not None and len(get_args(element_type(field.annotation))) != 1


def _default(field: FieldInfo) -> Any:
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Settings):
        return to_data(value)
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    return to_data(value) if isinstance(value, Settings) else value


def _join(*parts: object) -> str:
    return ".".join(str(part) for part in parts if part != "")


def _below(key: str, problems: Mapping[str, Problem]) -> dict[str, Problem]:
    """The problems at `key` and inside it, by their path from there."""
    inside = {path: problem for path, problem in problems.items() if path == key or path.startswith(key + ".")}
    return {path.removeprefix(key).removeprefix("."): problem for path, problem in inside.items()}


def _named(path: str, problem: Problem) -> str:
    return f"{path}: {problem.message}" if path else sentence(problem.message)
