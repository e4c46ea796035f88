"""The names that kohya's trainer, and the programs after it, give to a model's modules in a LoRA file."""

from __future__ import annotations

from collections.abc import Collection

from core.contracts import Part
from core.weights.layouts.clip import clip_name
from core.weights.layouts.layout import layout_of
from core.weights.layouts.renaming import renamed
from core.weights.layouts.unet import UNetShape, unet_names

# LyCORIS' own prefix, where it is used without kohya's trainer.
_LYCORIS = "lycoris_"


def kohya_lora_name(part: Part, module_path: str, family: str, unet: UNetShape | None = None) -> str:
    """A module's name in a LoRA file, without the suffix: `lora_unet_...`, `lora_te_text_model_...`.

    unet: the UNet's shape (`UNetShape.of_diffusers(names)`), where it isn't that of the real model.
    """
    layout = layout_of(family)[part]
    path = clip_name(module_path) if part.startswith("text_") else module_path
    if layout.lora_unet:
        path = renamed(path, unet_names(unet or layout.lora_unet))
    return layout.lora_prefixes[0] + path.replace(".", "_")


def kohya_lora_modules(part: Part, module_paths: Collection[str], family: str) -> dict[str, str]:
    """LoRA name -> module path, in every spelling that is met, to read LoRAs that were made elsewhere.

    module_paths: all of the part's modules, because the original names depend on which blocks have attention.
    """
    found: dict[str, str] = {}
    original = unet_names(UNetShape.of_diffusers(module_paths)) if part == "denoiser" else {}
    for path in module_paths:
        spellings = {path, clip_name(path)} if part.startswith("text_") else {path, renamed(path, original)}
        for prefix in (*layout_of(family)[part].lora_prefixes, _LYCORIS):
            for spelling in spellings:
                name = prefix + spelling.replace(".", "_")
                assert found.setdefault(name, path) == path, f"{name} is two modules"
    return found
