"""Embedding: new words for the text encoders (textual inversion), alone or together with a LoRA (pivotal tuning)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

from core.contracts import Model, Network, Part, PartLayers
from core.errors import Problem
from core.networks._programs import REFUSED, loads
from core.settings import setting
from core.settings.bases import NetworkConfig


class Embedding(NetworkConfig):
    """Teaches the text encoders a new word, and changes nothing else: a file of a few KB.

    Textual inversion (Gal et al. 2022); together with an adapter, pivotal tuning (Roich et al. 2021). Every text
    encoder of the family gets the word, whether the encoder itself is trained or not.
    """

    label: ClassVar[str] = "Embedding"
    adapts: ClassVar[bool] = False

    name: Literal["embedding"] = "embedding"
    token: str = setting(
        "ohx",
        "Word",
        "The new word, which the model must not know yet. Use it in captions (as a concept's trigger word), in sample "
        "prompts, and later as the file's name.",
        pattern=r"^[^\s,.;:|(){}\[\]]+$",
        also=("token_string", "placeholder"),
    )
    vectors: int = setting(
        4,
        "Vectors",
        "How many of a prompt's 75 tokens the word fills. More hold more, and need more pictures; 2 to 8 are usual.",
        ge=1,
        le=75,
        unit="tokens",
        also=("num_vectors_per_token", "token_count"),
    )
    initial_text: str = setting(
        "",
        "Begins as",
        "Words that the model knows and that come near, such as `woman` or `oil painting`. Fewer tokens than vectors "
        "are repeated. Empty: at random.",
        also=("init_word", "initial_embedding_text"),
    )
    learning_rate: float = setting(
        1e-3,
        "Learning rate",
        "Of these vectors alone; larger than a LoRA's. Prodigy wants 1.",
        ge=0,
        le=10,
        also=("embedding_learning_rate",),
    )
    stop_after: str = setting(
        "",
        "Stop after",
        "Trains the vectors only so long, for example `500 steps` or `5 epochs`; a LoRA goes on. Empty: to the end.",
        level="advanced",
        also=("stop_embedding_training_after", "train_text_encoder_ti_frac"),
    )
    preserve_norm: bool = setting(
        False,
        "Keep the usual length",
        "After each step brings every vector to the median length of the words that the model knows, so that it "
        "doesn't outshout the rest of the prompt.",
        level="advanced",
        also=("preserve_embedding_norm",),
    )
    file: Literal["beside", "bundled"] = setting(
        "beside",
        "Save",
        "beside: a file of its own, NAME_word.safetensors. bundled: inside the LoRA's file, which Forge, A1111 and "
        "OneTrainer read, ComfyUI passes over, and diffusers refuses.",
        affects="files",
        level="advanced",
        also=("bundle_additional_embeddings",),
    )

    def check(self) -> Iterator[Problem]:
        from core.settings.duration import steps_of

        try:
            steps_of(self.stop_after)
        except ValueError as error:
            yield Problem("stop_after", str(error))

    def attach(self, model: Model, parts: Mapping[Part, PartLayers]) -> Network:
        from core.networks._new_words import NewWord

        return NewWord(self, model)

    def loads_in(self) -> dict[str, str]:
        told = {"LyCORIS": "Doesn't know embeddings."}
        if self.file == "bundled":
            told |= {"ComfyUI": "Passes it over, and loads the rest of the file.", "diffusers": REFUSED}
        return loads(told)

    def beside_names(self) -> list[str]:
        """The word, as far as it can stand in a file's name."""
        return [re.sub(r"[^\w.-]", "-", self.token)] if self.file == "beside" else []
