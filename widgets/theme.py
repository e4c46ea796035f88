"""How panels look: one .css file per theme, all with the same variables, and the user's choice among them."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import ipywidgets as ipw
from platformdirs import user_config_path

THEMES = Path(__file__).parents[1] / "themes"
DEFAULT = "light"
_SHAPE = Path(__file__).with_name("style.css")

log = logging.getLogger(__name__)


def theme_names() -> list[str]:
    """The themes there are, the default one first."""
    return sorted((path.stem for path in THEMES.glob("*.css")), key=lambda name: (name != DEFAULT, name))


def variables(name: str) -> dict[str, str]:
    """A theme's variables: `--ochre-text` -> `#2b2722`."""
    text = (THEMES / f"{name}.css").read_text(encoding="utf-8")
    return {key: value.strip() for key, value in re.findall(r"(--ochre-[\w-]+):\s*([^;]+);", text)}


class Theme:
    """The style of one panel. Each of its cells carries it, so that it holds while any of them is on the page.

    remembered: the file that keeps the choice; by default one in the user's configuration folder.
    """

    def __init__(self, remembered: Path | None = None) -> None:
        self._remembered = remembered or user_config_path("ochre") / "theme"
        self._style = ipw.HTML()
        self._style.add_class("ochre-style")
        self._chooser = ipw.Dropdown(
            options=[(name.capitalize(), name) for name in theme_names()],
            value=self._last_choice(),
            description="Theme",
            _dom_classes=("ochre-input",),
        )
        self._chooser.observe(lambda change: self._choose(change["new"]), "value")
        self._apply()

    @property
    def name(self) -> str:
        """The theme that is on."""
        return str(self._chooser.value)

    @name.setter
    def name(self, name: str) -> None:
        self._chooser.value = name

    @property
    def chooser(self) -> ipw.Widget:
        """The dropdown that changes it."""
        help_text = ipw.HTML('<div class="ochre-help">Applies to every cell, and is remembered.</div>')
        return ipw.VBox([self._chooser, help_text], _dom_classes=("ochre-row",))

    def dress(self, *content: ipw.Widget) -> ipw.VBox:
        """A cell of a panel: `content` in the theme's colours."""
        return ipw.VBox([self._style, *content], _dom_classes=("ochre",))

    def _choose(self, name: str) -> None:
        self._apply()
        try:
            self._remembered.parent.mkdir(parents=True, exist_ok=True)
            self._remembered.write_text(name, encoding="utf-8")
        except OSError as error:  # the theme is on all the same; only the next notebook won't know
            log.warning("the theme can't be remembered in %s: %s", self._remembered, error)

    def _last_choice(self) -> str:
        try:
            name = self._remembered.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):  # not chosen yet, or not readable: the default
            return DEFAULT
        return name if name in theme_names() else DEFAULT

    def _apply(self) -> None:
        theme = (THEMES / f"{self.name}.css").read_text(encoding="utf-8")
        self._style.value = f"<style>{theme}{_SHAPE.read_text(encoding='utf-8')}</style>"
