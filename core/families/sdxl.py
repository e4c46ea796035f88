"""SDXL, and every model of its architecture: Illustrious, NoobAI, Pony."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from core.contracts import Conditions, Encoded, Framing, Header, Match, Model, Part
from core.families._blocks import clip_blocks, unet_blocks
from core.families._stable_diffusion import TEXT_GROUPS, UNET_GROUPS, StableDiffusion
from core.families._unet_facts import UNetFacts, said_by_file, said_by_scheduler, unet_config, unet_in

if TYPE_CHECKING:
    from torch import Tensor

_REFINER = "It is SDXL's refiner, which Ochre can't train. Train the base model, and leave the refiner out."


class Sdxl(StableDiffusion):
    """CLIP-L and OpenCLIP bigG; a UNet of three levels that is told sizes and the pooled text too."""

    name: ClassVar[str] = "sdxl"
    label: ClassVar[str] = "SDXL"
    licence: ClassVar[str] = "CreativeML Open RAIL++-M"
    repositories: ClassVar[tuple[str, ...]] = ("stabilityai/stable-diffusion-xl-base-1.0",)
    native_resolution: ClassVar[int] = 1024
    bucket_step: ClassVar[int] = 8
    text_parts: ClassVar[tuple[Part, ...]] = ("text_1", "text_2")
    layer_groups: ClassVar[Mapping[Part, Mapping[str, str]]] = {
        "denoiser": UNET_GROUPS,
        "text_1": TEXT_GROUPS,
        "text_2": TEXT_GROUPS,
    }
    blocks: ClassVar[Mapping[Part, Mapping[str, str]]] = {
        "denoiser": unet_blocks(3),
        "text_1": clip_blocks(12),
        "text_2": clip_blocks(32),
    }
    base_model_version: ClassVar[str] = "sdxl_base_v1-0"
    modelspec_architecture: ClassVar[str] = "stable-diffusion-xl-v1-base"
    modelspec_implementation: ClassVar[str] = "https://github.com/Stability-AI/generative-models"

    def recognise(self, header: Header) -> Match | None:
        unet, said = unet_in(header), said_by_file(header)
        if unet is None or not unet.labelled or not unet.matrices:
            return None
        names = header.tensors
        second = any(name.startswith("conditioner.embedders.1.model.") for name in names)
        only = any(name.startswith("conditioner.embedders.0.model.") for name in names)
        text = second or only or any(name.startswith("cond_stage_model.") for name in names)
        if only or (not text and unet.levels == 4 and unet.context == 1280):
            return Match(
                self.name, "refiner", said.prediction, ("its text encoder is OpenCLIP alone",), refusal=_REFINER
            )
        if not second and (text or unet.levels != 3):
            return None
        refusal = unet.refusal or said.strange
        if not text:
            refusal = refusal or "It is only the UNet, without text encoders and a VAE."
        why = (_why(unet), "it has two text encoders") if second else (_why(unet),)
        return Match(self.name, unet.variant, said.prediction, why + said.why, said.zero_terminal_snr, refusal)

    def recognise_folder(self, index: Mapping[str, Any], configs: Mapping[str, Mapping[str, Any]]) -> Match | None:
        unet = unet_config(configs.get("unet", {}))
        said = said_by_scheduler(configs.get("scheduler", {}))
        second = index.get("text_encoder_2", [None])[-1] == "CLIPTextModelWithProjection"
        if unet is None or not unet.labelled or not second:
            return None
        if index.get("text_encoder", [None])[-1] != "CLIPTextModel":
            return Match(
                self.name, "refiner", said.prediction, ("its text encoder is OpenCLIP alone",), refusal=_REFINER
            )
        why = (_why(unet), "it has two text encoders")
        refusal = unet.refusal or said.strange
        return Match(self.name, unet.variant, said.prediction, why + said.why, said.zero_terminal_snr, refusal)

    def encode_text(self, model: Model, part: Part, captions: Sequence[str]) -> list[dict[str, Tensor]]:
        """hidden (L, d): after the last layer but one, without a norm; L is 77, 152 or 227.

        Of text_2 also pooled (d), at the first end token.
        """
        from core.families._clip_text import clip_text

        hidden, pooled = clip_text(model, part, captions, layer=2)
        if pooled is None:
            return [{"hidden": one} for one in hidden]
        return [{"hidden": one, "pooled": whole} for one, whole in zip(hidden, pooled, strict=True)]

    def collate(self, encoded: Sequence[Encoded], framings: Sequence[Framing]) -> Conditions:
        """hidden: B L (d1 + d2); pooled: B d2; time_ids: B 6 (height and width of the picture, top, left, target)."""
        import torch

        hidden = [torch.cat([one[part]["hidden"] for part in self.text_parts], dim=-1) for one in encoded]
        pooled = torch.stack([one["text_2"]["pooled"] for one in encoded])
        sizes = [[*framing.original, *framing.crop, *framing.target] for framing in framings]
        time_ids = torch.tensor(sizes, dtype=torch.float32, device=pooled.device)
        return Conditions({"hidden": torch.stack(hidden), "pooled": pooled, "time_ids": time_ids})

    def _added(self, conditions: Conditions, told: Mapping[str, Tensor]) -> dict[str, Tensor]:
        # Sizes stay fp32: bf16 has no 1000.
        return {"text_embeds": told["pooled"], "time_ids": conditions.tensors["time_ids"].to(told["pooled"].device)}


def _why(unet: UNetFacts) -> str:
    return f"its UNet has {unet.levels} levels, attends to a text of width {unet.context}, and is told sizes"
