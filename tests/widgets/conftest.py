"""A folder like Ochre's, in which panels may be opened and may write."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from core.manager import profile_manager
from core.manager.profile_manager import ProfileManager

ROOT = Path(__file__).parents[2]


@pytest.fixture
def ochre(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: the demo's pictures, a model's configs without its weights, profiles that may be added to."""
    folder = tmp_path / "ochre"
    shutil.copytree(ROOT / "demo" / "pictures", folder / "demo" / "pictures")
    shutil.copytree(ROOT / "demo" / "regularisation", folder / "demo" / "regularisation")
    shutil.copytree(ROOT / "core" / "families" / "configs" / "sd15", folder / "demo" / "model")
    shutil.copytree(ROOT / "profiles", folder / "profiles", ignore=shutil.ignore_patterns("user"))
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(profile_manager.ProfileManager.__init__, "__defaults__", _profiles_in(folder))
    return folder


def _profiles_in(folder: Path) -> tuple[object, ...]:
    """The defaults of ProfileManager, with another folder."""
    defaults: list[object] = [*(ProfileManager.__init__.__defaults__ or ())]
    own, *others = defaults
    assert own == profile_manager.PROFILES
    return (folder / "profiles", *others)
