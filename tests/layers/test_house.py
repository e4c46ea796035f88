"""House rules that a machine can hold: parsed files, docstrings, no print, no outputs, no path of one machine."""

from __future__ import annotations

import ast
import io
import json
import re
import subprocess
import tokenize
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

# Folders of a machine's user or workplace; what is written for a platform on purpose stands in FINE.
MACHINE_PATH = re.compile(r"""(?<![\w.:/~$}-])(?:/(?:home|Users|root|work|mnt|media)/[\w.-]+|[A-Z]:\\\\?Users\\)""")
FINE = re.compile(r"/root/\.cache|/home/user")
OLD_NAMES = {"utils", "helpers", "common", "misc", "util", "helper", "base_manager"}


@cache
def _tracked() -> list[Path]:
    """The files that git knows; where this is no checkout, all that a fresh one would have."""
    answer = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if answer.returncode == 0:
        return [path for name in answer.stdout.split("\0") if name and (path := ROOT / name).is_file()]
    made = {".venv", ".git", "workspaces", "cache", "models", "__pycache__"}
    return [path for path in ROOT.rglob("*") if path.is_file() and not made & set(path.relative_to(ROOT).parts)]


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


PYTHON = [path for path in _tracked() if path.suffix == ".py"]
OURS = [path for path in PYTHON if _name(path).split("/")[0] in ("core", "widgets", "scripts")]
NOTEBOOKS = [path for path in _tracked() if path.suffix == ".ipynb"]


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def test_there_is_something_to_look_at() -> None:
    assert len(OURS) > 50 and len(PYTHON) > len(OURS)


@pytest.mark.parametrize("path", PYTHON, ids=_name)
def test_a_module_parses_and_says_what_it_is_for(path: Path) -> None:
    words = ast.get_docstring(_tree(path))
    assert words, f"{_name(path)} has no docstring"
    assert words.split("\n\n")[0].rstrip()[-1] in ".:)`", "its first paragraph is a sentence"


def test_no_print_in_core_and_widgets() -> None:
    printing = [
        f"{_name(path)}:{node.lineno}"
        for path in OURS
        if not _name(path).startswith("scripts/")
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("print", "pprint")
    ]
    assert not printing, printing


def test_no_except_that_names_nothing() -> None:
    bare = [
        f"{_name(path)}:{node.lineno}"
        for path in PYTHON
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.ExceptHandler) and node.type is None
    ]
    assert not bare, bare


def test_nothing_is_called_after_nothing() -> None:
    parts = {part for path in _tracked() for part in [*path.relative_to(ROOT).parts[:-1], path.stem]}
    assert not parts & OLD_NAMES


def test_test_files_have_names_of_their_own() -> None:
    names = [path.name for path in PYTHON if _name(path).startswith("tests/") and path.name != "conftest.py"]
    assert sorted(names) == sorted(set(names))
    assert "__init__.py" not in names


@pytest.mark.parametrize("path", NOTEBOOKS, ids=_name)
def test_a_notebook_is_committed_without_outputs(path: Path) -> None:
    cells: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code
    assert [cell["source"] for cell in code if cell["outputs"] or cell["execution_count"] is not None] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=_name)
def test_a_notebook_guides_and_holds_no_logic(path: Path) -> None:
    """A sentence above each cell, and one or two lines in it besides imports."""
    cells: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    for above, cell in zip([None, *cells], cells, strict=False):
        if cell["cell_type"] != "code":
            continue
        text = "".join(cell["source"])
        lines = [line for line in text.splitlines() if line.strip() and not line.startswith(("#", "import ", "from "))]
        assert len(lines) <= 2, text
        assert above is not None and above["cell_type"] == "markdown", f"nothing is said above: {text}"


def test_no_path_of_one_machine() -> None:
    found = []
    for path in _tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture, or weights
        for number, line in enumerate(text.splitlines(), 1):
            if (match := MACHINE_PATH.search(line)) and not FINE.search(line):
                found.append(f"{_name(path)}:{number}: {match[0]}")
    assert not found, "\n".join(found)


def test_a_path_of_one_machine_is_known() -> None:
    home = "/ho" + "me/"
    assert MACHINE_PATH.search(f'open("{home}anna/pictures")')
    assert MACHINE_PATH.search(f"{home}anna")
    assert not MACHINE_PATH.search("https://example.org" + home + "anna")
    assert not MACHINE_PATH.search("core" + home + "anna")


def _is_code(text: str) -> bool:
    """Whether a comment's text is a statement of Python that does something, not words."""
    try:
        body = ast.parse(text).body
    except SyntaxError:
        return False
    calls_or_changes = ast.Assign | ast.AugAssign | ast.Return | ast.Import | ast.ImportFrom | ast.Delete | ast.Raise
    return len(body) == 1 and (
        isinstance(body[0], calls_or_changes) or (isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Call))
    )


def test_no_code_in_comments() -> None:
    found = []
    for path in OURS:
        tokens = tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline)
        for token in tokens:
            alone = token.type == tokenize.COMMENT and token.line.lstrip().startswith("#")
            if alone and _is_code(token.string.lstrip("# ")):
                found.append(f"{_name(path)}:{token.start[0]}: {token.string}")
    assert not found, "\n".join(found)
