"""What vision models answer, and the captions in it."""

from __future__ import annotations

import pytest

from core.dataset.tile_captions.answers import LONGEST, cleaned, nonsense


@pytest.mark.parametrize(
    ("answer", "caption"),
    [
        ("a red door", "a red door"),
        ("  A red\n\tdoor.  ", "A red door."),
        ('"A red door."', "A red door."),
        ("“A red door.”", "A red door."),
        ("'a door'", "a door"),
        ('"Stop" and "Go"', '"Stop" and "Go"'),
        ('A sign that says "Stop"', 'A sign that says "Stop"'),
        ("the cat's eye", "the cat's eye"),
        ("```\na red door\n```", "a red door"),
        ("```text\na red door\n```", "a red door"),
        ("Here:\n```json\na door\n```", "Here: a door"),
        ("<think>Is it a door? Yes.</think>\n\na red door", "a red door"),
        ("<THINK>no</THINK>a door", "a door"),
        ("Is it a door?</think>a door", "a door"),
        ("<think>Is it a door", ""),
        ("<thinking>a</thinking>b<think>c</think>d", "bd"),
        ("Caption: a door", "a door"),
        ("**Caption:** a door", "a door"),
        ('### Caption: "**a door**"', "a door"),
        ("a caption: none", "a caption: none"),
        ("a door<|im_end|>", "a door"),
        ("a door</s>", "a door"),
        ("a \x1b[31mdoor\x07", "a [31mdoor"),
        ("eine Tür, 扉, <lora>", "eine Tür, 扉, <lora>"),
        ('""', ""),
        ("", ""),
    ],
)
def test_the_caption_is_found_in_the_answer(answer, caption):
    assert cleaned(answer) == caption
    assert cleaned(caption) == caption


@pytest.mark.parametrize(
    ("caption", "what"),
    [
        ("", "nothing"),
        ("12 / 34 ...", "no words"),
        ("a" * (LONGEST + 1), f"{LONGEST + 1} characters"),
        ("I'm sorry, I can't.", "a refusal"),
        ("I cannot see a picture.", "a refusal"),
        ("As an AI language model, I", "a refusal"),
        ("very " * 40, "the same words"),
    ],
)
def test_nonsense_is_told_from_captions(caption, what):
    assert nonsense(caption).startswith(what)


@pytest.mark.parametrize(
    "caption",
    ["door", "扉", "a" * LONGEST, "a sorry sight", "iced tea on a table", "1girl, solo, " * 2, "the " * 20 + "door"],
)
def test_captions_are_not_called_nonsense(caption):
    assert nonsense(caption) == ""
