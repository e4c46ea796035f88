"""Stable Diffusion 1.5, and every model of its architecture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from core.contracts import Conditions, Encoded, Framing, Header, Match, Model, Part
from core.families._blocks import clip_blocks, unet_blocks
from core.families._stable_diffusion import TEXT_GROUPS, UNET_GROUPS, StableDiffusion
from core.families._unet_facts import said_by_file, said_by_scheduler, unet_config, unet_in

if TYPE_CHECKING:
    from torch import Tensor


class Sd15(StableDiffusion):
    """One CLIP-L text encoder; a UNet whose attentions project by 1x1 convolutions, unlike SD 2's."""

    name: ClassVar[str] = "sd15"
    label: ClassVar[str] = "Stable Diffusion 1.5"
    licence: ClassVar[str] = "CreativeML Open RAIL-M"
    repositories: ClassVar[tuple[str, ...]] = ("stable-diffusion-v1-5/stable-diffusion-v1-5",)
    native_resolution: ClassVar[int] = 512
    bucket_step: ClassVar[int] = 8
    text_parts: ClassVar[tuple[Part, ...]] = ("text_1",)
    layer_groups: ClassVar[Mapping[Part, Mapping[str, str]]] = {"denoiser": UNET_GROUPS, "text_1": TEXT_GROUPS}
    blocks: ClassVar[Mapping[Part, Mapping[str, str]]] = {"denoiser": unet_blocks(4), "text_1": clip_blocks(12)}
    trains: ClassVar[tuple[Part, ...]] = ("denoiser", "text_1")
    base_model_version: ClassVar[str] = "sd_v1"
    modelspec_architecture: ClassVar[str] = "stable-diffusion-v1"
    modelspec_implementation: ClassVar[str] = "diffusers"

    def recognise(self, header: Header) -> Match | None:
        unet, said = unet_in(header), said_by_file(header)
        if unet is None or unet.labelled or unet.matrices:
            return None
        text = any(name.startswith("cond_stage_model.transformer.") for name in header.tensors)
        refusal = unet.refusal or said.strange
        if not text:
            refusal = refusal or "It is only the UNet, without a text encoder and a VAE."
        why = (f"its UNet attends to a text of width {unet.context}, through convolutions",)
        why += ("it has one CLIP text encoder",) if text else ()
        return Match(self.name, unet.variant, said.prediction, why + said.why, said.zero_terminal_snr, refusal)

    def recognise_folder(self, index: Mapping[str, Any], configs: Mapping[str, Mapping[str, Any]]) -> Match | None:
        unet = unet_config(configs.get("unet", {}))
        said = said_by_scheduler(configs.get("scheduler", {}))
        if unet is None or unet.labelled or unet.matrices or index.get("text_encoder", [None])[-1] != "CLIPTextModel":
            return None
        why = (
            f"its UNet attends to a text of width {unet.context}, through convolutions",
            "it has one CLIP text encoder",
        )
        refusal = unet.refusal or said.strange
        return Match(self.name, unet.variant, said.prediction, why + said.why, said.zero_terminal_snr, refusal)

    def encode_text(self, model: Model, part: Part, captions: Sequence[str]) -> list[dict[str, Tensor]]:
        """hidden (L, d): after the layer that clip skip asks for, and the last layer norm; L is 77, 152 or 227."""
        from core.families._clip_text import clip_text

        return [{"hidden": one} for one in clip_text(model, part, captions, model.clip_skip, normed=True).hidden]

    def collate(self, encoded: Sequence[Encoded], framings: Sequence[Framing]) -> Conditions:
        """hidden: B L d."""
        import torch

        return Conditions({"hidden": torch.stack([one["text_1"]["hidden"] for one in encoded])})
