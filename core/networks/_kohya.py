"""A network's settings from the options of kohya's trainer: `network_module`, `network_dim`, `network_args` ..."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from core.errors import OchreError
from core.networks._kohya_blocks import Blocks, number, take

ALGORITHMS = {
    "lora": "locon", "locon": "locon", "loha": "loha", "lokr": "lokr", "dylora": "dylora", "glora": "glora",
    "full": "full", "diag-oft": "oft", "boft": "boft", "ia3": "ia3", "tlora": "tlora",
}  # fmt: skip
"""What LyCORIS calls an algorithm -> its plug-in."""


@dataclass
class KohyaNetwork:
    """settings: of one entry of [[networks]]. notes: what has no counterpart, or means something else here."""

    settings: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def network_from_kohya(
    arguments: Mapping[str, str],
    family: str,
    module: str = "networks.lora",
    dim: int = 4,
    alpha: float = 1.0,
    dropout: float = 0.0,
) -> KohyaNetwork:
    """The network of kohya's options. arguments: of `network_args`. OchreError for a value that can't be read.

    Where an option isn't given, kohya's default counts (sd-scripts, networks/lora.py; LyCORIS, kohya.py), not ours.
    """
    made, left = KohyaNetwork(), dict(arguments)
    kinds = {"networks.lora": _lora, "networks.lora_fa": _lora, "networks.dylora": _dylora, "lycoris.kohya": _lycoris}
    if module not in kinds:
        raise OchreError(
            f"There is no counterpart for the network module {module!r}.", f"Known are {', '.join(kinds)}."
        )
    made.settings |= {"rank": dim, "alpha": float(alpha or dim), "dropout": float(dropout)}
    kinds[module](made, left, family, dim, float(alpha or dim))
    if module == "networks.lora_fa":
        made.settings["freeze_down"] = True
    _shared(made, left)
    made.settings.setdefault("rules", [])
    made.settings["rules"] += [*_pattern_rules(left)]
    made.notes += [f"{name}: has no counterpart, and was left out" for name in sorted(left)]
    return made


def network_from_config(config: Mapping[str, Any], family: str) -> KohyaNetwork:
    """The network of a whole config of kohya's trainer (its `--config_file`). OchreError if it has none."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        flat |= value if isinstance(value, Mapping) else {name: value}
    if "network_module" not in flat:
        raise OchreError("The config says nothing of a network.", do="Give one in which network_module is set.")
    pairs = [str(pair).partition("=") for pair in flat.get("network_args") or []]
    made = network_from_kohya(
        {name.strip(): value.strip() for name, _, value in pairs},
        family,
        flat["network_module"],
        int(flat.get("network_dim") or 4),
        float(flat.get("network_alpha", 1.0) or 0),
        float(flat.get("network_dropout") or 0.0),
    )
    named = {"scale_weight_norms": "max_norm", "network_weights": "weights", "dim_from_weights": "weights_rank"}
    made.settings |= {ours: flat[name] for name, ours in named.items() if flat.get(name)}
    if flat.get("base_weights"):
        made.notes.append("base_weights: is no setting of the network; name these LoRAs in base.loras")
    return made


# -- the kinds of network


def _lora(made: KohyaNetwork, left: dict[str, str], family: str, dim: int, alpha: float) -> None:
    conv_dim, conv_alpha = take(left, "conv_dim", int, 0), take(left, "conv_alpha", float, 1.0)
    blocks = Blocks(left, family, (dim, alpha), (conv_dim, conv_alpha))
    with_conv = bool(conv_dim or blocks.has_conv)
    made.settings["name"] = "locon" if with_conv else "lora"
    if with_conv:
        made.settings |= {"conv_rank": conv_dim or dim, "conv_alpha": conv_alpha}
    made.settings["rules"] = list(blocks.rules())


def _dylora(made: KohyaNetwork, left: dict[str, str], family: str, dim: int, alpha: float) -> None:
    conv_dim, conv_alpha = take(left, "conv_dim", int, 0), take(left, "conv_alpha", float, 1.0)
    made.settings |= {"name": "dylora", "block_size": take(left, "unit", int, 1)}
    if conv_dim:
        made.settings |= {"layers": "transformer_conv", "conv_rank": conv_dim, "conv_alpha": conv_alpha}


_LAYERS: Mapping[str, Mapping[str, Any]] = {
    "full": {"layers": "all"},
    "full-lin": {"layers": "linear"},
    "attn-mlp": {"layers": "transformer"},
    "attn-only": {"layers": "attention"},
    "unet-only": {"layers": "all"},
    "unet-transformer-only": {"layers": "transformer"},
    "unet-convblock-only": {
        "layers": "patterns",
        "include": [r"^denoiser\..*(resnets|downsamplers|upsamplers)", r"^denoiser\.conv_(in|out)$"],
    },
}
_TRUTHS: Mapping[str, str] = {
    "use_tucker": "tucker", "use_cp": "tucker", "use_conv_cp": "tucker", "use_scalar": "use_scalar",
    "train_norm": "train_norms", "dora_wd": "decompose", "full_matrix": "full_matrix", "rescaled": "rescaled",
    "unbalanced_factorization": "unbalanced_factorization", "decompose_both": "decompose_both",
    "rs_lora": "rank_stabilised", "train_on_input": "train_on_input",
}  # fmt: skip


def _lycoris(made: KohyaNetwork, left: dict[str, str], family: str, dim: int, alpha: float) -> None:
    algorithm = (left.pop("algo", "") or "lora").lower()
    if algorithm not in ALGORITHMS:
        raise OchreError(f"There is no counterpart for LyCORIS' algo={algorithm}.", f"Known: {', '.join(ALGORITHMS)}.")
    made.settings["name"] = ALGORITHMS[algorithm]
    preset = left.pop("preset", "full")
    if preset in _LAYERS:
        made.settings |= _LAYERS[preset]
        if preset.startswith("unet-"):
            made.notes.append(f"preset={preset}: switch the text encoders off, in parts")
    elif (preset, algorithm) != ("ia3", "ia3"):  # whose layers are (IA)3's own by default
        made.notes.append(f"preset={preset}: is no preset that is known here; choose the layers yourself")
    if algorithm in ("full", "diag-oft", "boft", "ia3"):
        del made.settings["rank"], made.settings["alpha"]
    else:
        sizes = {"conv_rank": take(left, "conv_dim", int, dim), "conv_alpha": take(left, "conv_alpha", float, alpha)}
        made.settings |= {name: value or made.settings[name.removeprefix("conv_")] for name, value in sizes.items()}
    if algorithm in ("diag-oft", "boft"):
        made.settings["block_size"] = dim
        made.settings["constraint"] = take(left, "constraint", float, 0.0)
    made.settings |= {ours: _truth(left, name) for name, ours in _TRUTHS.items() if name in left}
    if made.settings.get("decompose"):
        made.settings["decompose_by"] = "output" if _truth(left, "wd_on_output", default=True) else "input"
    for name in ("factor", "block_size"):
        if name in left:
            made.settings[name] = take(left, name, int, 0)
    made.settings["dropout"] = take(left, "dropout", float, 0.0) or made.settings["dropout"]
    if "rank_dropout" in left:
        made.settings["rank_dropout_scale"] = _truth(left, "rank_dropout_scale")
    left.pop("bypass_mode", None)  # how LyCORIS calculates; here no update is lost either way


def _shared(made: KohyaNetwork, left: dict[str, str]) -> None:
    """What all of them take."""
    for name in ("rank_dropout", "module_dropout"):
        if name in left:
            made.settings[name] = take(left, name, float, 0.0)
    both, unet = (take(left, f"loraplus_{name}lr_ratio", float, 0.0) for name in ("", "unet_"))
    text = take(left, "loraplus_text_encoder_lr_ratio", float, 0.0) or both
    if unet or both or text:
        made.settings |= {"lora_plus_ratio": unet or both or 1.0, "lora_plus_text_ratio": text or 1.0}
    exclude, include = (
        _patterns(f"{name}_patterns", left.pop(f"{name}_patterns", "")) for name in ("exclude", "include")
    )
    if exclude:
        kept = f"(?!({'|'.join(include)})$)" if include else ""
        made.settings["exclude"] = [rf"^\w+\.{kept}({pattern})$" for pattern in exclude]
    left.pop("verbose", None)


# -- patterns and values


def _pattern_rules(left: dict[str, str]) -> Iterator[dict[str, Any]]:
    """`network_reg_dims` and `network_reg_lrs` (`regex=value,...`), of which the first that matches counts."""
    for name, ours, kind in (("network_reg_dims", "rank", int), ("network_reg_lrs", "learning_rate", float)):
        earlier: list[str] = []
        for pair in filter(None, (pair.strip() for pair in left.pop(name, "").split(","))):
            pattern, _, value = pair.rpartition("=")
            before = f"(?!({'|'.join(earlier)})$)" if earlier else ""
            given = number(name, value, kind)
            yield {"pattern": rf"^\w+\.{before}({pattern})$"} | ({ours: given} if given else {"train": False})
            earlier.append(pattern)


def _patterns(name: str, text: str) -> list[str]:
    """A list as kohya writes it in network_args: ['a', 'b'], or one text."""
    try:
        value = ast.literal_eval(text or "[]")
    except (ValueError, SyntaxError):
        raise OchreError(f"{name}: {text!r} is no list of texts in quotes, in brackets.") from None
    return [str(one) for one in value] if isinstance(value, list) else [str(value)]


def _truth(left: dict[str, str], name: str, default: bool = False) -> bool:
    value = left.pop(name, None)
    return default if value is None else value.strip().lower() in ("true", "1", "yes")
