"""Wildcards: one choice of each bracket, nested ones too, and brackets that are text."""

from __future__ import annotations

import random
from collections import Counter
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.dataset.wildcards import expanded


def choices(text: str, count: int = 300) -> set[str]:
    draw = random.Random(1).random
    return {expanded(text, draw) for _ in range(count)}


@pytest.mark.parametrize(
    ("text", "results"),
    [
        ("a {red|blue} coat", {"a red coat", "a blue coat"}),
        ("{a|b}{c|d}", {"ac", "ad", "bc", "bd"}),
        ("{a|{b|c}}", {"a", "b", "c"}),
        ("{ {a|b}|c}", {" a", " b", "c"}),
        ("{a|{b|{c|{d|e}}}} x", {"a x", "b x", "c x", "d x", "e x"}),
        ("{|old} hat", {" hat", "old hat"}),
        ("{red}", {"red"}),
        ("{{red|blue}}", {"{red|blue}"}),
        ("{a|{{b}}}", {"a", "{b}"}),
        ("{{{a|b}}}", {"{a}", "{b}"}),
        ("{{{{a|b}}}}", {"{{a|b}}"}),
        ("{}", {"{}"}),
        ("a|b", {"a|b"}),
        ("a {red|blue", {"a {red|blue"}),
        ("{a|{b|c}", {"{a|b", "{a|c"}),
        ("red|blue} a", {"red|blue} a"}),
        ("{a|b}}", {"a}", "b}"}),
        ("", {""}),
    ],
)
def test_what_may_be_drawn(text: str, results: set[str]) -> None:
    assert choices(text) == results


def test_every_choice_is_as_likely() -> None:
    draw = random.Random(2).random
    counts = Counter(expanded("{a|b|c|d}", draw) for _ in range(8000))
    assert all(1850 < counts[letter] < 2150 for letter in "abcd")  # 2,000, standard deviation 39


def test_many_brackets_take_no_long_time() -> None:
    assert expanded("{ " * 20_000, random.Random(1).random) == "{ " * 20_000
    assert expanded("{ " * 20_000 + "a" + "}" * 20_000, random.Random(1).random).strip() == "a"


# A tree: text, or a bracket of options that are sequences of trees.
TREES = st.recursive(
    st.text("ab ,", min_size=1, max_size=3),
    lambda inner: st.lists(st.lists(inner, min_size=1, max_size=2), min_size=1, max_size=3),
    max_leaves=6,
)
Tree = str | list[list["Tree"]]


def written(tree: Tree) -> str:
    """A bracket at the start of an option would read `{{`, which is a bracket of the text: a dot comes between."""
    if isinstance(tree, str):
        return tree
    return "{" + "|".join("." + "".join(written(part) for part in option) for option in tree) + "}"


def results_of(tree: Tree) -> set[str]:
    """All that can come out of it, found by going through the tree."""
    if isinstance(tree, str):
        return {tree}
    found: set[str] = set()
    for option in tree:
        found |= {"." + "".join(parts) for parts in product(*(results_of(part) for part in option))}
    return found


@given(TREES, st.integers(0, 100))
def test_what_comes_out_of_nested_brackets_is_one_of_all_that_can(tree: Tree, seed: int) -> None:
    assert expanded(written(tree), random.Random(seed).random) in results_of(tree)


@given(st.text("{}|ab"), st.integers(0, 9))
def test_any_text_gives_the_same_each_time(text: str, seed: int) -> None:
    first = expanded(text, random.Random(seed).random)
    assert first == expanded(text, random.Random(seed).random)
    assert len(first) <= len(text)
