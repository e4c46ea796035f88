"""Encodes captions with CLIP's text encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


def clip_hidden(encoder: nn.Module, tokenizer: Any, captions: Sequence[str], layer: int) -> tuple[Tensor, Any]:
    """Hidden states (B 77 d) after one of the layers, and the encoder's whole output; differentiable.

    layer: counted from the end: 1 is the last. A caption that is too long is cut; the end token stays.
    """
    length = encoder.config.max_position_embeddings  # type: ignore[union-attr]
    tokens = tokenizer(
        list(captions), padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    ).input_ids
    device = next(encoder.parameters()).device
    output = encoder(tokens.to(device), output_hidden_states=True)
    return output.hidden_states[-layer], output


def final_norm(encoder: nn.Module, hidden: Tensor) -> Tensor:
    """CLIP's last layer norm, which its hidden states are without."""
    inner: Any = getattr(encoder, "text_model", encoder)  # transformers 5.6 took the step in between away
    return inner.final_layer_norm(hidden)
