"""A config class as a form: sections that open, a search over all settings, problems shown where they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import ipywidgets as ipw

from core.config.toml_file import set_values, to_data
from core.errors import Problem
from core.settings import Settings
from widgets.body import Body, Node
from widgets.field import Row, shared
from widgets.tables import Cards, Choice, Group
from widgets.wording import explained

Check = Callable[[dict[str, Any]], Sequence[Problem]]


class View(Protocol):
    """What a panel shows inside a section, besides its rows."""

    @property
    def widget(self) -> ipw.DOMWidget:
        """What is shown."""
        ...

    def refresh(self) -> None:
        """Show what stands in the form now. Called while the section is open."""
        ...


class Form:
    """The settings of a job.

    data: what stands in it at first; the defaults, where it isn't given.
    check: finds the problems of the form's data; called after each change. A problem is shown once its setting was
    touched, or after `show`.
    """

    def __init__(self, cls: type[Settings], data: Mapping[str, Any] | None = None, check: Check | None = None) -> None:
        self._check = check or (lambda data: ())
        self._root = Group(cls, self.replace)
        self._bodies: dict[str, Body] = {}
        self._sections: dict[str, Section] = {}
        self._seen: set[str] = set()
        self._listeners: list[Callable[[str], None]] = []
        for name, node in self._root.children.items():
            if isinstance(node, Group | Choice | Cards):
                body = self._bodies[name] = Body(node)
                body.changed = lambda path, name=name: self._changed(f"{name}.{path}" if path else name)
        self._root.fill(to_data(cls()) if data is None else data)

    # -- its data

    def data(self) -> dict[str, Any]:
        """What stands in the form, as TOML would hold it; a value that doesn't fit is the text that was typed."""
        return self._root.data()

    def fill(self, data: Mapping[str, Any]) -> None:
        """Show other data, and no problems."""
        self._seen.clear()
        self._root.fill(data)
        self._show([])

    def replace(self, values: Mapping[str, Any]) -> None:
        """Set settings by path, as if the user had."""
        seen = self._seen | set(values)
        self.fill(set_values(self.data(), values, self._root.cls))
        self._seen = seen
        self._changed(next(iter(values)))

    def show(self, problems: Sequence[Problem]) -> None:
        """Show these problems, and no others; the sections that have one open."""
        self._seen |= {problem.path for problem in problems}
        self._show(problems)
        for name, section in self._sections.items():
            if any(_is_in(name, problem.path) for problem in problems):
                section.open()

    def on_change(self, listener: Callable[[str], None]) -> None:
        """`listener` is called with the path of a setting that the user changed."""
        self._listeners.append(listener)

    # -- its parts

    def row(self, path: str) -> Row:
        """The row of a setting."""
        node: Node | None = self._root
        for key in path.split("."):
            node = node.inside(key) if node else None
        assert isinstance(node, Row), path
        return node

    def title(self, path: str) -> str:
        """What a setting is called, with the titles of the tables that it stands in."""
        titles: list[str] = []
        node: Node | None = self._root
        for key in path.split("."):
            node = node.inside(key) if node else None
            title = node.label if node else str(int(key) + 1) if key.isdecimal() else key
            if titles[-1:] != [title]:
                titles.append(title)
        return " › ".join(titles)

    def cards(self, name: str) -> Cards:
        """A list of settings."""
        node = self._root.children[name]
        assert isinstance(node, Cards), name
        return node

    def choice(self, name: str) -> Choice:
        """A section that chooses a plug-in."""
        node = self._root.children[name]
        assert isinstance(node, Choice), name
        return node

    def body(self, name: str) -> ipw.VBox:
        """One section's rows, without its header."""
        return self._bodies[name].widget

    def sections(self, names: Sequence[str], search: bool = True) -> ipw.VBox:
        """Sections that open when their header is pressed, and a search over all of them."""
        shown = [self._section(name) for name in names]
        above = self._search(shown) if search else []
        return ipw.VBox([*above, *(section.widget for section in shown)], _dom_classes=("ochre-sections",))

    def put_into(self, name: str, view: View, above: bool = False) -> None:
        """Show something inside a section: below its rows, or above them."""
        self._section(name).put(view, above)

    @staticmethod
    def _search(shown: Sequence[Section]) -> list[ipw.Widget]:
        search = ipw.Text(
            placeholder="By any name: rank, network_dim, RAWR ...",
            description="Search",
            continuous_update=True,
            _dom_classes=("ochre-search",),
        )
        nothing = ipw.HTML('<div class="ochre-help">Nothing is called so.</div>', layout=ipw.Layout(display="none"))

        def find(change: Mapping[str, Any]) -> None:
            found = [section.search(change["new"].strip()) for section in shown]
            nothing.layout.display = None if any(found) else "none"

        search.observe(find, "value")
        return [search, nothing]

    def _section(self, name: str) -> Section:
        if name not in self._sections:
            self._sections[name] = Section(self._root.cls, name, self._bodies[name])
        return self._sections[name]

    # -- what the user does

    def _changed(self, path: str) -> None:
        self._seen.add(path)
        found = self._check(self.data())
        self._show([problem for problem in found if problem.path in self._seen or _is_in(path, problem.path)])
        for listener in self._listeners:
            listener(path)

    def _show(self, problems: Sequence[Problem]) -> None:
        for name, body in self._bodies.items():
            inside = [problem for problem in reversed(problems) if _is_in(name, problem.path)]
            body.show({problem.path.removeprefix(name).removeprefix("."): problem for problem in inside})
            if name in self._sections:
                self._sections[name].entitle(len(inside))
        for section in self._sections.values():
            section.refresh_views()


class Section:
    """A header that opens a section, whose rows are built when it is opened first."""

    def __init__(self, owner: type[Settings], name: str, body: Body) -> None:
        field = owner.model_fields[name]
        self._title, self._body, self._problems = field.title or name, body, 0
        self._about = ipw.HTML(f'<div class="ochre-help">{explained(field.description or "")}</div>')
        self._header = ipw.ToggleButton(icon="chevron-right", layout=shared(ipw.Layout))
        self._header.add_class("ochre-section-header")
        self._header.observe(lambda _: self._refresh(), "value")
        self._above: list[View] = []
        self._below: list[View] = []
        self._opened = False
        self.widget = ipw.VBox([self._header], _dom_classes=("ochre-section",))
        self.entitle(0)

    def put(self, view: View, above: bool) -> None:
        """Show something below its rows, or above them."""
        (self._above if above else self._below).append(view)
        view.widget.add_class("ochre-beside")
        self._refresh()

    def refresh_views(self) -> None:
        """Bring what stands beside the rows up to date, if it can be seen."""
        for view in (*self._above, *self._below) if self._opened else ():
            view.refresh()

    def open(self) -> None:
        """Show its rows."""
        self._header.value = True

    def search(self, words: str) -> bool:
        """Show what a search finds in it, and whether there is something. No words: as it was."""
        found = not words or self._body.node.matches(words)
        self.widget.layout.display = None if found else "none"
        if found:
            self._body.search(words)
            self._refresh(opened=bool(words))
        return found

    def entitle(self, problems: int) -> None:
        """Write the header, with the number of problems inside."""
        self._problems = problems
        node = self._body.node
        chosen = f": {node.chosen}" if isinstance(node, Choice) else ""
        wrong = f" ({problems} to correct)" if problems else ""
        self._header.description = f"{self._title}{chosen}{wrong}"
        (self._header.add_class if problems else self._header.remove_class)("ochre-wrong")

    def _refresh(self, opened: bool = False) -> None:
        self._opened = opened or self._header.value
        self._header.icon = "chevron-down" if self._opened else "chevron-right"
        if not self._opened:
            self.widget.children = (self._header,)
            return
        self.refresh_views()
        above, below = ([view.widget for view in views] for views in (self._above, self._below))
        self.widget.children = (self._header, self._about, *above, self._body.widget, *below)


def _is_in(name: str, path: str) -> bool:
    return path == name or path.startswith(f"{name}.")
