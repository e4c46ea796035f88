"""One setting as a row of a form: its input, what it means, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from html import escape
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin

import ipywidgets as ipw
from ipywidgets.widgets.widget_bool import CheckboxStyle
from ipywidgets.widgets.widget_description import DescriptionStyle
from ipywidgets.widgets.widget_string import HTMLStyle, TextStyle
from pydantic.fields import FieldInfo

from core.errors import Problem
from core.settings import info
from widgets.wording import explained, sentence

WidgetT = TypeVar("WidgetT", bound=ipw.Widget)
Replace = Callable[[Mapping[str, Any]], None]
"""Takes settings by path: what a problem offers as its replacement."""


@cache
def shared(kind: type[WidgetT]) -> WidgetT:
    """One layout, or style, for all rows: a form of a hundred rows sends a third of the messages."""
    return kind()


def element_type(annotation: Any) -> Any:
    """The type of a setting, or of its list's entries, without None and Annotated."""
    inner = [arg for arg in get_args(annotation) if arg is not NoneType]
    if get_origin(annotation) is list:
        return element_type(inner[0])
    if get_origin(annotation) is Literal or not inner:
        return annotation
    return element_type(inner[0])


def to_text(value: Any, between: str = ", ") -> str:
    """A value as people write it: `0.0001`, `8`, `0.9, 0.999`. between: what stands between the entries of a list."""
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return between.join(to_text(item) for item in value)
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    return str(value)


def from_text(text: str, annotation: Any, between: str = ",") -> Any:
    """What was typed, as the setting's type. What doesn't fit stays text, for the checks to name."""
    if get_origin(annotation) is list:
        return [_scalar(item.strip(), element_type(annotation)) for item in text.split(between) if item.strip()]
    if NoneType in get_args(annotation) and not text.strip():
        return None
    return _scalar(text, element_type(annotation))


def _scalar(text: str, kind: Any) -> Any:
    if kind not in (int, float):
        return text
    try:
        number = float(text)
        if kind is float:
            return number
        return int(text) if text.strip().lstrip("+-").isdecimal() else int(number) if number.is_integer() else number
    except (ValueError, OverflowError):  # OverflowError: int of infinity
        return text


class Row:
    """One setting. It holds its value before and after its widgets are built, which happens when they are asked for.

    options: (label, value) pairs to choose from, where the type doesn't name them.
    changed: called with "" after the user changed the value.
    """

    def __init__(
        self,
        field: FieldInfo,
        name: str,
        replace: Replace,
        options: Sequence[tuple[str, Any]] = (),
    ) -> None:
        self.field, self.name, self.info = field, name, info(field)
        self.changed: Callable[[str], None] = lambda path: None
        self.options = list(options) or [(_words(value), value) for value in _choices(field.annotation)]
        self.suggestions = list(self.info.choices)
        self.description = field.description or ""
        self._value: Any = field.get_default(call_default_factory=True)
        self._replace = replace
        self._problem: Problem | None = None
        self._offer: tuple[Any, str] | None = None
        self._input: Any = None
        self._note: Any = None
        self._box: Any = None
        self._filling = False

    # -- its value

    def data(self) -> Any:
        """The value, or the text that isn't one."""
        return self._value

    def fill(self, value: Any) -> None:
        """Show another value, whatever it is."""
        self._value = value = self._worded(value)
        if self._box:
            self._filling = True
            try:
                self._put_in(value)
            finally:
                self._filling = False

    def _worded(self, value: Any) -> Any:
        """Files may say true and false where yes and no are to choose from."""
        words = {True: "yes", False: "no"}
        return words[value] if isinstance(value, bool) and "yes" in [option for _, option in self.options] else value

    def choose(self, value: Any) -> None:
        """Take another value, as if the user had put it in."""
        self.fill(value)
        self.changed("")

    def offer(self, value: Any = None, words: str = "") -> None:
        """Offer another value, for a click to take; None for no offer. words: what stands on the button."""
        offer = None if value is None or value == self._value else (value, words)
        if offer != self._offer:
            self._offer = offer
            if self._box:
                self._tell()

    def show(self, problems: Mapping[str, Problem]) -> None:
        """Show what is wrong with it: the problem at path "", or at one of its list's entries."""
        problem = next(iter(problems.values()), None)
        if problem != self._problem:
            self._problem = problem
            if self._box:
                self._tell()

    def describe(self, text: str) -> None:
        """Show another text as help."""
        self.description = text
        if self._box:
            self._tell()

    @property
    def problem(self) -> Problem | None:
        """What is wrong with it, as shown."""
        return self._problem

    # -- how it looks

    @property
    def label(self) -> str:
        """Its title, and the unit of its value."""
        title = self.field.title or _words(self.name).capitalize()
        return f"{title} ({self.info.unit})" if self.info.unit else title

    def inside(self, key: str) -> None:
        """Nothing stands in a row."""

    def matches(self, words: str) -> bool:
        """Whether a search for `words` finds it: by title, name, description, or what other programs call it."""
        text = " ".join([self.label, self.name, self.description, *self.info.also]).casefold()
        return all(word in text or word in text.replace("_", " ") for word in words.casefold().split())

    def advanced(self) -> int:
        """1 for an advanced setting."""
        return int(self.info.level == "advanced")

    def hides_problem(self) -> bool:
        """Whether it is advanced and has a problem."""
        return self.problem is not None and self.info.level == "advanced"

    def widgets(self, more: bool = True, search: str = "") -> list[ipw.Widget]:
        """Its row."""
        return [self.widget]

    @property
    def widget(self) -> ipw.Widget:
        """Its row."""
        if not self._box:
            self._input = self._make_input()
            self._put_in(self._value)
            self._input.observe(self._typed, "value")
            self._note = ipw.HTML(layout=shared(ipw.Layout), style=shared(HTMLStyle))
            self._box = ipw.VBox(layout=shared(ipw.Layout), _dom_classes=("ochre-row",))
            self._tell()
        return self._box

    def _make_input(self) -> Any:
        common: dict[str, Any] = {
            "description": self.label,
            "layout": shared(ipw.Layout),
            "tooltip": self._tooltip(),
            "_dom_classes": ("ochre-input",),
        }
        kind = element_type(self.field.annotation)
        if self.options:
            return ipw.Dropdown(options=self.options, style=shared(DescriptionStyle), **common)
        if kind is bool:
            return ipw.Checkbox(indent=False, style=shared(CheckboxStyle), **common)
        common["style"] = shared(TextStyle)
        common["continuous_update"] = False
        if self.suggestions:
            return ipw.Combobox(options=self.suggestions, ensure_option=False, **common)
        if self.info.kind == "text":
            return ipw.Textarea(rows=2, **common)
        if self.info.kind in ("file", "folder", "path"):
            common["_dom_classes"] = ("ochre-input", "ochre-path")
        return ipw.Text(**common)

    def _put_in(self, value: Any) -> None:
        if isinstance(self._input, ipw.Checkbox):
            self._input.value = value is True
        elif isinstance(self._input, ipw.Dropdown):
            if value not in [option for _, option in self.options]:  # shown as it is; the checks name it
                self._input.options = [*self.options, (to_text(value), value)]
            self._input.value = value
        else:
            self._input.value = to_text(value, "\n" if self._is_lines() else ", ")

    def _is_lines(self) -> bool:
        """Whether it is a list whose entries are typed one in each line: they may hold commas."""
        return self.info.kind == "text" and get_origin(self.field.annotation) is list

    def _typed(self, change: Mapping[str, Any]) -> None:
        if self._filling:
            return
        new = change["new"]
        chosen = isinstance(self._input, ipw.Checkbox | ipw.Dropdown)
        between = "\n" if self._is_lines() else ","
        self._value = new if chosen else from_text(new, self.field.annotation, between)
        self.changed("")

    def _tooltip(self) -> str:
        called = f"Elsewhere: {', '.join(self.info.also)}" if self.info.also else ""
        return f"{self.name}. {called}".strip()

    def _tell(self) -> None:
        """The help beside the input, the message, and the button that solves the problem."""
        parts = [f'<div class="ochre-help">{explained(self.description)}</div>']
        fix: list[ipw.Widget] = []
        if self._problem:
            message = escape(sentence(self._problem.message))
            parts.insert(0, f'<div class="ochre-problem" role="alert">{message}</div>')
            if self._problem.replacement:
                fix = [replacement_button(self._problem, self._replace)]
        if self._offer:
            fix.append(self._offer_button(*self._offer))
        self._note.value = "".join(parts)
        self._box.children = (self._input, self._note, *fix)
        (self._input.add_class if self._problem else self._input.remove_class)("ochre-wrong")

    def _offer_button(self, value: Any, words: str) -> ipw.Button:
        button = ipw.Button(description=words, icon="magic", _dom_classes=("ochre-offer",))
        button.on_click(lambda _: self.choose(value))
        return button


def replacement_button(problem: Problem, replace: Replace) -> ipw.Button:
    """The one click that solves a problem."""
    assert problem.replacement
    said = ", ".join(f"{path.rpartition('.')[2]} = {_chosen(value)}" for path, value in problem.replacement.items())
    button = ipw.Button(description=f"Use {said}", tooltip=problem.message, _dom_classes=("ochre-fix",))
    button.on_click(lambda _: replace(problem.replacement or {}))
    return button


def _chosen(value: Any) -> str:
    return str(value.get("name", "...")) if isinstance(value, Mapping) else to_text(value)


def _choices(annotation: Any) -> tuple[Any, ...]:
    kind = element_type(annotation)
    return get_args(kind) if get_origin(kind) is Literal and get_origin(annotation) is not list else ()


def _words(name: Any) -> str:
    return str(name).replace("_", " ")
