"""What a picture is shown with: each setting of captions, and that the same arguments give the same caption."""

from __future__ import annotations

import random
from collections import Counter
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.dataset.captions import CaptionDraw, caption_for, tags_of, varies, with_trigger_word
from core.dataset.settings import Concept, ConceptText


def concept_of(word: str = "", variations: int = 1, **text: Any) -> Concept:
    return Concept(trigger_word=word, text_variations=variations, text=ConceptText(**text))


def shown(concept: Concept, *captions: str, count: int = 200, kept: bool = False, seed: int = 1) -> list[str]:
    """The captions of one picture's first showings, ten in each epoch."""
    draws = (CaptionDraw(seed, 7, times, times // 10, 3 + 5 * times, kept) for times in range(count))
    return [caption_for(concept, captions, draw) for draw in draws]


def once(caption: str, word: str = "", **text: Any) -> str:
    """What is shown where nothing is drawn: twenty showings are the same."""
    (caption,) = set(shown(concept_of(word, **text), caption, count=20))
    return caption


# -- the trigger word


@pytest.mark.parametrize(
    ("caption", "word", "result"),
    [
        ("outdoors, sitting", "sks", "sks, outdoors, sitting"),
        ("", "sks", "sks"),
        ("outdoors", "", "outdoors"),
        ("girl, sks, hat", "sks", "girl, sks, hat"),
        ("girl, SKS", "sks", "girl, SKS"),
        ("cat ears, girl", "cat", "cat, cat ears, girl"),
        ("sksy, girl", "sks", "sks, sksy, girl"),
        ("a photograph of sks on a long beach", "sks", "a photograph of sks on a long beach"),
        ("a photograph of Sks, on a long and sandy beach", "sks", "a photograph of Sks, on a long and sandy beach"),
        ("a photograph of sksy on a long beach", "sks", "sks, a photograph of sksy on a long beach"),
        ("it is a c++ book on the table", "c++", "it is a c++ book on the table"),
        ("sks, woman, hat", "sks, woman", "sks, woman, hat"),
        ("sks, hat, woman", "sks, woman", "sks, woman, sks, hat, woman"),
    ],
)
def test_the_trigger_word_comes_in_front_unless_it_is_there(caption: str, word: str, result: str) -> None:
    assert with_trigger_word(caption, word, ",") == result
    assert once(caption, word) == result


@pytest.mark.parametrize("captions", [(), ("",), ("  ",)])
def test_without_caption_the_trigger_word_stands_alone(captions: tuple[str, ...]) -> None:
    settings: dict[str, Any] = {"prefix": "photo", "suffix": "outdoors", "shuffle_tags": True, "caps": ["upper"]}
    assert set(shown(concept_of("sks", **settings), *captions)) == {"sks"}
    assert set(shown(concept_of(**settings), *captions)) == {""}


# -- which caption


def test_several_captions_in_turn() -> None:
    assert shown(concept_of(caption_lines="in_turn"), "a", "b", "c", count=7) == ["a", "b", "c", "a", "b", "c", "a"]


@pytest.mark.parametrize("text", [{"caption_lines": "random"}, {"prompt_source": "prompt_file", "prompt_path": "p"}])
def test_captions_drawn_at_random(text: dict[str, Any]) -> None:
    counts = Counter(shown(concept_of(**text), "a", "b", "c", "d", count=4000))
    assert set(counts) == set("abcd") and all(900 < count < 1100 for count in counts.values())  # 1,000, deviation 27


def test_each_sample_draws_its_line_by_seed_epoch_and_sample() -> None:
    concept = concept_of(prompt_source="prompt_file", prompt_path="p")
    lines = [str(number) for number in range(1000)]
    first = caption_for(concept, lines, CaptionDraw(1, 7, 0, 0, 0, True))
    for draw in (CaptionDraw(2, 7, 0, 0, 0, True), CaptionDraw(1, 7, 0, 1, 0, True), CaptionDraw(1, 7, 0, 0, 1, True)):
        assert caption_for(concept, lines, draw) != first
    assert caption_for(concept, lines, CaptionDraw(1, 99, 5, 0, 0, True)) == first


# -- prefix, suffix, wildcards


@pytest.mark.parametrize(
    ("caption", "text", "result"),
    [
        ("cat", {"prefix": "photo"}, "photo, cat"),
        ("cat", {"suffix": "outdoors"}, "cat, outdoors"),
        ("cat,", {"prefix": "photo, ", "suffix": " , outdoors"}, "photo, cat, outdoors"),
        ("a;b", {"prefix": "p", "separator": ";"}, "p; a;b"),
        ("cat", {"prefix": " , "}, "cat"),
        ("cat", {"prefix": " "}, "cat"),
        ("cat", {"prefix": "{photo}", "wildcards": True}, "photo, cat"),  # as kohya: wildcards after the prefix
    ],
)
def test_prefix_and_suffix(caption: str, text: dict[str, Any], result: str) -> None:
    assert once(caption, **text) == result


def test_the_trigger_word_comes_before_the_prefix() -> None:
    assert once("cat", "sks", prefix="photo") == "sks, photo, cat"
    assert once("cat", "sks", prefix="photo, sks") == "photo, sks, cat"


def test_the_prefix_counts_among_the_tags_kept() -> None:
    """As in kohya's trainer, which puts it in front before it takes the tags apart."""
    captions = shown(concept_of(prefix="photo", shuffle_tags=True, keep_tags=1), "a, b, c")
    assert {caption.split(", ")[0] for caption in captions} == {"photo"}
    assert len({caption.index("photo") for caption in shown(concept_of(prefix="photo", shuffle_tags=True), "a, b")}) > 1


def test_wildcards() -> None:
    counts = Counter(shown(concept_of(wildcards=True), "a {red|{dark|light} blue} coat, {{x}}", count=2000))
    assert set(counts) == {f"a {colour} coat, {{x}}" for colour in ("red", "dark blue", "light blue")}
    assert 900 < counts["a red coat, {x}"] < 1100


def test_wildcards_are_text_unless_wanted() -> None:
    assert once("a {red|blue} coat {{x}}") == "a {red|blue} coat {{x}}"


def test_empty_choices_leave_no_gap() -> None:
    captions = shown(concept_of(wildcards=True), "{|big} cat, {|hat}, a {|red} coat, {|end}")
    assert {"cat, a coat", "big cat, hat, a red coat, end"} <= set(captions)
    assert not any("  " in caption or ", ," in caption or caption != caption.strip(", ") for caption in captions)


# -- shuffling and kept tags


def test_shuffled_tags_keep_the_first_and_lose_none() -> None:
    captions = shown(concept_of("sks", shuffle_tags=True, keep_tags=2), "a, b, c, d, e, f", count=2400)
    assert all(caption.startswith("sks, a, b, ") for caption in captions)
    counts = Counter(caption.removeprefix("sks, a, b, ") for caption in captions)
    assert set(counts) == {", ".join(order) for order in permutations("cdef")}
    assert all(60 < count < 145 for count in counts.values())  # 100, standard deviation 9.8


def test_a_trigger_word_among_shuffled_tags_is_not_lost_or_doubled() -> None:
    captions = shown(concept_of("sks", shuffle_tags=True, tag_dropout="full"), "a, b, SKS, c")
    assert {caption.split(", ")[0] for caption in captions} == {"sks"}
    assert {caption.lower().count("sks") for caption in captions} == {1}


def test_a_trigger_word_in_shuffled_prose_stays_there() -> None:
    captions = shown(concept_of("sks", shuffle_tags=True), "a photograph of sks on a beach, sunny")
    assert {caption.count("sks") for caption in captions} == {1}
    captions = shown(
        concept_of("sks", tag_dropout="full", tag_dropout_probability=1.0), "a photograph of sks on a beach"
    )
    assert set(captions) == {"sks"}  # dropped with its sentence, it comes back


def test_a_trigger_word_among_tags_is_found_beside_prose() -> None:
    captions = shown(concept_of("cat", shuffle_tags=True), "cat ears in a very long sentence, cat")
    assert set(captions) == {"cat, cat ears in a very long sentence"}


def test_another_separator() -> None:
    assert once("a, b; c", "sks", shuffle_tags=True, separator=";", keep_tags=9) == "sks; a, b; c"
    captions = shown(concept_of(shuffle_tags=True, separator=" | "), "a, x | b")
    assert set(captions) == {"a, x | b", "b | a, x"}
    assert set(shown(concept_of(shuffle_tags=True, separator=" "), "a b")) == {"a b", "b a"}


@pytest.mark.parametrize(
    ("caption", "results"),
    [
        ("a, b ||| c, d", {"a, b, c, d", "a, b, d, c"}),
        ("a ||| c, d ||| z, y", {"a, c, d, z, y", "a, d, c, z, y"}),
        ("||| c, d ||| z", {"c, d, z", "d, c, z"}),
        ("a, ||| ,c,, d", {"a, c, d", "a, d, c"}),
        ("a ||| c ||| x ||| y", {"a, c, x, y"}),
        ("a, c, d", {"a, c, d", "a, d, c"}),  # no mark: the number counts
    ],
)
def test_the_separator_of_kept_tags(caption: str, results: set[str]) -> None:
    concept = concept_of(shuffle_tags=True, keep_tags=1, keep_tags_separator="|||")
    assert set(shown(concept, caption)) == results


def test_the_separator_of_kept_tags_is_never_shown() -> None:
    """kohya's trainer leaves it in where nothing is shuffled or dropped."""
    assert once("a, b ||| c", keep_tags_separator="|||") == "a, b, c"


def test_tags_that_stay_together() -> None:
    concept = concept_of(shuffle_tags=True, secondary_separator=";;;")
    assert set(shown(concept, "a;;;b ;;; c, d")) == {"a, b, c, d", "d, a, b, c"}
    assert once("a;;;b, c", secondary_separator=";;;") == "a, b, c"
    concept = concept_of(tag_dropout="random", tag_dropout_probability=0.5, secondary_separator=";;;")
    assert set(shown(concept, "a;;;b, d")) == {"a, b, d", "a, b", "d", ""}


WORDS = st.text("abcdef", min_size=1, max_size=4)
TAGS = st.lists(WORDS, max_size=5)


@given(TAGS, TAGS, TAGS, st.integers(0, 50))
def test_kept_and_loose_tags_as_kohya_documents_them(
    head: list[str], loose: list[str], tail: list[str], times: int
) -> None:
    """kohya.md 3.8, steps 4, 6, 8, 9: fixed head, flexible part, fixed tail; joined; then the second separator."""
    caption = f"{','.join(head)}|||{', '.join(loose)}|||{'; '.join(tail)}"
    concept = concept_of(shuffle_tags=True, keep_tags_separator="|||", secondary_separator=";")
    tags = tags_of(shown(concept, caption, count=times + 1)[times], ",")
    assert tags[: len(head)] == head
    assert sorted(tags[len(head) : len(head) + len(loose)]) == sorted(loose)
    assert tags[len(head) + len(loose) :] == tail


@given(st.lists(WORDS, min_size=1, max_size=8), st.integers(0, 9), st.integers(0, 50))
def test_the_first_tags_are_kept_as_kohya_documents_it(tags: list[str], keep: int, times: int) -> None:
    concept = concept_of(shuffle_tags=True, keep_tags=keep)
    result = shown(concept, ", ".join(tags), count=times + 1)[times].split(", ")
    assert result[:keep] == tags[:keep] and sorted(result) == sorted(tags)


# -- tag dropout


def shares_dropped(tags: str, count: int = 4000, **text: Any) -> dict[str, float]:
    """How often each tag is missing."""
    captions = [tags_of(caption, ",") for caption in shown(concept_of(**text), tags, count=count)]
    return {tag: sum(tag not in caption for caption in captions) / count for tag in tags_of(tags, ",")}


def test_full_dropout_takes_all_loose_tags_at_once() -> None:
    text: dict[str, Any] = {"tag_dropout": "full", "tag_dropout_probability": 0.25, "keep_tags": 1}
    counts = Counter(shown(concept_of("sks", **text), "a, b, c", count=4000))
    assert set(counts) == {"sks, a, b, c", "sks, a"}
    assert 0.22 < counts["sks, a"] / 4000 < 0.28


def test_random_dropout_takes_each_tag_by_itself() -> None:
    text: dict[str, Any] = {"tag_dropout": "random", "tag_dropout_probability": 0.25}
    shares = shares_dropped("a, b, c", **text)
    assert all(0.22 < share < 0.28 for share in shares.values())
    counts = Counter(shown(concept_of(**text), "a, b, c", count=4000))
    assert 0.39 < counts["a, b, c"] / 4000 < 0.46  # 0.75³ = 0.42


@pytest.mark.parametrize("probability", [0.1, 0.3, 0.8])
def test_weighted_dropout_grows_with_the_place(probability: float) -> None:
    text: dict[str, Any] = {"tag_dropout": "random_weighted", "tag_dropout_probability": probability}
    shares = shares_dropped("k, a, b, c, d, e", keep_tags=1, **text)
    expected = {"k": 0.0} | {tag: min(1.0, probability * 2 * place / 4) for place, tag in enumerate("abcde")}
    assert shares == pytest.approx(expected, abs=0.03)
    assert shares["k"] == shares["a"] == 0
    assert shares_dropped("x", **text)["x"] == pytest.approx(probability, abs=0.03)


def test_dropped_before_shuffled() -> None:
    """So that the place that counts is the one in the file."""
    text: dict[str, Any] = {"tag_dropout": "random_weighted", "tag_dropout_probability": 0.5, "shuffle_tags": True}
    assert shares_dropped("a, b, c", count=1000, **text)["a"] == 0
    assert shares_dropped("a, b, c", count=1000, **text)["c"] == 1


@pytest.mark.parametrize(
    ("mode", "listed", "regex", "second", "result"),
    [
        ("all", ["hat"], False, "", ""),
        ("only", ["hat", " Long hair "], False, "", "red hat, 1girl, smile;x"),
        ("only", ["HAT"], False, "", "red hat, 1girl, long hair, smile;x"),
        ("never", ["hat"], False, "", "hat"),
        ("only", [r".*h.*"], True, "", "1girl, smile;x"),
        ("only", [r"h"], True, "", "red hat, hat, 1girl, long hair, smile;x"),  # the whole tag has to match
        ("never", [r"\d(girl|boy)", "H.T"], True, "", "hat, 1girl"),
        ("only", ["(", "hat"], False, "", "red hat, 1girl, long hair, smile;x"),  # no expression, unless chosen
        ("only", ["smile"], False, ";", "red hat, hat, 1girl, long hair, smile, x"),  # x may not go
        ("only", ["smile", "x"], False, ";", "red hat, hat, 1girl, long hair"),
        ("never", ["x"], False, ";", "smile, x"),
        ("only", [], False, "", "red hat, hat, 1girl, long hair, smile;x"),
        ("never", [], False, "", ""),
    ],
)
@pytest.mark.parametrize("dropout", ["full", "random"])
def test_the_list_of_tags(mode: str, listed: list[str], regex: bool, second: str, result: str, dropout: str) -> None:
    text: dict[str, Any] = {"tag_dropout_mode": mode, "tag_dropout_list": listed, "tag_dropout_regex": regex}
    text |= {"tag_dropout": dropout, "tag_dropout_probability": 1.0, "secondary_separator": second}
    assert once("red hat, hat, 1girl, long hair, smile;x", **text) == result


def test_the_list_of_tags_under_weighted_dropout() -> None:
    """The place is that among all loose tags, not among those that may go."""
    text: dict[str, Any] = {"tag_dropout": "random_weighted", "tag_dropout_probability": 0.3}
    shares = shares_dropped("a, b, c, d, e", tag_dropout_mode="only", tag_dropout_list=["c", "e"], **text)
    assert shares == pytest.approx({"a": 0, "b": 0, "c": 0.3, "d": 0, "e": 0.6}, abs=0.03)


# -- capitals


@pytest.mark.parametrize(
    ("mode", "result"),
    [
        ("upper", "sKs, A PHOTO OF THE CAT'S HAT, 1GIRL, BLACK-AND-WHITE, PARIS"),
        ("lower", "sKs, a photo of the cat's hat, 1girl, black-and-white, paris"),
        ("title", "sKs, A Photo Of The Cat's Hat, 1girl, Black-And-White, Paris"),
        ("first", "sKs, A photo of the cat's hat, 1girl, black-and-white, paris"),
    ],
)
def test_capitals(mode: Any, result: str) -> None:
    caption = "a photo of the cat's hat, 1girl, black-and-white, Paris"
    assert once(caption, "sKs", caps=[mode], caps_probability=1.0) == result
    assert once(caption, caps=[mode], caps_probability=1.0) == result.removeprefix("sKs, ")


@pytest.mark.parametrize("mode", ["upper", "lower", "title", "first"])
def test_capitals_leave_the_trigger_word(mode: Any) -> None:
    text: dict[str, Any] = {"caps": [mode], "caps_probability": 1.0}
    assert once("looking iNTO the very wide sKs", "sKs", **text).split()[-1] == "sKs"
    assert "sKs,wOman" in once("HAT, sKs,wOman", "sKs, wOman", **text)


def test_so_many_versions_have_other_capitals() -> None:
    counts = Counter(shown(concept_of(caps=["upper", "lower"], caps_probability=0.4), "A cat", count=4000))
    assert set(counts) == {"A cat", "A CAT", "a cat"}
    assert counts["A cat"] / 4000 == pytest.approx(0.6, abs=0.03)
    assert counts["A CAT"] / 4000 == pytest.approx(0.2, abs=0.03)


# -- caption dropout


def test_dropout_drops_about_its_share_with_the_trigger_word() -> None:
    counts = Counter(shown(concept_of("sks", caption_dropout=0.25), "cat", count=4000))
    assert set(counts) == {"", "sks, cat"}
    assert 0.22 < counts[""] / 4000 < 0.28


def test_dropout_differs_between_showings_of_a_kept_version() -> None:
    captions = shown(concept_of("sks", caption_dropout=0.5), "cat", kept=True)
    assert set(captions) == {"", "sks, cat"}


# -- the same arguments give the same caption


def test_captions_that_nothing_is_done_to_stay_as_they_are() -> None:
    assert once("A cat , odd;spacing,,") == "A cat , odd;spacing,,"


LETTERS = st.text("abcAB12 ,;|{}()'é猫😀-_", max_size=40)


@st.composite
def concepts(draw: st.DrawFn) -> Concept:
    text = ConceptText(
        caption_lines=draw(st.sampled_from(["join", "in_turn", "random", "first"])),
        prefix=draw(LETTERS),
        suffix=draw(LETTERS),
        separator=draw(st.sampled_from([",", ";", " | ", " "])),
        secondary_separator=draw(st.sampled_from(["", "::"])),
        shuffle_tags=draw(st.booleans()),
        keep_tags=draw(st.integers(0, 3)),
        keep_tags_separator=draw(st.sampled_from(["", "|||"])),
        tag_dropout=draw(st.sampled_from(["off", "full", "random", "random_weighted"])),
        tag_dropout_probability=draw(st.sampled_from([0.1, 0.5, 1.0])),
        tag_dropout_mode=draw(st.sampled_from(["all", "only", "never"])),
        tag_dropout_list=draw(st.lists(st.sampled_from(["a", "b", "[ab]+"]))),
        tag_dropout_regex=draw(st.booleans()),
        caps=draw(st.lists(st.sampled_from(["upper", "lower", "title", "first"]), max_size=2)),
        wildcards=draw(st.booleans()),
    )
    word = draw(st.sampled_from(["", "sKs", "c++", "a dog"]))
    return Concept(trigger_word=word, text_variations=draw(st.integers(1, 4)), text=text)


@given(concepts(), st.lists(LETTERS, max_size=3), st.integers(0, 99), st.booleans())
def test_the_same_arguments_give_the_same_caption(
    concept: Concept, captions: list[str], number: int, kept: bool
) -> None:
    draw = CaptionDraw(number, 7, number, number // 5, number * 3, kept)
    state = random.getstate()
    first = caption_for(concept, captions, draw)
    assert random.getstate() == state  # nothing is taken from the global generator
    random.random()
    assert first == caption_for(concept.model_copy(deep=True), tuple(captions), draw)
    assert with_trigger_word(first, concept.trigger_word, concept.text.separator) == first


@given(concepts(), LETTERS, st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), min_size=1, max_size=30))
def test_kept_versions_are_as_many_as_is_set_for_all_pictures(
    concept: Concept, caption: str, showings: list[tuple[int, int]]
) -> None:
    """Whatever picture, epoch and sample: so all of them can be encoded beforehand."""
    draws = [CaptionDraw(5, key, times, times // 3, times * 7 + key, True) for key, times in showings]
    versions = {
        caption_for(concept, [caption], CaptionDraw(5, 0, times, 0, 0, True))
        for times in range(concept.text_variations)
    }
    assert {caption_for(concept, [caption], draw) for draw in draws} <= versions


def test_captions_in_turn_have_each_as_many_versions() -> None:
    concept = concept_of(variations=3, caption_lines="in_turn", shuffle_tags=True)
    counts = Counter(shown(concept, "a, b, c, d, e", "f, g, h, i, j", count=60, kept=True))
    assert len(counts) == 6 and set(counts.values()) == {10}
    assert len(set(shown(concept, "a, b, c, d, e", "f, g, h, i, j", count=60))) > 30


def test_drawn_lines_have_each_as_many_versions() -> None:
    concept = concept_of(variations=2, prompt_source="prompt_file", prompt_path="p", shuffle_tags=True)
    captions = shown(concept, "a, b, c, d, e", "f, g, h, i, j", count=200, kept=True)
    assert len(set(captions)) == 4


def test_pictures_and_seeds_differ() -> None:
    concept = concept_of(shuffle_tags=True)
    caption = "a, b, c, d, e, f, g, h"
    by_picture = {caption_for(concept, [caption], CaptionDraw(1, key, 0, 0, 0, False)) for key in range(50)}
    by_seed = {caption_for(concept, [caption], CaptionDraw(seed, 7, 0, 0, 0, True)) for seed in range(50)}
    assert len(by_picture) > 45 and len(by_seed) > 45


@pytest.mark.parametrize(
    ("text", "differ"),
    [
        ({}, False),
        ({"prefix": "a", "keep_tags": 2}, False),
        ({"shuffle_tags": True}, True),
        ({"tag_dropout": "full"}, True),
        ({"caption_dropout": 0.1}, True),
        ({"caps": ["upper"]}, True),
        ({"wildcards": True}, True),
        ({"caption_lines": "in_turn"}, True),
        ({"caption_lines": "first"}, False),
        ({"prompt_source": "prompt_file", "prompt_path": "p"}, True),
        ({"prompt_source": "file_name"}, False),
    ],
)
def test_whether_captions_differ(text: dict[str, Any], differ: bool) -> None:
    concept = concept_of(**text)
    assert varies(concept) is differ
    captions = shown(concept, "{a|b} c, d, e", "other, f, g", count=300) if differ else []
    assert len(set(captions)) > 1 or not differ


def test_lists_of_tags_are_checked() -> None:
    def problems(**text: Any) -> list[str]:
        return [problem.path for problem in ConceptText(**text).check()]

    assert problems(secondary_separator=",,") == ["secondary_separator"]
    assert problems(keep_tags_separator=",") == ["keep_tags_separator"]
    assert problems(keep_tags_separator=";;;", secondary_separator=";;;") == ["keep_tags_separator"]
    assert problems(keep_tags_separator="|||", secondary_separator=";;;") == []
    assert problems(tag_dropout_list=["("], tag_dropout_regex=True) == ["tag_dropout_list"]
    assert problems(tag_dropout_list=["("]) == []
