"""The generated pages are those of the code as it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.config.lora import LoraConfig
from core.registry import registry
from core.settings.docs import settings_page
from scripts import make_docs


def test_the_pages_are_up_to_date() -> None:
    old = [path.name for path in make_docs.out_of_date()]
    assert not old, f"{', '.join(old)}: run ./run-cmd.sh make_docs, and commit what it writes"


def test_writes_what_is_missing_and_tells_what_is_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(make_docs, "DOCS", tmp_path / "docs")
    assert make_docs.main(["--check"]) == 1
    assert not (tmp_path / "docs").exists()
    assert make_docs.main([]) == 0
    assert make_docs.main(["--check"]) == 0
    (tmp_path / "docs/settings.md").write_text("old")
    assert make_docs.main(["--check"]) == 1
    assert "settings.md is out of date" in capsys.readouterr().out


def test_every_setting_has_its_row_with_its_default() -> None:
    page = settings_page(LoraConfig, "Settings").splitlines()
    for row in (
        "| `train_batch_size` | whole number, ≥ 1, ≤ 1024 | `1` | **Batch size.** Pictures in a step.",
        "| `betas` | list of: number | `[0.9, 0.999]` |",
        '| `precision` | `"fp32"`, `"bf16"`, `"fp16"` | `"bf16"` |',
        "| `caption_dropout` | number, ≥ 0, ≤ 1 | `0.0` |",
    ):
        assert any(line.startswith(row) for line in page), row
    for kind in ("optimizers", "schedules", "weightings", "networks", "engines"):
        for name, cls in registry(kind).all().items():
            assert any(line.endswith(f"# `{name}`: {cls.label}") for line in page), name
    text_1 = page[page.index("### Text encoder 1: `[parts.text_1]`") :]
    assert next(line for line in text_1 if line.startswith("| `train`")).startswith(
        '| `train` | `"default"`, `"yes"`, `"no"` | `"default"`'
    )


def test_every_row_of_a_table_has_as_many_cells_as_its_header() -> None:
    lines = settings_page(LoraConfig, "Settings").splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) > 100
    assert {line.replace("\\|", "").count("|") for line in rows} == {5}
