"""Texts that say how often something is done."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config.sections import Sampling, Saving
from core.settings.cadence import Cadence, cadence_problems, parse_cadence, parse_start
from core.settings.checks import validate


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Cadence()),
        ("never", Cadence()),
        (" Never ", Cadence()),
        ("200 steps", Cadence(steps=(200,))),
        ("1 step", Cadence(steps=(1,))),
        ("epoch", Cadence(epochs=(1,))),
        ("2 epochs", Cadence(epochs=(2,))),
        ("10 minutes, 500 steps", Cadence(steps=(500,), seconds=(600.0,))),
        ("90 seconds", Cadence(seconds=(90.0,))),
        ("1.5 hours", Cadence(seconds=(5400.0,))),
        ("45s,10min,1h", Cadence(seconds=(45.0, 600.0, 3600.0))),
    ],
)
def test_what_a_text_means(text: str, expected: Cadence) -> None:
    assert parse_cadence(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("200", "200 of what"),
        ("3 weeks", "there is no unit 'weeks'"),
        ("0 steps", "write `never`"),
        ("-1 steps", "can't be read"),
        ("1.5 epochs", "whole numbers"),
        ("2 epochs,", "can't be read"),
        ("never, 2 epochs", "there is no unit 'never'"),
    ],
)
def test_nonsense_is_told(text: str, words: str) -> None:
    (problem,) = cadence_problems("every", text)
    assert problem.path == "every" and words in problem.message


@pytest.mark.parametrize("section", [Saving, Sampling])
def test_the_sections_check_their_texts(section: type[Saving] | type[Sampling]) -> None:
    _, problems = validate(section, {"every": "often", "skip_first": "2 minutes"})
    assert [problem.path for problem in problems] == ["every", "skip_first"]


@given(
    st.builds(
        Cadence,
        st.lists(st.integers(1, 10**6), max_size=2).map(tuple),
        st.lists(st.integers(1, 999), max_size=2).map(tuple),
        st.lists(st.integers(1, 99_999).map(float), max_size=2).map(tuple),
    )
)
def test_what_is_written_is_read(cadence: Cadence) -> None:
    assert parse_cadence(str(cadence)) == cadence


def test_each_of_several_counts() -> None:
    cadence = parse_cadence("3 steps, 2 epochs, 1 minute")
    assert [step for step in range(1, 8) if cadence.due(step)] == [3, 6]
    assert cadence.due(4, ended=[2]) and cadence.due(4, ended=[1, 2]) and not cadence.due(4, ended=[3])
    assert cadence.due(4, seconds=60.0) and not cadence.due(4, seconds=59.9)


def test_from_when_on_is_one_number() -> None:
    assert [parse_start(text) for text in ("", "500 steps", "3 epochs")] == [(0, 0), (500, 0), (0, 3)]
    for text in ("1 minute", "2 steps, 3 epochs", "1 step, 2 steps"):
        with pytest.raises(ValueError, match="one number of steps or of epochs"):
            parse_start(text)
