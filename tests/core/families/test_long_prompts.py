"""Long and weighted captions equal their chunks, encoded one by one with transformers and put together by hand."""

import pytest
import torch

from core.contracts import Framing
from core.families._prompt_weights import weighted_pieces

LONG = ", ".join(f"tag number {number}" for number in range(120))  # hundreds of tokens
CAPTIONS = {
    "empty": "",
    "short": "a cat!",
    "74 tokens": "cat " * 74,
    "75 tokens": "cat " * 75,
    "76 tokens": "cat " * 76,
    "100 tokens": "cat dog " * 50,
    "150 tokens": "cat " * 150,
    "too long": LONG,
}


def numbers_of(tokenizer, caption):
    """Token numbers without start and end."""
    return tokenizer(caption).input_ids[1:-1]


def by_hand(family, model, part, numbers, length):
    """Hidden states and pooled text of token numbers, chunk after chunk."""
    encoder, tokenizer = model.parts[part], model.tokenizers[part]
    states, pooled, numbers = [], [], numbers[:length]
    for start in range(0, length, 75):
        chunk = [49406, *numbers[start : start + 75], 49407]
        chunk += [0 if part == "text_2" else 49407] * (77 - len(chunk))
        assert len(chunk) == 77 and tokenizer.bos_token_id == 49406
        with torch.no_grad():
            output = encoder(torch.tensor([chunk]), output_hidden_states=True)
        hidden = output.last_hidden_state if family.name == "sd15" else output.hidden_states[-2]
        states.append(hidden[0])
        pooled.append(output.text_embeds[0] if part == "text_2" else None)
    joined = [states[0][0], *(state for chunk in states for state in chunk[1:76]), states[-1][76]]
    return torch.stack(joined), pooled[0]


@pytest.mark.parametrize("length", [75, 150, 225])
def test_long_captions_are_encoded_in_chunks(family, model, length):
    model.max_token_length = length
    for part in family.text_parts:
        encoded = family.encode_text(model, part, list(CAPTIONS.values()))
        for (name, caption), ours in zip(CAPTIONS.items(), encoded, strict=True):
            numbers = numbers_of(model.tokenizers[part], caption)
            hidden, pooled = by_hand(family, model, part, numbers, length)
            assert ours["hidden"].shape[0] == length + 2
            torch.testing.assert_close(ours["hidden"], hidden, rtol=1e-4, atol=1e-4, msg=f"{part} {name}")
            assert ("pooled" in ours) == (pooled is not None)
            if pooled is not None:
                torch.testing.assert_close(ours["pooled"], pooled, rtol=1e-4, atol=1e-4)


def test_what_comes_after_75_tokens_counts_only_where_captions_may_be_long(family, model):
    part, captions = family.text_parts[0], ["cat " * 80, "cat " * 80 + "dog"]
    short = family.encode_text(model, part, captions)
    assert torch.equal(short[0]["hidden"], short[1]["hidden"])
    model.max_token_length = 150
    long = family.encode_text(model, part, captions)
    assert torch.equal(long[0]["hidden"][:77], long[1]["hidden"][:77])  # 77 and on are in the other chunk
    assert not torch.equal(long[0]["hidden"][77:], long[1]["hidden"][77:])


def test_chunks_are_the_same_tokens_as_the_long_tokenizers(family, model):
    """kohya's trainer lets the tokenizer cut at 227 and takes the pieces out of that."""
    for part in family.text_parts:
        tokenizer = model.tokenizers[part]
        whole = tokenizer(LONG, padding="max_length", max_length=227, truncation=True).input_ids
        assert whole[1:-1] == numbers_of(tokenizer, LONG)[:225] and whole[-1] == 49407


@pytest.mark.parametrize("weighted", [False, True])
def test_conditions_of_long_captions_are_predicted_with(family, model, weighted):
    model.max_token_length, model.weighted_prompts = 225, weighted
    both = {part: family.encode_text(model, part, ["", LONG]) for part in family.text_parts}
    encoded = [{part: entries[index] for part, entries in both.items()} for index in range(2)]
    conditions = family.collate(encoded, [Framing((64, 64), (0, 0), (64, 64))] * 2)
    assert conditions.tensors["hidden"].shape[:2] == (2, 227)
    noisy = torch.zeros(2, 4, 8, 8)
    assert family.predict(model, noisy, torch.tensor([1, 2]), conditions).shape == noisy.shape


# -- weights

WEIGHTED = "a (red coat:1.4), [hat], " + "cat " * 70 + "(dog:0.5) bird"


@pytest.mark.parametrize("length", [75, 150])
def test_weights_multiply_the_states_of_their_words(family, model, length):
    model.weighted_prompts, model.max_token_length = True, length
    for part in family.text_parts:
        tokenizer, numbers, weights = model.tokenizers[part], [], []
        for text, weight in weighted_pieces(WEIGHTED):
            some = numbers_of(tokenizer, text)
            numbers, weights = numbers + some, weights + [weight] * len(some)
        assert {1.4, 0.5} <= set(weights) and len(numbers) > 75
        hidden, pooled = by_hand(family, model, part, numbers, length)
        factors = [1.0, *weights[:length], *[1.0] * (length - len(weights[:length])), 1.0]
        expected = hidden * torch.tensor(factors)[:, None]
        (ours,) = family.encode_text(model, part, [WEIGHTED])
        torch.testing.assert_close(ours["hidden"], expected, rtol=1e-4, atol=1e-4)
        if pooled is not None:
            torch.testing.assert_close(ours["pooled"], pooled, rtol=1e-4, atol=1e-4)


def test_without_weighting_brackets_are_text(family, model):
    for part in family.text_parts:
        (plain,) = family.encode_text(model, part, ["(cat:1.3)"])
        numbers = model.tokenizers[part]("(cat:1.3)").input_ids[1:-1]
        torch.testing.assert_close(plain["hidden"], by_hand(family, model, part, numbers, 75)[0], rtol=1e-4, atol=1e-4)
        model.weighted_prompts = True
        (weighted,) = family.encode_text(model, part, ["(cat:1.3)"])
        assert not torch.equal(plain["hidden"], weighted["hidden"])
        model.weighted_prompts = False


def test_captions_without_weights_are_the_same_either_way(family, model):
    captions = ["a red circle on a blue ground", "", "Two cats, very close!"]
    for part in family.text_parts:
        plain = family.encode_text(model, part, captions)
        model.weighted_prompts = True
        weighted = family.encode_text(model, part, captions)
        model.weighted_prompts = False
        assert all(
            torch.equal(one[name], other[name]) for one, other in zip(plain, weighted, strict=True) for name in one
        )
