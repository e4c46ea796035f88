"""Imports point downwards only, and what a panel opens imports nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# From the top down; a module may import rooms further down, and its own. Rooms of one line don't import each other,
# but for FRIENDS.
ROOMS: list[list[str]] = [
    ["scripts"],
    ["widgets.panels"],
    ["widgets"],
    ["core.manager"],
    ["core.engines"],
    ["core.training", "core.tools"],
    ["core.config"],
    [
        "core.families", "core.networks", "core.optimizers", "core.schedules", "core.times", "core.losses",
        "core.weightings", "core.dataset",
        "core.merging", "core.taggers",
    ],
    ["core.settings", "core.objectives", "core.weights", "core.devices"],
    ["core.contracts", "core.registry", "core.errors"],
]  # fmt: skip
# settings find plug-ins' base classes by contracts; contracts and errors are plain types of one line
FRIENDS = {"core.settings", "core.objectives", "core.contracts", "core.registry", "core.errors"}
LEVEL = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}

# What a panel opens; a plug-in keeps its heavy imports inside its methods.
LIGHT = (
    "core.settings",
    "core.config",
    "core.registry",
    "core.manager",
    "core.devices",
    "core.contracts",
    "core.errors",
)
PLUGINS = ("families", "networks", "optimizers", "schedules", "times", "losses", "weightings", "engines")
TORCHS_SIDE = {"core.devices.torch_device"}  # imported by what trains, not by what a panel opens
HEAVY = ("torch", "diffusers", "transformers", "accelerate", "lycoris", "bitsandbytes", "IPython", "ipywidgets")


def _files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _room(module: str) -> str | None:
    """The room that a module is in; the most exact one."""
    fitting = [room for room in LEVEL if module == room or module.startswith(room + ".")]
    return max(fitting, key=len) if fitting else None


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _imports(tree: ast.AST, module: str, is_package: bool, inside_functions: bool = True) -> Iterator[tuple[int, str]]:
    """Line and full name of every import that runs: those only for types left out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = module.split(".") if is_package else module.split(".")[:-1]
            above = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*above, *(node.module or "").split(".")]).strip(".")
            yield from ((node.lineno, f"{origin}.{alias.name}") for alias in node.names)
        elif _is_type_checking(node):
            assert isinstance(node, ast.If)
            for branch in node.orelse:
                yield from _imports(branch, module, is_package, inside_functions)
        elif inside_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _imports(node, module, is_package, inside_functions)


def _wrong(text: str, module: str, is_package: bool = False) -> list[str]:
    """The imports of a module that don't point downwards."""
    own = _room(module)
    found = []
    for line, name in _imports(ast.parse(text), module, is_package):
        other = _room(name)
        if own is None or other is None or other == own:
            continue
        beside = LEVEL[other] == LEVEL[own] and not {own, other} <= FRIENDS
        if LEVEL[other] < LEVEL[own] or beside:
            found.append(f"{module}:{line} imports {name}")
    return found


def test_every_module_is_in_a_room() -> None:
    """A new folder under core/ needs its place in ROOMS."""
    modules = [_module(path) for path in _files("core", "widgets", "scripts")]
    assert [module for module in modules if _room(module) is None] == ["core"]
    assert len(modules) > 50


def test_imports_point_downwards() -> None:
    wrong = []
    for path in _files("core", "widgets", "scripts"):
        wrong += _wrong(path.read_text(encoding="utf-8"), _module(path), path.name == "__init__.py")
    assert not wrong, "\n".join(wrong)


def test_core_knows_neither_widgets_nor_notebooks() -> None:
    wrong = []
    for path in _files("core"):
        tree, is_package = ast.parse(path.read_text(encoding="utf-8")), path.name == "__init__.py"
        for line, name in _imports(tree, _module(path), is_package):
            if name.split(".")[0] in ("widgets", "scripts", "IPython", "ipywidgets", "tests"):
                wrong.append(f"{_module(path)}:{line} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_nothing_heavy_at_the_top_of_light_modules() -> None:
    plugins = tuple(f"core.{kind}" for kind in PLUGINS)
    wrong = []
    for path in _files("core"):
        module = _module(path)
        private = any(name.startswith("_") for name in module.split("."))  # or in a private folder
        light = _room(module) in LIGHT or (_room(module) in plugins and not private)
        if not light or module in TORCHS_SIDE:
            continue
        tree, is_package = ast.parse(path.read_text(encoding="utf-8")), path.name == "__init__.py"
        for line, name in _imports(tree, module, is_package, inside_functions=False):
            if name.split(".")[0] in HEAVY:
                wrong.append(f"{module}:{line} imports {name}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("core.errors", "import core.settings.checks"),
        ("core.config.lora", "from core.manager import optimizer_registry"),
        ("core.config.lora", "def later():\n    from core.training.loop import train"),
        ("core.optimizers.lion", "from core.schedules.cosine import Cosine"),
        ("core.dataset.batches", "if True:\n    from core.families import BASE"),
        ("core.training.loop", "from core.tools import resize"),
        ("core.weights.files", "from core import devices"),
        ("core.weights.files", "from ..devices import detect"),
        ("widgets.form", "from widgets.panels.lora import Panel"),
        ("core.manager.profiles", "from widgets import form"),
    ],
)
def test_an_import_that_points_upwards_is_found(module: str, text: str) -> None:
    assert len(_wrong(text, module)) == 1


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("core.manager.profiles", "from core.manager.generator import x\nfrom core.config.lora import LoraConfig"),
        ("core.weights.files", "from . import header\nfrom .layouts import clip"),
        ("core.contracts", "if TYPE_CHECKING:\n    from core.objectives import Objective"),
        ("core.settings.bases", "from core.contracts import Model\nimport torch"),
        ("widgets.panels.lora", "from widgets.form import Form"),
    ],
)
def test_an_import_that_points_downwards_is_none_of_them(module: str, text: str) -> None:
    assert _wrong(text, module) == []


def test_opening_what_a_panel_opens_imports_nothing_heavy() -> None:
    """In a process of its own: everything light, and every plug-in, is imported, and a default config is made."""
    light = [name for path in _files("core") if _room(name := _module(path)) in LIGHT and name not in TORCHS_SIDE]
    code = f"""
import importlib, sys
for name in {light!r}:
    importlib.import_module(name)
from core.registry import registry
for kind in {PLUGINS!r}:
    assert registry(kind).all(), kind
from core.manager.config_generator import ConfigGenerator
from core.manager.profile_manager import ProfileManager
ConfigGenerator().validate(ConfigGenerator().default())
ProfileManager().profiles("training")
print(*[name for name in {HEAVY!r} if name in sys.modules])
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == []


def test_opening_the_widgets_imports_no_torch() -> None:
    modules = [_module(path) for path in _files("widgets")]
    code = f"""
import importlib, sys
for name in {modules!r}:
    importlib.import_module(name)
print(*[name for name in ("torch", "diffusers", "transformers", "accelerate") if name in sys.modules])
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == []
