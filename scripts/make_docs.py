"""Writes the pages of docs/ that come from the code and the profiles: `./run-cmd.sh make_docs`."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.config.lora import LoraConfig
from core.dataset.kohya.page import kohya_page
from core.manager.profile_manager import Kind, Profile, ProfileManager
from core.registry import registry
from core.settings.docs import settings_page
from scripts.settings_audit import audit_page

DOCS = Path(__file__).parents[1] / "docs"
_WORDS = {
    "explanation": "",
    "when_to_use": "When to use it. ",
    "pictures": "Pictures: ",
    "expect": "What to expect. ",
    "over": "Signs of too much. ",
}


def main(arguments: list[str] | None = None) -> int:
    """0: the pages are written, or, with --check, are as they should be. 1: with --check, one is out of date."""
    parser = argparse.ArgumentParser(prog="./run-cmd.sh make_docs", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; tell whether the pages are up to date")
    options = parser.parse_args(arguments)
    old = out_of_date()
    for path, text in old.items():
        if not options.check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        print(f"{path.name} {'is out of date' if options.check else 'written'}")
    return 1 if options.check and old else 0


def out_of_date() -> dict[Path, str]:
    """The pages that aren't there or differ from what they should be, which is the text."""
    pages = {
        DOCS / "settings.md": settings_page(LoraConfig, "The settings of a LoRA's run.toml"),
        DOCS / "profiles.md": profiles_page(ProfileManager()),
        DOCS / "import_kohya.md": kohya_page(),
        DOCS / "settings-audit.md": audit_page(),
    }
    return {path: text for path, text in pages.items() if not path.exists() or path.read_text(encoding="utf-8") != text}


def profiles_page(manager: ProfileManager) -> str:
    """The page of Ochre's profiles: what each is for, its values, where they come from."""
    lines = [
        "# Profiles",
        "",
        "A training profile sets what is learned and how; a memory profile sets how it fits onto a machine; a sampling "
        "preset sets which pictures are drawn on the way. "
        "No setting belongs to two of these, so each can be changed without the others. "
        "A step shows four pictures in every memory profile, some in parts that are added up (accumulation): "
        "so the learning rates of the training profiles are right on every machine.",
        "",
        "A profile of your own is saved beside these, in the folder `user`, and is never overwritten unasked.",
    ]
    kinds: dict[Kind, str] = {
        "training": "Training profiles",
        "memory": "Memory profiles",
        "sampling": "Sampling presets",
    }
    for kind, title in kinds.items():
        lines += ["", f"## {title}"]
        for profile in manager.profiles(kind):
            if not profile.user:
                lines += ["", *_profile(profile)]
    return "\n".join(lines) + "\n"


def _profile(profile: Profile) -> Iterator[str]:
    yield f"### {profile.title}"
    for name, words in _WORDS.items():
        if name in profile.about:
            yield from ["", words + profile.about[name] + ("." if name == "pictures" else "")]
    yield from ["", "Where the values come from:", "", *(f"* {source}" for source in profile.about["sources"])]
    families = profile.families or registry("families").names()
    values = {family: dict(_flat(profile.settings_for(family))) for family in families}
    labels = [registry("families").get(family).label for family in families]
    yield from ["", f"| Setting | {' | '.join(labels)} |", "| --- |" + " --- |" * len(labels)]
    for path in dict.fromkeys(path for found in values.values() for path in found):
        cells = [f"`{values[family][path]}`" if path in values[family] else "" for family in families]
        yield f"| `{path}` | {' | '.join(cells)} |"


def _flat(data: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Path and value, as TOML writes it, of each setting."""
    if isinstance(data, dict):
        for name, value in data.items():
            yield from _flat(value, f"{path}.{name}" if path else name)
    elif isinstance(data, list) and data and isinstance(data[0], dict):
        for index, value in enumerate(data):
            yield from _flat(value, f"{path}.{index}")
    else:
        yield path, str(data).lower() if isinstance(data, bool) else str(data)


if __name__ == "__main__":
    sys.exit(main())
