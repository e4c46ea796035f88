"""Encodes pictures and captions before training, and captions during it for text encoders that train."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from core.config.lora import LoraConfig
from core.contracts import Encoded, Family, Model, Part
from core.dataset.batches import Plan
from core.dataset.cache import Cache
from core.dataset.changes import verify
from core.dataset.encoders import ImageEncoder, TextEncoder, encode_captions
from core.dataset.filling import fill_latents, fill_text
from core.dataset.loader import Sources
from core.dataset.manifest import Entry, Manifest
from core.dataset.pixels import forget_pictures
from core.dataset.validation import validation_draws
from core.dataset.views import Shown
from core.devices import give_back_host_memory
from core.devices.torch_device import sent
from core.training.cache_usage import Usage
from core.training.events import Event, Message, Phase
from core.weights.files import fingerprint
from core.weights.sources import resolve

if TYPE_CHECKING:
    from core.training.base_model import BaseModel

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

_TOLD = 0.5
"""Seconds between two words of progress at least."""

_VAE_FACTS = ("scaling_factor", "shift_factor", "latents_mean", "latents_std", "act_fn", "norm_num_groups")
_TEXT_FACTS = ("hidden_act", "num_attention_heads", "layer_norm_eps", "eos_token_id")
"""What a config says of a part that its weights don't, and that changes what it gives."""


class StoppedEarly(Exception):
    """The user stopped the run before its first step."""


def in_good_time(title: str, report: Callable[[Event], None]) -> Callable[[int, int], None]:
    """Tells how much is done, and of how much: the last, and before it what comes in good time."""
    told = -math.inf

    def tell(done: int, total: int) -> None:
        nonlocal told
        if done == total or time.monotonic() - told >= _TOLD:
            told = time.monotonic()
            report(Phase(title=title, done=done, total=total))

    return tell


@dataclass
class Encoding:
    """What encodes, and what it needs for that.

    usage: is told what the run uses of the cache. report: for the progress of caching. should_stop: whether the user
    has asked to stop meanwhile. kept: is given the sample prompts' encodings.
    """

    config: LoraConfig
    base: BaseModel
    accelerator: Accelerator
    usage: Usage
    report: Callable[[Event], None]
    should_stop: Callable[[], bool]
    kept: PromptEncodings

    @property
    def family(self) -> Family:
        """The base's family."""
        return self.base.family

    @property
    def cache(self) -> Cache:
        """Where encodings are kept."""
        return self.usage.cache

    def prepare(self, model: Model, plan: Plan) -> Sources:
        """Load the VAE and the text encoders one after the other, and fill the cache with what the plan shows.

        Into the model go the VAE, and the text encoders that are needed during training.
        """
        images = self._images(model, plan)
        live = self.config.live_text(self.family.text_parts)
        texts = [self._text(model, part, plan) for part in self.family.text_parts if part not in live]
        for part in live:
            self._load(model, part)
        memory = self.config.memory
        return Sources(
            images=images,
            texts=texts,
            latents_cache=self.cache if memory.latent_caching else None,
            text_cache=self.cache if memory.text_caching else None,
        )

    def _load(self, model: Model, part: Part) -> None:
        dtype = DTYPES[self.config.memory.precision]
        loaded = self.base.load_part(self.config, part, dtype)
        model.parts[part] = loaded.parts[part].to(self.accelerator.device)
        model.tokenizers |= loaded.tokenizers

    def _images(self, model: Model, plan: Plan) -> ImageEncoder:
        """The VAE (always in fp32: SDXL's own overflows in fp16), and the cache filled with it."""
        self.report(Phase(title="Loading the VAE"))
        source = resolve(self.config.base.vae) if self.config.base.vae else self.base.path
        vae: Any = self.family.load_vae(source, torch.float32)
        model.parts["vae"] = vae
        if self.config.memory.vae_tiling:
            vae.enable_tiling()
        encoder = ImageEncoder(
            encode=lambda pixels: self.family.encode_images(model, pixels.to(self.accelerator.device)),
            fingerprint=identity(vae, _VAE_FACTS),
            dtype="fp32 tiled" if self.config.memory.vae_tiling else "fp32",
            batch_size=self.config.memory.encode_batch_size,
            inpainting=model.inpainting,
        )
        measured = (plan.shown(draw) for draw in validation_draws(plan))
        wanted = [*plan.images(self.config.training.epochs), *measured]
        caching = self.config.memory.latent_caching
        if caching:
            self.usage.record("latents", map(encoder.key, wanted))
        self._check_pictures(plan, wanted, encoder)
        vae.to(self.accelerator.device)
        if caching:
            progress = in_good_time("Caching pictures", self.report)
            self._finish(fill_latents(wanted, self.cache, encoder, progress, self.should_stop))
            forget_pictures()
            vae.to("cpu")
            give_back_host_memory()
        return encoder

    def _check_pictures(self, plan: Plan, wanted: Sequence[Shown], encoder: ImageEncoder) -> None:
        """PictureError if a picture that is still needed is not what it was when the run started."""
        caching = self.config.memory.latent_caching
        needed = {s.entry.path for s in wanted if not (caching and self.cache.has("latents", encoder.key(s)))}
        shown = {entry.path: entry for entry in plan.entries if plan.concepts[entry.concept].enabled}

        def is_cached(entry: Entry) -> bool:
            return entry.path not in needed

        for note in verify(Manifest(tuple(shown.values())), is_cached):  # the tiles of a picture are in one file
            self.report(Message(level="warning", text=str(note)))

    def _text(self, model: Model, part: Part, plan: Plan) -> TextEncoder:
        """A text encoder that isn't trained, and the cache filled with it; afterwards it may leave memory."""
        self.report(Phase(title="Loading the text encoder"))
        self._load(model, part)
        vocabulary = hashlib.sha256(json.dumps(model.tokenizers[part].get_vocab(), sort_keys=True).encode())
        encoder = TextEncoder(
            part=part,
            encode=lambda captions: self.family.encode_text(model, part, captions),
            fingerprint=identity(model.parts[part], _TEXT_FACTS) + vocabulary.hexdigest(),
            dtype=self.config.memory.precision,
            layer_skip=model.clip_skip - 1 + model.layer_skip.get(part, 0),
            max_token_length=self.config.base.max_token_length,
            weighted_prompts=self.config.base.weighted_prompts,
        )
        self.kept.encode(encoder)
        if self.config.memory.text_caching:
            measured = {draw.caption for draw in validation_draws(plan)}
            captions = plan.captions(self.config.training.epochs) | measured
            self.usage.record("text", map(encoder.key, captions))
            progress = in_good_time("Caching captions", self.report)
            self._finish(fill_text(captions, self.cache, encoder, progress, self.should_stop))
            del model.parts[part]
            give_back_host_memory()
        return encoder

    @staticmethod
    def _finish(whole: bool) -> None:
        if not whole:
            raise StoppedEarly


def identity(module: nn.Module, facts: Iterable[str]) -> str:
    """What tells one encoder from another: its weights, and what its config says of how they are used."""
    config: Any = module.config
    said = json.dumps({name: getattr(config, name, None) for name in facts}, default=str)
    return fingerprint(module.state_dict()) + hashlib.sha256(said.encode()).hexdigest()


class PromptEncodings:
    """The encodings of the sample prompts, by the text encoders that aren't trained; kept in memory."""

    def __init__(self, prompts: Iterable[str]) -> None:
        self._prompts = sorted(set(prompts))
        self._encoded: dict[Part, dict[str, dict[str, Tensor]]] = {}

    def encode(self, encoder: TextEncoder) -> None:
        """Encode all prompts with one encoder, while it is in memory."""
        encoded = encode_captions(self._prompts, encoder)
        self._encoded[encoder.part] = dict(zip(self._prompts, encoded, strict=True))

    def of(self, prompt: str) -> dict[Part, dict[str, Tensor]]:
        """One prompt's encodings."""
        return {part: encoded[prompt] for part, encoded in self._encoded.items()}


class Texts:
    """Completes encodings with those of the text encoders that are being trained."""

    def __init__(
        self, family: Family, model: Model, live: Sequence[Part], prompts: PromptEncodings, device: torch.device
    ) -> None:
        self._family, self._model, self._prompts, self._device = family, model, prompts, device
        self._live = [part for part in family.text_parts if part in live]

    def complete(
        self, captions: Sequence[str], encoded: Sequence[Encoded], blank: Mapping[Part, Sequence[bool]] | None = None
    ) -> list[Encoded]:
        """The encodings of captions by every text encoder; differentiable where it, or a word of it, is trained.

        blank: for a part, whether it reads an empty caption in place of each.
        """
        blank = blank or {}
        live = {
            part: self._family.encode_text(self._model, part, self._read(captions, blank.get(part, ())))
            for part in self._live
        }
        return [
            {
                **self._on_device(self._known(known, blank, index)),
                **{part: entries[index] for part, entries in live.items()},
            }
            for index, known in enumerate(encoded)
        ]

    def _known(self, known: Encoded, blank: Mapping[Part, Sequence[bool]], index: int) -> Encoded:
        empty = [part for part, blanks in blank.items() if part in known and blanks[index]]
        return {**known, **{part: self._prompts.of("")[part] for part in empty}}

    @staticmethod
    def _read(captions: Sequence[str], blank: Sequence[bool]) -> list[str]:
        return [
            ("" if empty else caption)
            for caption, empty in zip(captions, blank or [False] * len(captions), strict=True)
        ]

    def _on_device(self, encoded: Encoded) -> Encoded:
        return {
            part: {name: sent(tensor, self._device) for name, tensor in one.items()} for part, one in encoded.items()
        }

    def of_prompts(self, prompts: Sequence[str]) -> list[Encoded]:
        """The encodings of sample prompts."""
        return self.complete(prompts, [self._prompts.of(prompt) for prompt in prompts])
