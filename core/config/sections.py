"""The sections that jobs share: base, parts, training, memory, saving, sampling, logging."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from core.contracts import Part
from core.errors import Problem
from core.settings import Settings, setting

Dtype = Literal["fp32", "bf16", "fp16"]


class Base(Settings):
    """The model that training starts from."""

    source: str = setting(
        "",
        "Base model",
        "A .safetensors or .ckpt file, a diffusers folder, a hub name (owner/name), or a backup of an earlier run.",
        kind="path",
        also=("pretrained_model_name_or_path", "base_model_name"),
    )
    family: str = setting(
        "detect",
        "Family",
        "What kind of model it is. `detect` reads it from the file.",
        choices=("detect",),
        also=("model_type", "v2", "sdxl"),
    )
    prediction: Literal["detect", "epsilon", "v_prediction"] = setting(
        "detect",
        "Prediction",
        "What the model predicts. `detect` reads it from the file, and takes epsilon where the file doesn't say.",
        level="advanced",
        also=("v_parameterization",),
    )
    zero_terminal_snr: Literal["detect", "yes", "no"] = setting(
        "detect",
        "Zero terminal SNR",
        "Whether the last time is pure noise, as for most v-prediction models.",
        level="advanced",
        also=("zero_terminal_snr", "rescale_noise_scheduler_to_zero_terminal_snr"),
    )
    vae: str = setting(
        "", "Other VAE", "A VAE to use in place of the base's own: a file or a folder.", kind="path", level="advanced"
    )
    clip_skip: int = setting(
        1,
        "CLIP skip",
        "SD 1.5 only: which of the text encoder's last layers is used; 1 is the last, 2 is usual for anime models.",
        ge=1,
        le=11,
        level="advanced",
    )
    max_token_length: Literal[75, 150, 225] = setting(
        75,
        "Tokens of a caption",
        "Longer captions are cut off. 150 and 225 encode them in pieces of 75, as kohya's trainer does.",
        unit="tokens",
        level="advanced",
    )
    weighted_prompts: bool = setting(
        False,
        "Weighted captions",
        "`(red coat:1.3)` in a caption counts more, `[hat]` less, as in Forge. Off: the brackets are text.",
        level="advanced",
        also=("weighted_captions",),
    )


class PartSettings(Settings):
    """One part of the model."""

    train: bool = setting(True, "Train", "Whether this part is trained.")
    learning_rate: float = setting(
        1e-4,
        "Learning rate",
        "How far each step goes. Too high destroys the model, too low learns nothing. Prodigy wants 1.",
        ge=0,
        le=10,
        also=("unet_lr", "text_encoder_lr"),
    )


class Parts(Settings):
    """The parts of the model that can be trained."""

    denoiser: PartSettings = setting(PartSettings(), "Denoiser", "The part that draws: the UNet or transformer.")
    text_1: PartSettings = setting(
        PartSettings(train=False, learning_rate=5e-5), "Text encoder 1", "The part that reads prompts: CLIP-L."
    )
    text_2: PartSettings = setting(
        PartSettings(train=False, learning_rate=5e-5), "Text encoder 2", "SDXL's second text encoder: OpenCLIP bigG."
    )

    def trained(self) -> list[Part]:
        """The parts that are switched on."""
        return [name for name in type(self).model_fields if getattr(self, name).train]

    def rates(self) -> dict[Part, float]:
        """Learning rates of the parts that are switched on."""
        return {name: getattr(self, name).learning_rate for name in self.trained()}


class Training(Settings):
    """How long, how much at once, from which seed."""

    epochs: int = setting(
        10, "Epochs", "How often all pictures are shown.", ge=1, le=100_000, also=("max_train_epochs",)
    )
    max_steps: int = setting(
        0,
        "At most this many steps",
        "Ends the run earlier than its epochs; 0 is no limit.",
        ge=0,
        also=("max_train_steps",),
    )
    train_batch_size: int = setting(1, "Batch size", "Pictures in a step.", ge=1, le=1024, also=("batch_size",))
    gradient_accumulation_steps: int = setting(
        1,
        "Gradient accumulation",
        "Batches that are added up to one step: like a larger batch, with less memory and more time.",
        ge=1,
        le=1024,
        level="advanced",
    )
    max_grad_norm: float = setting(
        1.0,
        "Clip gradients at",
        "Larger gradients are scaled down to this norm; 0 switches it off.",
        ge=0,
        level="advanced",
    )
    seed: int = setting(42, "Seed", "The same seed and settings give the same result.", ge=0, lt=2**63)


class Noise(Settings):
    """The noise that pictures are hidden in."""

    noise_offset: float = setting(
        0.0,
        "Noise offset",
        "Adds noise that is equal over the whole picture, so that very dark and very bright pictures can be learned; "
        "0.03 to 0.1 is usual.",
        ge=0,
        le=1,
        level="advanced",
    )


class Times(Settings):
    """The noise levels that are trained."""

    first: int = setting(
        0,
        "First time",
        "The least noisy time that is trained.",
        ge=0,
        lt=1000,
        level="advanced",
        also=("min_timestep",),
    )
    end: int = setting(
        1000, "End before", "Times are drawn below this.", gt=0, le=1000, level="advanced", also=("max_timestep",)
    )

    def check(self) -> Iterator[Problem]:
        if self.first >= self.end:
            yield Problem("end", f"must be greater than the first time ({self.first})")


class Memory(Settings):
    """Memory against speed. These change the numbers only where they say so."""

    precision: Dtype = setting(
        "bf16",
        "Precision",
        "Numbers of the calculation. bf16 for GPUs since 2020 (RTX 30 and later), fp16 for older; fp32 is exact, slow.",
        also=("mixed_precision",),
    )
    gradient_checkpointing: bool = setting(
        True,
        "Gradient checkpointing",
        "Computes parts twice instead of keeping them: much less memory, about 25 % slower.",
        affects="cost",
    )
    latent_caching: bool = setting(
        True,
        "Cache pictures",
        "Encodes each version of a picture once and keeps it on disk, so that the VAE can leave memory. Off: each "
        "showing is encoded, and changed at random anew.",
        was="cache_latents",
        also=("cache_latents", "cache_latents_to_disk"),
    )
    text_caching: bool = setting(
        True,
        "Cache captions",
        "Encodes each version of a caption once, for text encoders that aren't trained, so that they can leave memory. "
        "Off: each showing is encoded, and shuffled anew.",
        was="cache_text",
        also=("cache_text_encoder_outputs",),
    )
    encode_batch_size: int = setting(
        1,
        "Encode at once",
        "Pictures that the VAE encodes together while caching.",
        ge=1,
        le=64,
        level="advanced",
        also=("vae_batch_size",),
    )
    vae_tiling: bool = setting(
        False,
        "VAE in tiles",
        "Encodes and decodes large pictures in tiles: less memory, tiny differences at the seams.",
        affects="cost",
        level="advanced",
    )
    cache_dir: str = setting(
        "",
        "Cache folder",
        "Where encoded pictures and captions are kept; empty is `cache` beside the workspaces, which all runs share.",
        kind="folder",
        was="cache_folder",
        affects="files",
        level="advanced",
    )


class Saving(Settings):
    """What is written, where, and how often."""

    workspace: str = setting(
        "",
        "Workspace",
        "The run's own folder: config, events, backups, samples. Empty: a new one is made under `workspaces/`.",
        kind="folder",
        affects="files",
        level="advanced",
    )
    name: str = setting(
        "my_lora",
        "Name",
        "The LoRA's file name.",
        pattern=r"^[^/\\:*?\"<>|\x00-\x1f]+$",
        affects="files",
        also=("output_name",),
    )
    destination: str = setting(
        "",
        "Save to",
        "A folder, or a .safetensors file. Empty: `output` in the workspace.",
        kind="path",
        affects="files",
        also=("output_dir", "output_model_destination"),
    )
    format: Literal["kohya"] = setting(
        "kohya",
        "Format",
        "Key names and metadata of the file. kohya's load in ComfyUI, Forge, A1111 and diffusers.",
        affects="files",
    )
    dtype: Dtype = setting(
        "fp16",
        "Number format",
        "fp16 and bf16 halve the file; slightly less exact.",
        affects="files",
        also=("save_precision",),
    )
    overwrite: bool = setting(
        False,
        "Replace existing files",
        "Off: a file of the same name is an error before the start.",
        affects="files",
        level="advanced",
    )
    every_n_epochs: int = setting(
        0,
        "Save every",
        "Also saves the LoRA after each so many epochs; 0: only at the end.",
        ge=0,
        unit="epochs",
        affects="files",
        also=("save_every_n_epochs",),
    )
    every_n_steps: int = setting(
        0,
        "Save every",
        "Also saves the LoRA after each so many steps.",
        ge=0,
        unit="steps",
        affects="files",
        also=("save_every_n_steps",),
    )
    backup_every_n_steps: int = setting(
        200,
        "Back up every",
        "Keeps all that is needed to go on after a crash; 0: only when the run is stopped.",
        ge=0,
        unit="steps",
        affects="files",
        also=("save_state",),
    )
    keep_backups: int = setting(
        1,
        "Backups kept",
        "Older ones are deleted once a new one is whole.",
        ge=1,
        le=1000,
        affects="files",
        level="advanced",
    )


class SamplePrompt(Settings):
    """One sample picture."""

    prompt: str = setting(
        "", "Prompt", "What to draw. {trigger} stands for the first concept's trigger word.", kind="text", affects="log"
    )
    negative: str = setting("", "Negative prompt", "What to avoid.", affects="log", level="advanced")
    width: int = setting(
        0,
        "Width",
        "0: the training resolution.",
        ge=0,
        le=8192,
        multiple_of=8,
        unit="px",
        affects="log",
        level="advanced",
    )
    height: int = setting(
        0,
        "Height",
        "0: the training resolution.",
        ge=0,
        le=8192,
        multiple_of=8,
        unit="px",
        affects="log",
        level="advanced",
    )
    seed: int = setting(
        1, "Seed", "The same seed gives the same picture from the same weights.", ge=0, lt=2**63, affects="log"
    )


class Sampling(Settings):
    """Pictures drawn during the run."""

    prompts: list[SamplePrompt] = setting([], "Prompts", "A picture is drawn for each.", affects="log")
    before_first_step: bool = setting(
        True,
        "Before the first step",
        "One grid with the untouched model, to compare with.",
        affects="log",
        also=("sample_at_first",),
    )
    every_n_epochs: int = setting(1, "Draw every", "0: not by epochs.", ge=0, unit="epochs", affects="log")
    every_n_steps: int = setting(0, "Draw every", "0: not by steps.", ge=0, unit="steps", affects="log")
    steps: int = setting(20, "Sampling steps", "Steps of the sampler.", ge=1, le=200, affects="log", level="advanced")
    guidance: float = setting(
        7.0,
        "Guidance",
        "How closely the prompt is followed.",
        ge=1,
        le=30,
        affects="log",
        level="advanced",
        also=("cfg_scale",),
    )


class Logging(Settings):
    """What is recorded besides the events."""

    tensorboard: bool = setting(
        True, "TensorBoard", "Writes curves and samples for TensorBoard into the workspace.", affects="log"
    )
