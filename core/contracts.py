"""The types that the rooms hand to one another. Importing this needs no torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor, nn

    from core.objectives import Objective

Part = str
"""A part of a model: "denoiser", "text_1", "text_2", "vae"."""


@dataclass(frozen=True)
class PartLayers:
    """What a part of a model is made of: name -> regular expression over its module paths.

    groups: kinds of layers ("attention", ...). blocks: from its first to its last ("IN00", "MID", ...).
    """

    groups: Mapping[str, str]
    blocks: Mapping[str, str] = field(default_factory=dict)


Prediction = Literal["epsilon", "v_prediction"]
"""What a diffusion model's output means; diffusers' names."""

Encoded = Mapping[Part, Mapping[str, "Tensor"]]
"""One caption's encoding, without a batch axis: part -> name -> tensor, for example `text_1 -> hidden -> (77, 768)`."""


@dataclass(frozen=True)
class TensorInfo:
    """A tensor in a file, not read. dtype as safetensors writes it: F32, F16, BF16, I64 ..."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Header:
    """What a weights file says of itself before any weight is read."""

    path: Path
    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Match:
    """A family's answer to a file or folder that it knows.

    prediction is None where nothing in the file says it.
    refusal: why Ochre can't train a model of this variant; empty if it can.
    """

    family: str
    variant: str
    prediction: Prediction | None
    why: tuple[str, ...]
    zero_terminal_snr: bool = False
    refusal: str = ""


@dataclass
class Model:
    """A loaded model.

    parts: part -> module (denoiser, vae, text_1 ...); a part that has left memory is missing.
    tokenizers: text part -> tokenizer.
    noise_schedule: diffusers' scheduler config, as a dict.
    words: for each text part, words that a network adds: token number in a text -> the tokens that it stands for.
    layer_skip: for each text part, how many more of its last layers are left out than the family leaves out.
    max_token_length: how many tokens of a caption count: 75, 150 or 225; each 75 are encoded by themselves.
    weighted_prompts: whether `(word:1.3)` in a caption weights a word, or is text.
    inpainting: the denoiser is also shown a picture with a part cut out, and where that part is. Then the cache keeps
    for each picture `conditioning`, the latents of its conditioning picture, or of the picture with the inside of its
    mask replaced by 0 (of -1 to 1; without a mask: all of it), and `mask` at the latents' size; and a batch's controls
    are `mask` (B 1 h w, 1 where the model has to draw, else 0) and `masked_latents` (B C h w, scaled as the latents).
    """

    family: str
    parts: dict[Part, nn.Module]
    tokenizers: dict[Part, Any]
    noise_schedule: dict[str, Any]
    prediction: Prediction = "epsilon"
    zero_terminal_snr: bool = False
    clip_skip: int = 1
    max_token_length: int = 75
    weighted_prompts: bool = False
    inpainting: bool = False
    words: dict[Part, dict[int, list[int]]] = field(default_factory=dict)
    layer_skip: dict[Part, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Size:
    """A bucket, or a picture: frames, height, width in pixels."""

    height: int
    width: int
    frames: int = 1

    @property
    def area(self) -> int:
        """Height times width."""
        return self.height * self.width

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


@dataclass(frozen=True)
class Framing:
    """How a picture was laid into its bucket: SDXL's size conditioning, in pixels.

    original: the picture's size. crop: top and left of what was cut, after resizing. target: the bucket.
    """

    original: tuple[int, int]
    crop: tuple[int, int]
    target: tuple[int, int]


@dataclass
class Conditions:
    """What the denoiser is told besides the latents: name -> tensor with a batch axis first."""

    tensors: dict[str, Tensor]


@dataclass
class Batch:
    """One micro-batch, as the loop takes it.

    latents: B C H W (scaled as the family scales them), fp32.
    encoded: one per sample, for text parts that don't train; captions are there for those that do.
    weights: B, a factor on each sample's loss. samples: their numbers within the run, from which noise is drawn.
    kinds: each sample's concept's: standard, regularisation, prior_prediction or validation.
    mask: B 1 h w, a factor on each latent pixel's error; None: all count alike.
    held: B 1 h w, a factor on each latent pixel's difference from what the model said before training; None: none.
    controls: what the denoiser is shown besides; see `Model.inpainting`.
    """

    latents: Tensor
    encoded: list[dict[Part, dict[str, Tensor]]]
    captions: list[str]
    framings: list[Framing]
    weights: Tensor
    names: list[str]
    kinds: list[str]
    samples: list[int]
    mask: Tensor | None = None
    controls: dict[str, Tensor] = field(default_factory=dict)
    held: Tensor | None = None

    def only(self, places: Sequence[int]) -> Batch:
        """The samples at some places."""
        picked = list(places)
        return Batch(
            latents=self.latents[picked],
            encoded=[self.encoded[place] for place in picked],
            captions=[self.captions[place] for place in picked],
            framings=[self.framings[place] for place in picked],
            weights=self.weights[picked],
            names=[self.names[place] for place in picked],
            kinds=[self.kinds[place] for place in picked],
            samples=[self.samples[place] for place in picked],
            mask=None if self.mask is None else self.mask[picked],
            controls={name: tensor[picked] for name, tensor in self.controls.items()},
            held=None if self.held is None else self.held[picked],
        )


@dataclass(frozen=True)
class PreviewRequest:
    """A sample picture to draw.

    sampler: one of the family's. Noise, and that of samplers that add some on the way, hangs on the seed alone.
    """

    width: int
    height: int
    steps: int
    guidance: float
    seed: int
    sampler: str = "ddim"


class Family(ABC):
    """One kind of image model: facts, and what translates between it and the loop. Holds no tensors itself."""

    name: ClassVar[str]
    label: ClassVar[str]
    licence: ClassVar[str]
    repositories: ClassVar[tuple[str, ...]]
    native_resolution: ClassVar[int]
    bucket_step: ClassVar[int]  # sides must be multiples of this, in pixels
    latent_channels: ClassVar[int]
    latent_scale: ClassVar[int]
    text_parts: ClassVar[tuple[Part, ...]]
    variants: ClassVar[tuple[str, ...]]  # kinds of its models that can be trained: "base", "inpainting"
    # layer group -> regular expression over module paths, for each part that a network may change
    layer_groups: ClassVar[Mapping[Part, Mapping[str, str]]]
    # block -> regular expression over module paths, from the first to the last, for each such part
    blocks: ClassVar[Mapping[Part, Mapping[str, str]]] = {}
    # how its models are noised
    objective_kind: ClassVar[Literal["diffusion", "flow"]] = "diffusion"
    # parts that are trained where nothing else is said
    trains: ClassVar[tuple[Part, ...]] = ("denoiser",)
    # names that go into a saved file's metadata
    base_model_version: ClassVar[str]
    modelspec_architecture: ClassVar[str]
    modelspec_implementation: ClassVar[str]

    @abstractmethod
    def recognise(self, header: Header) -> Match | None:
        """This family's match for a single file's header, or None."""

    @abstractmethod
    def recognise_folder(self, index: Mapping[str, Any], configs: Mapping[str, Mapping[str, Any]]) -> Match | None:
        """This family's match for a diffusers folder (model_index.json, part folder -> its config), or None."""

    @abstractmethod
    def load(self, source: Path, parts: Sequence[Part], dtypes: Mapping[Part, Any]) -> Model:
        """Load the named parts (with their tokenizers) from a single file or a diffusers folder, on the CPU.

        Parts come frozen and in eval mode; prediction, zero_terminal_snr and inpainting are what the source says.
        dtypes: part -> torch.dtype, fp32 where missing. A VAE is never loaded in fp16, in which it can overflow.
        Raises ModelFileError where a part is missing or isn't of this family.
        """

    @abstractmethod
    def load_vae(self, source: Path, dtype: Any) -> nn.Module:
        """Load a VAE of its own: a file, a VAE's diffusers folder, or the VAE of a whole model; else as `load`."""

    @abstractmethod
    def objective(self, model: Model) -> Objective:
        """How this model is noised and what it predicts."""

    @abstractmethod
    def encode_images(self, model: Model, pixels: Tensor) -> Tensor:
        """Pixels (B 3 H W, -1 to 1) -> scaled latents (B C h w, fp32), the mean of the posterior."""

    @abstractmethod
    def encode_text(self, model: Model, part: Part, captions: Sequence[str]) -> list[dict[str, Tensor]]:
        """One text part's encoding of each caption; differentiable."""

    @abstractmethod
    def collate(self, encoded: Sequence[Encoded], framings: Sequence[Framing]) -> Conditions:
        """Join samples' encodings, and sizes where the family has them, into one batch."""

    @abstractmethod
    def predict(self, model: Model, noisy: Tensor, times: Tensor, conditions: Conditions) -> Tensor:
        """The denoiser's output, of the shape of `noisy`. conditions: a batch's controls are among them."""

    @abstractmethod
    def preview(self, model: Model, positive: Encoded, negative: Encoded, request: PreviewRequest) -> Image:
        """Draw a picture with the model as it stands; an inpainting model draws all of it."""

    @abstractmethod
    def lora_name(self, model: Model, part: Part, module_path: str) -> str:
        """The name that kohya and the programs after it give a module: `lora_unet_...`."""

    @classmethod
    def knows_word(cls, word: str) -> bool:
        """Whether a text encoder of this family knows a word already, as far as it can be told without the model."""
        return False

    @abstractmethod
    def tiny(self, variant: str = "base") -> Model:
        """A real model of this family with few random weights, built offline."""


class Network(Protocol):
    """What is trained, attached to a model."""

    def modules(self) -> Mapping[Part, nn.Module]:
        """The trained modules, by the part that they are attached to (and registered in)."""
        ...

    def groups(self, rates: Mapping[Part, float]) -> list[dict[str, Any]]:
        """Optimizer groups: `params`, `lr`, `name` (of which no two are alike), `part`."""
        ...

    def disabled(self) -> AbstractContextManager[None]:
        """Inside, the model is as it was before `attach`."""
        ...

    def before_step(self, levels: Tensor) -> None:
        """Called before each prediction, with the noise level of each sample, B: 0 is clean, 1 is noise alone."""
        ...

    def after_step(self) -> None:
        """Called after each optimizer step."""
        ...

    def norms(self) -> dict[str, float]:
        """Norms of the trained weights, for curves: name -> norm."""
        ...

    def state(self) -> dict[str, Tensor]:
        """Everything needed to go on training, exactly."""
        ...

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `state` gave."""
        ...

    def export(self, lora_name: Callable[[Part, str], str]) -> dict[str, Tensor]:
        """The tensors of the file that other programs read."""
        ...

    def beside(self, lora_name: Callable[[Part, str], str]) -> dict[str, dict[str, Tensor]]:
        """Further files: what is put after the main file's name -> tensors."""
        ...

    def remarks(self) -> list[str]:
        """What the user should know of the files that `beside` made last."""
        ...

    def metadata(self) -> dict[str, str]:
        """kohya's `ss_network_*` entries."""
        ...

    def layers(self) -> Iterator[tuple[Part, str]]:
        """Each changed module: its part and its path."""
        ...
