"""Encodes captions with CLIP's text encoder: in chunks where they are long, weighted where they say so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from core.contracts import Model, Part
from core.errors import ModelFileError
from core.families._prompt_weights import weighted_pieces

if TYPE_CHECKING:
    from torch import Tensor, nn


class ClipText(NamedTuple):
    """hidden: B L d, with L = max_token_length + 2. pooled: B d, of encoders that have a projection; else None."""

    hidden: Tensor
    pooled: Tensor | None


class _Tokens(NamedTuple):
    """Token numbers and their weights: B N 77 each, in N chunks."""

    ids: Tensor
    weights: Tensor


def clip_text(model: Model, part: Part, captions: Sequence[str], layer: int, normed: bool = False) -> ClipText:
    """The hidden states after one of the layers, and the pooled text; differentiable.

    layer: counted from the end: 1 is the last. normed: with CLIP's last layer norm, which its hidden states are
    without.
    As in kohya's trainer, each 75 tokens are encoded by themselves between a start and an end, and the states joined:
    the first start, all tokens, the last end. The pooled text is the first chunk's. What is longer than
    `max_token_length` is cut off. Weights multiply the states; their mean is left as it becomes.
    """
    from core.devices.torch_device import sent

    encoder, tokens = model.parts[part], _tokens(model, part, captions)
    count, chunks, length = tokens.ids.shape
    device = next(encoder.parameters()).device
    output: Any = encoder(sent(tokens.ids.view(count * chunks, length), device), output_hidden_states=True)
    hidden = _after(output.hidden_states, layer + model.layer_skip.get(part, 0), part)
    if normed:
        hidden = _final_norm(encoder, hidden)
    hidden = _rejoined(hidden.view(count, chunks, length, -1))
    if model.weighted_prompts:
        hidden = hidden * sent(_rejoined(tokens.weights[..., None]), device).to(hidden.dtype)
    if not hasattr(output, "text_embeds"):
        return ClipText(hidden, None)
    ends = tokens.ids.view(count * chunks, length) == model.tokenizers[part].eos_token_id
    return ClipText(hidden, _pooled(encoder, output.last_hidden_state, sent(ends, device))[::chunks])


def _tokens(model: Model, part: Part, captions: Sequence[str]) -> _Tokens:
    import torch

    tokenizer, inside = model.tokenizers[part], _inside(model.parts[part])
    ids, weights = [], []
    for caption in captions:
        found, strengths = _tokens_of(tokenizer, caption, model, part)
        starts = range(0, model.max_token_length, inside)
        ids.append([_framed(tokenizer, found[start : start + inside], inside) for start in starts])
        weights.append([_padded([1.0, *strengths[start : start + inside]], inside + 2, 1.0) for start in starts])
    return _Tokens(torch.tensor(ids), torch.tensor(weights))


def _tokens_of(tokenizer: Any, caption: str, model: Model, part: Part) -> tuple[list[int], list[float]]:
    """The tokens of a caption that count, without start and end, and their weights."""
    most, words = model.max_token_length, model.words.get(part, {})
    ids: list[int] = []
    weights: list[float] = []
    for text, weight in weighted_pieces(caption) if model.weighted_prompts else [(caption, 1.0)]:
        found = tokenizer(text, add_special_tokens=False, truncation=True, max_length=most).input_ids
        some = [token for one in found for token in words.get(one, [one])]
        ids, weights = ids + some, weights + [weight] * len(some)
    return ids[:most], weights[:most]


def _framed(tokenizer: Any, ids: Sequence[int], inside: int) -> list[int]:
    """A chunk between start and end, padded as the tokenizer pads."""
    return _padded([tokenizer.bos_token_id, *ids, tokenizer.eos_token_id], inside + 2, tokenizer.pad_token_id)


def _after(states: Sequence[Tensor], layer: int, part: Part) -> Tensor:
    """The states after a layer, counted from the end. ModelFileError where there are fewer layers."""
    layers = len(states) - 1  # the first are those before any layer
    if layer > layers:
        raise ModelFileError(
            f"The text encoder {part} has {layers} layers, and {layer - 1} of them would be left out.",
            do=f"Lower parts.{part}.layer_skip, or base.clip_skip.",
        )
    return states[-layer]


def _pooled(encoder: Any, normed: Tensor, ends: Tensor) -> Tensor:
    """The projection of the state at each text's first end token, N d.

    transformers takes the place of the largest number where CLIP's config is an old one, which new words would mislead.
    normed: states after the last layer and its norm, N L d. ends: where the end tokens are, N L.
    """
    return encoder.text_projection(normed[range(len(normed)), ends.int().argmax(dim=1)])


def _padded(items: Sequence[Any], length: int, with_: Any) -> list[Any]:
    return [*items, *[with_] * (length - len(items))]


def _rejoined(chunks: Tensor) -> Tensor:
    """B N 77 d -> B (75 N + 2) d: the first chunk's start, what each has inside, the last chunk's end."""
    import torch

    inside = chunks[:, :, 1:-1].flatten(1, 2)
    return torch.cat([chunks[:, 0, :1], inside, chunks[:, -1, -1:]], dim=1)


def _inside(encoder: nn.Module) -> int:
    """How many tokens a chunk has between its start and its end."""
    return encoder.config.max_position_embeddings - 2  # type: ignore[union-attr]


def _final_norm(encoder: nn.Module, hidden: Tensor) -> Tensor:
    inner: Any = getattr(encoder, "text_model", encoder)  # transformers 5.6 took the step in between away
    return inner.final_layer_norm(hidden)
