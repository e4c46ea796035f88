"""What SD 1.5 and SDXL share: CLIP text encoders, a UNet, and a VAE with four channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.contracts import Conditions, Encoded, Family, Framing, Match, Model, Part, PreviewRequest
from core.errors import ModelFileError
from core.families._unet_facts import VARIANTS
from core.weights.layouts import UNetShape, kohya_lora_name

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor, nn

    from core.objectives import Diffusion

CONFIGS = Path(__file__).with_name("configs")

# Paths of Linear and convolution layers. `transformer` is what kohya's LoRA changes; `convolution` is what its conv_dim
# adds: ResnetBlock2D, Downsample2D and Upsample2D.
UNET_GROUPS: Mapping[str, str] = {
    "attention": r"\.attn[12]\.(to_q|to_k|to_v|to_out\.0)$",
    "feed_forward": r"\.ff\.net\.(0\.proj|2)$",
    "transformer": r"(^|\.)attentions\.\d+\.",
    "convolution": r"(^|\.)(resnets|downsamplers|upsamplers)\.\d+\.",
}
TEXT_GROUPS: Mapping[str, str] = {
    "attention": r"\.self_attn\.(q_proj|k_proj|v_proj|out_proj)$",
    "feed_forward": r"\.mlp\.(fc1|fc2)$",
    "transformer": r"\.(self_attn|mlp)\.\w+$",
}


class StableDiffusion(Family):
    """A UNet that attends to CLIP's encoding of a text."""

    latent_channels = 4
    latent_scale = 8
    variants = tuple(VARIANTS)

    def __init__(self, configs: Path | None = None) -> None:
        """configs: folder of the parts' configs for single files, which have none; the shipped ones by default."""
        self.configs = configs or CONFIGS / self.name

    def load(self, source: Path, parts: Sequence[Part], dtypes: Mapping[Part, Any]) -> Model:
        import torch

        from core.families import _loading as loading

        match = self._match(source)
        model = Model(self.name, {}, {}, loading.noise_schedule(source, self.configs))
        model.prediction = match.prediction or "epsilon"
        model.zero_terminal_snr = match.zero_terminal_snr
        model.inpainting = match.variant == "inpainting"
        for part in parts:
            dtype = dtypes.get(part, torch.float32)
            dtype = _vae_dtype(dtype) if part == "vae" else dtype
            model.parts[part] = loading.load_part(source, part, self.name, self.configs, dtype)
            if part in self.text_parts:
                model.tokenizers[part] = loading.load_tokenizer(source, part)
        return model

    def load_vae(self, source: Path, dtype: Any) -> nn.Module:
        from core.families import _loading as loading

        dtype = _vae_dtype(dtype)
        if source.is_dir():
            inside = source / loading.FOLDERS["vae"]
            return loading.load_from_folder(inside if inside.is_dir() else source, "vae", dtype)
        return loading.load_vae_file(source, self.configs, dtype)

    def objective(self, model: Model) -> Diffusion:
        from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

        from core.families._sampling import betas
        from core.objectives import Diffusion

        schedule = DDPMScheduler(**betas(model), rescale_betas_zero_snr=model.zero_terminal_snr)
        return Diffusion(schedule.alphas_cumprod, model.prediction)

    def encode_images(self, model: Model, pixels: Tensor) -> Tensor:
        import torch

        vae: Any = model.parts["vae"]
        weight = next(vae.parameters())
        # Autocast would run an fp32 VAE in fp16, in which SDXL's overflows.
        with torch.no_grad(), torch.autocast(weight.device.type, enabled=False):
            posterior = vae.encode(pixels.to(weight.device, weight.dtype)).latent_dist
            return posterior.mode().float() * vae.config.scaling_factor

    def predict(self, model: Model, noisy: Tensor, times: Tensor, conditions: Conditions) -> Tensor:
        import torch

        unet: Any = model.parts["denoiser"]
        # A network in the UNet has a dtype of its own, so `unet.dtype` can't be asked.
        dtype = _inner(unet).conv_in.weight.dtype
        told = {name: tensor.to(noisy.device, dtype) for name, tensor in conditions.tensors.items()}
        # The order of runwayml's inpainting model and of diffusers' pipelines for it.
        controls = [told.pop(name) for name in ("mask", "masked_latents")] if model.inpainting else []
        return unet(
            torch.cat([noisy.to(dtype), *controls], dim=1) if controls else noisy.to(dtype),
            times,
            encoder_hidden_states=told.pop("hidden"),
            added_cond_kwargs=self._added(conditions, told),
        ).sample

    def preview(self, model: Model, positive: Encoded, negative: Encoded, request: PreviewRequest) -> Image:
        import torch

        from core.families import _sampling as sampling

        height, width = (side // self.latent_scale for side in (request.height, request.width))
        size = (height * self.latent_scale, width * self.latent_scale)
        told = [negative, positive] if request.guidance > 1 else [positive]
        conditions = self.collate(told, [Framing(size, (0, 0), size)] * len(told))
        vae: Any = model.parts["vae"]
        weight = next(vae.parameters())
        with sampling.evaluating(model.parts):
            if model.inpainting:
                conditions.tensors |= self._all_masked(model, size, len(told))
            latents = sampling.draw_latents(
                sampling.sampler(model, request.sampler),
                (self.latent_channels, height, width),
                request,
                lambda noisy, times: self.predict(model, noisy, times, conditions),
                next(model.parts["denoiser"].parameters()).device,
            )
            with torch.autocast(weight.device.type, enabled=False):
                scaled = latents.to(weight.device, weight.dtype) / vae.config.scaling_factor
                return sampling.to_picture(vae.decode(scaled).sample[0])

    def lora_name(self, model: Model, part: Part, module_path: str) -> str:
        shape = _unet_shape(model.parts[part]) if part == "denoiser" else None
        return kohya_lora_name(part, module_path, self.name, shape)

    @classmethod
    def knows_word(cls, word: str) -> bool:
        from core.weights.clip_tokenizer import knows_word

        return knows_word(word)

    def tiny(self, variant: str = "base") -> Model:
        from core.families._tiny import build_tiny

        return build_tiny(self.name, self.configs, ["denoiser", "vae", *self.text_parts], variant)

    def _added(self, conditions: Conditions, told: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """What the UNet takes besides the text."""
        return None

    def _all_masked(self, model: Model, size: tuple[int, int], count: int) -> dict[str, Tensor]:
        """Controls (a batch of `count`) for a picture of which nothing is given: to be drawn from the prompt alone."""
        import torch

        latents = self.encode_images(model, torch.zeros(1, 3, *size))
        ones = torch.ones(1, 1, *latents.shape[-2:])
        return {"mask": torch.cat([ones] * count), "masked_latents": torch.cat([latents] * count)}

    def _match(self, source: Path) -> Match:
        """This family's match for a file or folder. ModelFileError if there is none, or if it can't be trained."""
        from core.weights.diffusers_folders import read_configs
        from core.weights.header import read_header

        match = self.recognise_folder(*read_configs(source)) if source.is_dir() else self.recognise(read_header(source))
        if match is None or match.refusal:
            raise ModelFileError(
                f"{source} is no {self.label} model that Ochre can train.", match.refusal if match else ""
            )
        return match


def _inner(unet: nn.Module) -> Any:
    """The UNet itself, which DDP keeps inside."""
    return getattr(unet, "module", unet)


def _unet_shape(unet: nn.Module) -> UNetShape:
    config = _inner(unet).config
    attended = (level for level, kind in enumerate(config.up_block_types) if "CrossAttn" in kind)
    return UNetShape(len(config.up_block_types), config.layers_per_block, frozenset(attended))


def _vae_dtype(dtype: Any) -> Any:
    import torch

    return torch.float32 if dtype == torch.float16 else dtype
