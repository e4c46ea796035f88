"""Weighted prompts: the examples that A1111 documents, and where brackets have no partner."""

import pytest

from core.families._prompt_weights import weighted_pieces

DOCUMENTED = {
    # from the docstring of A1111's parse_prompt_attention
    "normal text": [("normal text", 1.0)],
    "an (important) word": [("an ", 1.0), ("important", 1.1), (" word", 1.0)],
    r"\(literal\]": [("(literal]", 1.0)],
    "(unnecessary)(parens)": [("unnecessaryparens", 1.1)],
    # the same without the bracket that stays open: a bracket less of 1.1 around all that follows it
    "a ((house:1.3)) [on] a (hill:0.5), sun, (((sky))).": [
        ("a ", 1.0), ("house", 1.43), (" ", 1.0), ("on", 1 / 1.1), (" a ", 1.0), ("hill", 0.5), (", sun, ", 1.0),
        ("sky", 1.331), (".", 1.0),
    ],
    # the rules of A1111's wiki
    "a (word)": [("a ", 1.0), ("word", 1.1)],
    "a ((word))": [("a ", 1.0), ("word", 1.21)],
    "a [word]": [("a ", 1.0), ("word", 1 / 1.1)],
    "a (word:1.5)": [("a ", 1.0), ("word", 1.5)],
    "a (word:0.25)": [("a ", 1.0), ("word", 0.25)],
    r"a \(word\)": [("a (word)", 1.0)],
}  # fmt: skip

NESTED = {
    "(a [b] c:1.2)": [("a ", 1.2), ("b", 1.2 / 1.1), (" c", 1.2)],
    "(a (b:2) c)": [("a ", 1.1), ("b", 2.2), (" c", 1.1)],
    "[[a]]": [("a", 1 / 1.21)],
    "(a [b) c]": [("a ", 1.1), ("b", 1.0), (" c", 1 / 1.1)],
    r"\\(a)": [("\\", 1.0), ("a", 1.1)],
    r"rem \(re:zero\), (1girl:1.2)": [("rem (re:zero), ", 1.0), ("1girl", 1.2)],
    "( a : 1.3 )": [(" a ", 1.3)],
    "(a:-1)(b:+.5)(c:2.)": [("a", -1.0), ("b", 0.5), ("c", 2.0)],
    "a\n(b\nc)": [("a\n", 1.0), ("b\nc", 1.1)],
}

TEXT = [
    "", "(unbalanced", "unbalanced)", "[a", "a]", ">:(", ":)", ":-) and :3", "10:30", "a:1.3", "a:1.3)", "(a]", "((",
    "5'4\" \\o/", "\\", "a:b:c", "(a:1.3",
]  # fmt: skip


@pytest.mark.parametrize("prompt", DOCUMENTED | NESTED)
def test_the_grammar(prompt):
    pieces = weighted_pieces(prompt)
    expected = (DOCUMENTED | NESTED)[prompt]
    assert [piece.text for piece in pieces] == [text for text, _ in expected]
    assert [piece.weight for piece in pieces] == pytest.approx([weight for _, weight in expected])


@pytest.mark.parametrize("prompt", TEXT)
def test_brackets_without_a_partner_are_text(prompt):
    assert weighted_pieces(prompt) == [(prompt, 1.0)]


def test_an_open_bracket_does_not_keep_others_from_closing():
    assert weighted_pieces("((a) b") == [("(", 1.0), ("a", 1.1), (" b", 1.0)]
    assert weighted_pieces("(a:1.2) :( [b]") == [("a", 1.2), (" :( ", 1.0), ("b", 1 / 1.1)]


@pytest.mark.parametrize("number", ["1.2.3", ".", "x", "1,3", "1e3"])
def test_what_is_no_number_is_text(number):
    assert weighted_pieces(f"(a:{number})") == [(f"a:{number}", 1.1)]
