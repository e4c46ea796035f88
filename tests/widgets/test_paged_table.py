"""A long table is shown a page at a time, and narrowed down."""

from __future__ import annotations

import pytest

from widgets.paged_table import ON_A_PAGE, PagedTable

ROWS = [(f"{number:03d}.png", "left out" if number % 10 == 0 else "used") for number in range(60)]


@pytest.fixture
def table() -> PagedTable:
    left_out = [number for number, (_, what) in enumerate(ROWS) if what == "left out"]
    return PagedTable(["Picture", "What"], ROWS, {"All": range(60), "Left out": left_out})


def shown(table: PagedTable) -> list[str]:
    return [name for name, _ in ROWS if f"<td>{name}</td>" in table._table.value]


def test_every_row_is_on_one_page(table: PagedTable) -> None:
    seen = shown(table)
    assert len(seen) == ON_A_PAGE
    assert table.back.disabled
    while not table.next.disabled:
        table.next.click()
        assert len(shown(table)) <= ON_A_PAGE
        seen += shown(table)
    assert seen == [name for name, _ in ROWS]
    assert "51 to 60 of 60" in table._place.value


def test_it_is_narrowed_down_by_kind_and_by_words(table: PagedTable) -> None:
    table.next.click()
    table.kind.value = "Left out"
    assert shown(table) == [f"{number:03d}.png" for number in range(0, 60, 10)]
    assert table.next.layout.display == "none"
    table.search.value = "03"
    assert shown(table) == ["030.png"]
    table.search.value = "nothing"
    assert shown(table) == []
    assert "none" in table._table.value


def test_text_is_no_html() -> None:
    table = PagedTable(["Picture"], [("<img src=x>",)], {"All": [0]})
    assert "<img" not in table._table.value
