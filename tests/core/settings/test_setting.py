"""Settings: strict, checked when they are changed, and read under their older names."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from core.settings import Info, Settings, info, setting


class Inner(Settings):
    """A group."""

    size: int = setting(4, "Size", "How large.", ge=1, le=8, unit="px", was="width", also=("dim",))


class Outer(Settings):
    """A group with groups."""

    inner: Inner = setting(Inner(), "Inner", "Within.")
    several: list[Inner] = setting([Inner()], "Several", "Many.")
    numbers: list[float] = setting([1.0], "Numbers", "Numbers.")


def test_numbers_are_no_text_and_switches_no_numbers() -> None:
    for value in ("4", 4.5, True):
        with pytest.raises(ValidationError):
            Inner(size=value)  # type: ignore[arg-type]


def test_a_change_is_checked_too() -> None:
    group = Inner()
    with pytest.raises(ValidationError):
        group.size = 9
    assert group.size == 4


def test_defaults_are_not_shared() -> None:
    first, second = Outer(), Outer()
    first.inner.size = 8
    first.several[0].size = 8
    first.numbers.append(2.0)
    assert second == Outer()
    assert second.inner.size == second.several[0].size == 4 and second.numbers == [1.0]


def test_an_older_name_is_read() -> None:
    assert Inner.model_validate({"width": 7}).size == 7


def test_an_older_name_beside_the_newer_one_is_unknown() -> None:
    with pytest.raises(ValidationError, match="width"):
        Inner.model_validate({"width": 7, "size": 5})


def test_what_a_setting_tells_of_itself() -> None:
    told = info(Inner.model_fields["size"])
    assert (told.unit, told.was, tuple(told.also), told.level, told.affects) == (
        "px",
        "width",
        ("dim",),
        "basic",
        "numbers",
    )
    assert Inner.model_fields["size"].title == "Size"
    assert info(Outer.model_fields["inner"]) == Info()


def test_an_argument_that_does_not_exist_is_an_error_of_ours() -> None:
    """pydantic itself would only warn, and a misspelt bound would bind nothing."""
    with pytest.raises(AssertionError, match=r"Batch size.*knows no levle"):
        setting(1, "Batch size", "Pictures in a step.", levle="advanced")
