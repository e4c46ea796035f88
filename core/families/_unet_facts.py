"""What a weights file's header, or a diffusers folder's configs, tell of a UNet and of what stands around it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.contracts import Header, Prediction

VARIANTS: Mapping[str, int] = {"base": 4, "inpainting": 9}
"""Variants of a model that can be trained, and the channels of their UNet's input."""


@dataclass(frozen=True)
class UNetFacts:
    """A UNet's structure, whatever its width.

    channels: of its input. levels: resolutions. context: width of the text that it attends to.
    labelled: it takes sizes or a pooled text too, as SDXL. matrices: its attentions project by matrices, as since SD 2.
    """

    channels: int
    levels: int
    context: int
    labelled: bool
    matrices: bool

    @property
    def refusal(self) -> str:
        """Why a UNet with other inputs can't be trained yet."""
        if self.variant in VARIANTS:
            return ""
        return f"It is an editing model ({self.channels} input channels instead of 4), which Ochre can't train yet."

    @property
    def variant(self) -> str:
        """base, inpainting (of the 9, four are the masked picture's and one is the mask), or editing."""
        return {channels: variant for variant, channels in VARIANTS.items()}.get(self.channels, "editing")


@dataclass(frozen=True)
class Said:
    """What a source says of the prediction, with its reasons; `strange`: it says something that Ochre can't train."""

    prediction: Prediction | None = None
    zero_terminal_snr: bool = False
    why: tuple[str, ...] = ()
    strange: str = ""


def unet_in(header: Header) -> UNetFacts | None:
    """The UNet in a file, under original or diffusers' names, with or without what stands around it."""
    tensors = header.tensors
    for prefix in ("model.diffusion_model.", ""):
        if f"{prefix}input_blocks.0.0.weight" in tensors and f"{prefix}out.2.weight" in tensors:
            names = {name.removeprefix(prefix): name for name in tensors if name.startswith(prefix)}
            # Each level but the last has a downsampler.
            levels = 1 + sum(bool(re.fullmatch(r"input_blocks\.\d+\.0\.op\.weight", name)) for name in names)
            return _facts(header, names, "input_blocks.0.0.weight", levels, "label_emb.0.0.weight")
    for prefix in ("unet.", ""):
        if f"{prefix}conv_in.weight" in tensors and f"{prefix}up_blocks.0.resnets.0.conv1.weight" in tensors:
            names = {name.removeprefix(prefix): name for name in tensors if name.startswith(prefix)}
            levels = len({name.split(".")[1] for name in names if name.startswith("down_blocks.")})
            return _facts(header, names, "conv_in.weight", levels, "add_embedding.linear_1.weight")
    return None


def _facts(header: Header, names: Mapping[str, str], first: str, levels: int, label: str) -> UNetFacts | None:
    """names: as in the UNet -> as in the file."""
    shapes = {name: header.tensors[full].shape for name, full in names.items()}
    projections = [shape for name, shape in shapes.items() if name.endswith(".proj_in.weight")]
    contexts = [shape for name, shape in shapes.items() if name.endswith(".attn2.to_k.weight")]
    if not projections or not contexts or len(contexts[0]) != 2 or len(shapes[first]) != 4:
        return None
    return UNetFacts(shapes[first][1], levels, contexts[0][1], label in shapes, len(projections[0]) == 2)


def unet_config(config: Mapping[str, Any]) -> UNetFacts | None:
    """The UNet that a diffusers config describes; None for other denoisers, and where text is translated first."""
    if config.get("_class_name") != "UNet2DConditionModel" or config.get("encoder_hid_dim_type"):
        return None
    context = config.get("cross_attention_dim")
    return UNetFacts(
        channels=config.get("in_channels", 4),
        levels=len(config.get("block_out_channels", ())),
        context=context if isinstance(context, int) else 0,
        labelled=config.get("addition_embed_type") == "text_time",
        matrices=bool(config.get("use_linear_projection")),
    )


def said_by_file(header: Header) -> Said:
    """Marker tensors, as in NoobAI's files and as ComfyUI reads them; then the modelspec metadata."""
    tensors, metadata = header.tensors, header.metadata
    if any(name.startswith("edm_") for name in tensors):
        return Said(strange="It was trained with EDM's noise levels, which Ochre can't train yet.")
    written = metadata.get("modelspec.prediction_type", "")
    if "v_pred" in tensors or "ztsnr" in tensors:
        zero, why = "ztsnr" in tensors, ["it has the marker v_pred"] if "v_pred" in tensors else []
        why += ["it has the marker ztsnr: zero terminal SNR"] if zero else []
        return Said("v_prediction" if "v_pred" in tensors else None, zero, tuple(why))
    prediction = {"epsilon": "epsilon", "v": "v_prediction", "v_prediction": "v_prediction"}.get(written)
    return Said(prediction, why=(f"its metadata say prediction_type {written}",) if prediction else ())  # type: ignore[arg-type]


def said_by_scheduler(config: Mapping[str, Any]) -> Said:
    """What a folder's scheduler config says."""
    name, written = config.get("_class_name", ""), config.get("prediction_type")
    if name.startswith("EDM") or config.get("timestep_type") == "continuous":
        return Said(strange="Its scheduler has EDM's noise levels, which Ochre can't train yet.")
    if written not in (None, "epsilon", "v_prediction"):
        return Said(strange=f"Its scheduler says prediction_type {written}, which Ochre can't train.")
    zero = bool(config.get("rescale_betas_zero_snr"))
    why = (f"its scheduler says prediction_type {written}",) if written else ()
    return Said(written, zero, why + (("its scheduler has zero terminal SNR",) if zero else ()))
