"""What can be read here, and the package that would read the rest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from core.dataset.formats import foreign_suffixes, readers, suffixes

ROOT = Path(__file__).parents[3]


def answer(code: str, *path: Path) -> str:
    """What a Python of its own says, with folders that come before all others."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*path, ROOT]))}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout + done.stderr


def test_each_ending_is_read_or_foreign() -> None:
    assert {".png", ".jpg", ".webp", ".tif"} <= suffixes()
    assert suffixes().isdisjoint(foreign_suffixes())
    assert {".heic", ".avif", ".jxl", ".psd", ".nef"} <= suffixes() | set(foreign_suffixes())
    assert foreign_suffixes()[".psd"] == ""


def test_the_listed_plug_in_reads_what_phones_write() -> None:
    assert ("HEIF" in readers()) == (".heic" in suffixes())
    listed = (ROOT / "requirements-global.txt").read_text(encoding="utf-8")
    assert "pillow-heif==" in listed


def test_without_the_plug_in_its_package_is_named() -> None:
    code = (
        "import sys; sys.modules['pillow_heif'] = None\n"
        "import importlib.util as util; find = util.find_spec\n"
        "from core.dataset import formats\n"
        "formats.find_spec = lambda name: None if name == 'pillow_heif' else find(name)\n"
        "print(formats.foreign_suffixes()['.heic'], '.heic' in formats.suffixes(), 'HEIF' in formats.readers())"
    )
    assert answer(code).strip() == "pillow-heif False False"


def test_a_broken_plug_in_is_told_and_stops_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "pillow_heif.py").write_text("raise ImportError('libheif.so.1: no such file')\n")
    code = (
        "from core.dataset.formats import foreign_suffixes, suffixes\n"
        "print(foreign_suffixes()['.heic'], '.png' in suffixes())"
    )
    said = answer(code, tmp_path)
    assert "pillow-heif True" in said
    assert "pillow-heif is installed but can't be used: libheif.so.1" in said


def test_pillow_is_not_needed_to_import_it() -> None:
    assert answer("import sys, core.dataset.formats; print('PIL' in sys.modules)").strip() == "False"
