"""A word that the text encoders learn: its tokens, its vectors, and the embedding layer that knows them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from core.contracts import Model, Part
from core.errors import OchreError

if TYPE_CHECKING:
    from core.networks.embedding import Embedding

FILE_NAMES: Mapping[Part, str] = {"text_1": "clip_l", "text_2": "clip_g"}
"""What kohya, ComfyUI and diffusers call the vectors of each of several encoders."""


class NewWord(nn.Module):
    """A word's vectors for every text encoder of a model (contracts.Network).

    The word becomes as many tokens as it has vectors; whoever makes tokens of a text asks `Model.words` for them.
    """

    def __init__(self, config: Embedding, model: Model) -> None:
        """OchreError where the word can't be a new one."""
        super().__init__()
        self.config = config
        self.vectors = nn.ParameterDict()
        self._start: dict[Part, Tensor] = {}
        self._median: dict[Part, float] = {}
        self._taking = True
        for part, tokenizer in model.tokenizers.items():
            if part in model.parts:
                self._add(part, model.parts[part], tokenizer, model.words.setdefault(part, {}))
        assert self._start, "a word needs a text encoder"

    def _add(self, part: Part, encoder: Any, tokenizer: Any, words: dict[int, list[int]]) -> None:
        layer = encoder.get_input_embeddings()
        known = layer.known if isinstance(layer, WithNewWords) else layer
        start = first_vectors(self.config, tokenizer, known.weight)
        if not isinstance(layer, WithNewWords):
            encoder.set_input_embeddings(layer := WithNewWords(known))
        number, ids = add_tokens(tokenizer, self.config.token, self.config.vectors)
        assert ids[0] == layer.size, "the tokenizer and the embedding layer count alike"
        words[number] = ids
        self._start[part] = start
        self._median[part] = float(known.weight.detach().float().norm(dim=1).median())
        self.vectors[part] = nn.Parameter(start.clone())
        layer.append(self, part)

    def of(self, part: Part) -> Tensor:
        """The vectors, N d, as they are; while the network is disabled, as they began."""
        return self.vectors[part] if self._taking else self._start[part]

    def modules(self) -> Mapping[Part, nn.Module]:  # type: ignore[override]
        """None: the vectors are reached through the text encoders' embedding layers, which DDP never sees."""
        return {}

    def groups(self, rates: Mapping[Part, float]) -> list[dict[str, Any]]:
        """One group for each text encoder."""
        word, rate, stop = self.config.token, self.config.learning_rate, self.config.stop_after
        return [
            {
                "params": [vectors],
                "lr": rate,
                "name": f"embedding {word} {part}",
                "part": f"{word} {part}",
                "stop_after": stop,
            }
            for part, vectors in self.vectors.items()
        ]

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """Inside, the word means what it meant before the first step."""
        self._taking = False
        try:
            yield
        finally:
            self._taking = True

    def before_step(self, levels: Tensor) -> None:
        """Nothing to do."""

    def after_step(self) -> None:
        """Bring each vector to the vocabulary's median length, if asked for."""
        if not self.config.preserve_norm:
            return
        with torch.no_grad():
            for part, vectors in self.vectors.items():
                vectors *= self._median[part] / vectors.norm(dim=1, keepdim=True)

    def norms(self) -> dict[str, float]:
        """The mean length of the vectors, for each text encoder."""
        return {
            f"{self.config.token} {part}": float(vectors.detach().norm(dim=1).mean())
            for part, vectors in self.vectors.items()
        }

    def state(self) -> dict[str, Tensor]:
        """The vectors and what they were at first: part -> N d, fp32."""
        return {part: vectors.detach() for part, vectors in self.vectors.items()} | {
            f"{part}.start": start for part, start in self._start.items()
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take back the vectors. OchreError if they are of another word."""
        own = self.state()
        if {name: tensor.shape for name, tensor in own.items()} != {name: t.shape for name, t in state.items()}:
            raise OchreError(
                f"The saved vectors don't fit the word {self.config.token}.",
                do="Use the number of vectors and the base model of the run that they come from.",
            )
        for name, tensor in own.items():
            tensor.copy_(state[name])

    def export(self, lora_name: Callable[[Part, str], str]) -> dict[str, Tensor]:
        """For the LoRA's file, as A1111 and OneTrainer bundle them: `bundle_emb.WORD. ...`; else nothing."""
        if self.config.file != "bundled":
            return {}
        names = {"emb_params": "string_to_param.*"}
        return {f"bundle_emb.{self.config.token}.{names.get(k, k)}": v for k, v in self._named().items()}

    def beside(self, lora_name: Callable[[Part, str], str]) -> dict[str, dict[str, Tensor]]:
        """The word's own file, as kohya writes it: `emb_params`, or `clip_l` and `clip_g`; N d each."""
        return {name: self._named() for name in self.config.beside_names()}

    def remarks(self) -> list[str]:
        """Nothing to tell."""
        return []

    def _named(self) -> dict[str, Tensor]:
        tensors = {part: vectors.detach().float().cpu().contiguous() for part, vectors in self.vectors.items()}
        if len(tensors) == 1:
            return {"emb_params": next(iter(tensors.values()))}
        return {FILE_NAMES[part]: tensor for part, tensor in tensors.items()}

    def metadata(self) -> dict[str, str]:
        """Nothing that kohya's files would tell."""
        return {}

    def layers(self) -> Iterator[tuple[Part, str]]:
        """No layer is changed."""
        return iter(())


class WithNewWords(nn.Module):
    """An embedding layer that knows further tokens, whose numbers follow its own."""

    def __init__(self, known: nn.Module) -> None:
        super().__init__()
        self.known: Any = known
        self._words: list[tuple[NewWord, Part]] = []

    @property
    def weight(self) -> Tensor:
        """The known words' vectors: other code asks for their dtype and device."""
        return self.known.weight

    @property
    def size(self) -> int:
        """How many tokens it knows."""
        return self.known.weight.shape[0] + sum(word.config.vectors for word, _ in self._words)

    def append(self, word: NewWord, part: Part) -> None:
        """Know a word's tokens too."""
        self._words.append((word, part))

    def forward(self, ids: Tensor) -> Tensor:
        """Token numbers (B L) -> vectors (B L d)."""
        count = self.known.weight.shape[0]
        found = self.known(ids.clamp(max=count - 1))
        new = torch.cat([word.of(part) for word, part in self._words]).to(found)
        return torch.where((ids >= count)[..., None], new[(ids - count).clamp(min=0)], found)


def first_vectors(config: Embedding, tokenizer: Any, known: Tensor) -> Tensor:
    """What a word begins as: N d, fp32. Of an initial text its tokens' vectors, in turn; else as the known vary.

    OchreError if the tokenizer knows the word already.
    """
    own = tokenizer(config.token, add_special_tokens=False).input_ids
    if len(own) == 1 and own[0] != tokenizer.unk_token_id:
        raise OchreError(
            f"The model knows the word {config.token} already.",
            "An embedding teaches a new word, lest it spoil one that other prompts need.",
            "Choose another word, such as a short meaningless one.",
        )
    table = known.detach().float()
    ids = tokenizer(config.initial_text, add_special_tokens=False).input_ids if config.initial_text.strip() else []
    if ids:
        return torch.stack([table[ids[place % len(ids)]] for place in range(config.vectors)])
    noise = torch.randn(config.vectors, table.shape[1]).to(table.device)  # drawn on the CPU: the same everywhere
    return table.mean(0) + table.std(0) * noise


def add_tokens(tokenizer: Any, word: str, count: int) -> tuple[int, list[int]]:
    """Make a word a token, and as many as it has vectors: the number that a text gives, and those that it stands for.

    OchreError if the tokenizer has it from another network.
    """
    from tokenizers import AddedToken

    names = [word, *(f"{word}#{place}" for place in range(1, count))]
    # as a whole word, in capitals or not, like the words that CLIP knows
    added = tokenizer.add_tokens([AddedToken(name, single_word=True, normalized=True) for name in names])
    if added != count:
        raise OchreError(f"Two embeddings are called {word}.", do="Give each a word of its own.")
    ids = tokenizer.convert_tokens_to_ids(names)
    return ids[0], ids
