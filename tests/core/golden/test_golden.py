"""Every formula against its source: float64 written out beside it, or the library that has it first."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from core.registry import registry
from tests.core.golden.table import Row

MODULES = sorted(path.stem for path in Path(__file__).parent.glob("*_rows.py"))
ROWS: list[Row] = [row for name in MODULES for row in importlib.import_module(f"tests.core.golden.{name}").ROWS]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_formula_has_its_golden_value(row: Row) -> None:
    row.check()


def test_every_row_names_its_source_and_is_one_of_a_kind() -> None:
    assert all(row.source for row in ROWS)
    assert len({row.id for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("kind", ["times", "losses", "weightings"])
def test_every_formula_that_can_be_chosen_is_in_the_table(kind: str) -> None:
    told = {row.about.partition(".")[2] for row in ROWS if row.about.startswith(f"{kind}.")}
    assert set(registry(kind).names()) <= told


def test_a_wrong_value_is_found() -> None:
    with pytest.raises(AssertionError):
        Row("losses.l2", "wrong", "nobody", lambda: [1.0, 2.0], lambda: [1.0, 2.001]).check()
