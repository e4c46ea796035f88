"""CLIP's tokenizer gives the numbers that CLIP gives."""

import pytest

from core.weights.clip_tokenizer import clip_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return clip_tokenizer()


def test_the_size_and_the_special_tokens(tokenizer):
    assert len(tokenizer) == 49408
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (49406, 49407, 49407)
    assert tokenizer.model_max_length == 77


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("a photo of a cat", [320, 1125, 539, 320, 2368]),
        ("A  Photo\nof a CAT", [320, 1125, 539, 320, 2368]),
        ("hello world!", [3306, 1002, 256]),
        ("a café, 3x", [320, 15304, 267, 274, 343]),
        ("", []),
    ],
)
def test_texts_become_clips_numbers(tokenizer, text, tokens):
    assert tokenizer(text).input_ids == [49406, *tokens, 49407]


def test_texts_are_padded_and_cut_at_77(tokenizer):
    options = {"padding": "max_length", "truncation": True}
    assert tokenizer("cat", **options).input_ids == [49406, 2368, 49407, *[49407] * 74]
    assert clip_tokenizer("!")("cat", **options).input_ids == [49406, 2368, 49407, *[0] * 74]
    assert tokenizer("cat " * 100, **options).input_ids == [49406, *[2368] * 75, 49407]


def test_every_text_comes_back(tokenizer):
    text = "ein schöner tag , 北京 ♥ <3 z̈"
    assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True).replace(" ", "") == text.replace(
        " ", ""
    )
