"""The keys of kohya's dataset configs, and the settings that each becomes: one table for the import and its page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["truth", "whole", "number", "text", "size", "table"]
Level = Literal["general", "datasets", "subsets"]

_OF_DATASET: Sequence[Level] = ("datasets", "general")
_OF_SUBSET: Sequence[Level] = ("subsets", "datasets", "general")
_SUBSETS_OWN: Sequence[Level] = ("subsets",)

KINDS: Mapping[Kind, tuple[str, Callable[[Any], bool]]] = {
    "truth": ("must be true or false", lambda value: isinstance(value, bool)),
    "whole": ("must be a whole number", lambda value: _is_whole(value)),
    "number": ("must be a number", lambda value: _is_whole(value) or isinstance(value, float)),
    "text": ("must be text in quotes", lambda value: isinstance(value, str)),
    "size": ("must be a whole number above 0, or a list of two, width and height", lambda value: _is_size(value)),
    "table": ("must be a table", lambda value: isinstance(value, Mapping)),
}
"""What a value may be, in words, and whether it is that."""


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_size(value: Any) -> bool:
    sides: list[Any] = value if isinstance(value, list) and len(value) == 2 else [value]
    return all(_is_whole(side) and side > 0 for side in sides)


@dataclass(frozen=True)
class Key:
    """A key of kohya's dataset config (sd-scripts, library/config_util.py).

    levels: the tables where kohya's trainer takes it, the nearest to the pictures first. default: kohya's.
    ours: the settings that it becomes; none: it has no counterpart. to: their values for one of the key; else it is
    the same value. note: what differs, or what to do without a counterpart; said wherever the value isn't the default.
    only: the kind of subset that has it. choose: of several datasets' values, the one a run takes. example: a value
    whose settings the page shows.
    """

    name: str
    kind: Kind
    default: Any
    levels: Sequence[Level]
    ours: Sequence[str] = ()
    to: Callable[[Any], dict[str, Any]] | None = None
    note: str = ""
    only: Literal["", "captions beside pictures", "metadata file"] = ""
    choose: Literal["", "smallest", "largest", "first"] = ""
    example: Any = None

    def settings(self, value: Any) -> dict[str, Any]:
        """Setting path -> value. Paths of a concept are relative to it."""
        return self.to(value) if self.to else {self.ours[0]: value}


_ONE_PICTURE = (
    "Where pictures are cached, each has as many versions as image_variations says, by default one; kohya's trainer "
    "draws anew each time. Raise it, or switch memory.latent_caching off."
)
_ONE_CAPTION = (
    "Where captions are cached, each has as many versions as text_variations says, by default one; kohya's trainer "
    "draws anew each time. Raise it, or switch memory.text_caching off."
)
_MASKED = {"image.unmasked_weight": 0.0, "image.unmasked_probability": 0.0}


def _number(path: str) -> Callable[[Any], dict[str, Any]]:
    return lambda value: {path: float(value)}


def _lines(value: bool) -> dict[str, Any]:
    return {"text.wildcards": value, "text.caption_lines": "random" if value else "first"}


def _tag_dropout(value: float) -> dict[str, Any]:
    return {"text.tag_dropout": "random", "text.tag_dropout_probability": float(value)} if value else {}


def _colours(value: bool) -> dict[str, Any]:
    if not value:
        return {}
    hue = {"image.hue": "random", "image.hue_strength": 0.044}  # 8 of OpenCV's 180 hues
    return hue | {"image.brightness": "random", "image.brightness_strength": 0.05}


_COLOURS = (
    "The nearest, but not the same. kohya's trainer changes a third of the showings: half of these in hue by up to 16 "
    "degrees, half by a power of 0.95 to 1.05 of their values. Here each version is changed, in hue by up to 16 "
    f"degrees and in brightness by up to 5 %. {_ONE_PICTURE}"
)
_REGULARISATION = (
    "kohya's trainer repeats regularisation pictures until they are as many as the others (or leaves some out), and "
    "weights them by prior_loss_weight of its command line. Here their repeats count, and their loss weight is 1; set "
    "samples_per_epoch for a number of showings."
)
_MASK_FILES = (
    "Taken for masks, as with kohya's masked_loss. They are looked for beside the pictures: copy each there, and name "
    "it cat-masklabel.png for cat.png. A picture without one counts as a whole."
)

DATASET_KEYS: Sequence[Key] = (
    Key(
        "resolution", "size", None, _OF_DATASET, ("buckets.resolution", "concepts.resolution"),
        note="The first dataset's becomes the run's; a concept of a dataset with another has that one for its own.",
    ),
    Key("batch_size", "whole", 1, _OF_DATASET, ("training.train_batch_size",), choose="smallest"),
    Key("enable_bucket", "truth", False, _OF_DATASET, ("buckets.aspect_ratio_bucketing",)),
    Key("min_bucket_reso", "whole", 256, _OF_DATASET, ("buckets.minimum",), choose="smallest"),
    Key("max_bucket_reso", "whole", 1024, _OF_DATASET, ("buckets.maximum",), choose="largest"),
    Key("bucket_reso_steps", "whole", 64, _OF_DATASET, ("buckets.step",), choose="smallest"),
    Key(
        "bucket_no_upscale", "truth", False, _OF_DATASET, ("buckets.no_upscale",), choose="first",
        note="kohya's trainer then ignores max_bucket_reso; here no side is longer than buckets.maximum.",
    ),
    Key(
        "network_multiplier", "number", 1.0, _OF_DATASET,
        note="The network is always trained at its full strength.",
    ),
    Key(
        "validation_split", "number", 0.0, _OF_DATASET, ("validation.share",), choose="first",
        note="Of each standard concept so much is held out, and other pictures than by kohya's trainer.",
    ),
    Key(
        "validation_seed", "whole", None, _OF_DATASET,
        note="The pictures that are held out are drawn in another way, by validation.seed.",
    ),
)  # fmt: skip
"""What counts for a whole dataset. The table stands in the order in which things are said."""

SUBSET_KEYS: Sequence[Key] = (
    Key("image_dir", "text", None, _SUBSETS_OWN, ("folder",)),
    Key(
        "metadata_file", "text", None, _SUBSETS_OWN, ("text.prompt_source", "text.metadata_path"),
        lambda path: {"text.prompt_source": "metadata_file", "text.metadata_path": path} if path else {},
        "Pictures of the folder that have no entry in it are shown without a caption; kohya's trainer leaves them out.",
        only="metadata file",
    ),
    Key("num_repeats", "whole", 1, _OF_SUBSET, ("repeats", "enabled"),
        lambda value: {"repeats": float(value)} if value >= 1 else {"enabled": False}),
    Key(
        "class_tokens", "text", "", _OF_SUBSET, ("trigger_word",), only="captions beside pictures",
        note="kohya's trainer uses it only for pictures without a caption; here it comes in front of each caption that "
        "lacks it.",
    ),
    Key(
        "is_reg", "truth", False, _SUBSETS_OWN, ("kind",), lambda value: {"kind": "regularisation"} if value else {},
        _REGULARISATION, only="captions beside pictures", example=True,
    ),
    Key(
        "custom_attributes", "table", None, _OF_SUBSET, ("kind",),
        lambda value: {"kind": "prior_prediction"} if value and value.get("diff_output_preservation") is True else {},
        example={"diff_output_preservation": True},
    ),
    Key("caption_extension", "text", ".caption", _OF_SUBSET, ("text.caption_extension",),
        only="captions beside pictures"),
    Key("enable_wildcard", "truth", False, _OF_SUBSET, ("text.wildcards", "text.caption_lines"), _lines, _ONE_CAPTION,
        example=True),
    Key("shuffle_caption", "truth", False, _OF_SUBSET, ("text.shuffle_tags",), note=_ONE_CAPTION),
    Key("keep_tokens", "whole", 0, _OF_SUBSET, ("text.keep_tags",)),
    Key("keep_tokens_separator", "text", "", _OF_SUBSET, ("text.keep_tags_separator",)),
    Key("secondary_separator", "text", "", _OF_SUBSET, ("text.secondary_separator",)),
    Key(
        "caption_separator", "text", ",", _OF_SUBSET, ("text.separator",),
        note="kohya's trainer joins shuffled tags with a comma all the same; here they are joined with it.",
    ),
    Key("caption_prefix", "text", "", _OF_SUBSET, ("text.prefix",)),
    Key("caption_suffix", "text", "", _OF_SUBSET, ("text.suffix",)),
    Key("caption_dropout_rate", "number", 0.0, _OF_SUBSET, ("text.caption_dropout",), _number("text.caption_dropout")),
    Key(
        "caption_dropout_every_n_epochs", "whole", 0, _OF_SUBSET,
        note="No epoch goes without captions. The nearest is caption_dropout, with 1 divided by this number.",
    ),
    Key(
        "caption_tag_dropout_rate", "number", 0.0, _OF_SUBSET, ("text.tag_dropout", "text.tag_dropout_probability"),
        _tag_dropout, _ONE_CAPTION, example=0.1,
    ),
    Key("token_warmup_min", "whole", 1, _OF_SUBSET, note="All tags are there from the first step."),
    Key("token_warmup_step", "number", 0, _OF_SUBSET, note="All tags are there from the first step."),
    Key(
        "flip_aug", "truth", False, _OF_SUBSET, ("image.flip",),
        lambda value: {"image.flip": "random"} if value else {}, _ONE_PICTURE, example=True,
    ),
    Key(
        "color_aug", "truth", False, _OF_SUBSET,
        ("image.hue", "image.hue_strength", "image.brightness", "image.brightness_strength"), _colours, _COLOURS,
        example=True,
    ),
    Key("random_crop", "truth", False, _OF_SUBSET, ("image.crop_jitter",), note=_ONE_PICTURE),
    Key(
        "face_crop_aug_range", "table", None, _OF_SUBSET,
        note="Faces aren't looked for. The nearest are random_crop's setting, image.crop_jitter, and detail crops.",
    ),
    Key(
        "resize_interpolation", "text", None, _OF_SUBSET,
        note="Pictures are always resized by Lanczos' method, as kohya's trainer does where it enlarges.",
    ),
    Key(
        "alpha_mask", "truth", False, _SUBSETS_OWN, ("image.mask", *_MASKED),
        lambda value: {"image.mask": "alpha"} | _MASKED if value else {},
        "What is transparent is laid on white (image.alpha_colour); kohya's trainer shows the colours stored under it.",
        example=True,
    ),
    Key(
        "conditioning_data_dir", "text", None, _SUBSETS_OWN, ("image.mask", *_MASKED),
        lambda value: {"image.mask": "file"} | _MASKED if value else {}, _MASK_FILES, example="masks",
    ),
    Key(
        "cache_info", "truth", False, _OF_SUBSET, only="captions beside pictures",
        note="Folders are read anew at each start, so that the sizes and captions are never out of date.",
    ),
)  # fmt: skip
"""What counts for one subset, which becomes a concept. A later one comes before an earlier one of the same setting."""

KEYS: Mapping[str, Key] = {key.name: key for key in (*DATASET_KEYS, *SUBSET_KEYS)}

COMMAND_LINE: Mapping[str, str] = {
    "train_batch_size": "training.train_batch_size",
    "dataset_repeats": "concepts.repeats",
    "prior_loss_weight": "concepts.loss_weight of the regularisation concepts",
    "masked_loss": "concepts.image.mask",
    "max_token_length": "base.max_token_length",
    "weighted_captions": "base.weighted_prompts",
    "clip_skip": "base.clip_skip",
    "cache_latents": "memory.latent_caching",
    "cache_latents_to_disk": "memory.latent_caching",
    "vae_batch_size": "memory.encode_batch_size",
    "cache_text_encoder_outputs": "memory.text_caching",
    "cache_text_encoder_outputs_to_disk": "memory.text_caching",
    "seed": "training.seed",
    "max_train_epochs": "training.epochs",
    "max_train_steps": "training.max_steps",
    "lr_scheduler": "schedule.name",
    "lr_scheduler_type": "schedule.name custom, with its class_path",
    "lr_scheduler_args": "schedule.name custom, with its arguments",
    "lr_warmup_steps": "schedule.warmup_steps (below 1: schedule.warmup_fraction)",
    "lr_decay_steps": "schedule.name warmup_stable_decay, with its decay_steps (below 1: decay_fraction)",
    "lr_scheduler_num_cycles": "schedule.name cosine_with_restarts, with its cycles",
    "lr_scheduler_power": "schedule.name polynomial, with its power",
    "lr_scheduler_timescale": "schedule.name inverse_sqrt, with its timescale",
    "lr_scheduler_min_lr_ratio": "schedule.minimum",
    "noise_offset": "noise.noise_offset",
    "noise_offset_random_strength": "noise.noise_offset_random_strength",
    "adaptive_noise_scale": "noise.adaptive_noise_scale",
    "multires_noise_iterations": "noise.multires_noise_iterations",
    "multires_noise_discount": "noise.multires_noise_discount",
    "ip_noise_gamma": "noise.ip_noise_gamma",
    "ip_noise_gamma_random_strength": "noise.ip_noise_gamma_random_strength",
    "zero_terminal_snr": "base.zero_terminal_snr",
    "v_parameterization": "base.prediction",
    "min_timestep": "times.first",
    "max_timestep": "times.end",
    "timestep_sampling": "times.name (sigmoid, shift, flux_shift: logit_normal; uniform, sigma: uniform)",
    "sigmoid_scale": "times.name logit_normal, with its std",
    "discrete_flow_shift": "times.shift (flux_shift: times.dynamic_shift)",
    "training_shift": "times.shift",
    "weighting_scheme": "times.name (logit_normal; mode: heavy_tail) or weightings (sigma_sqrt; cosmap: cos_map)",
    "logit_mean": "times.name logit_normal, with its mean",
    "logit_std": "times.name logit_normal, with its std",
    "mode_scale": "times.name heavy_tail, with its scale",
    "loss_type": "losses.name",
    "huber_schedule": "losses.name huber or smooth_l1, with its huber_schedule",
    "huber_c": "losses.name huber or smooth_l1, with its huber_c",
    "huber_scale": "losses.name huber or smooth_l1, with its huber_scale",
    "min_snr_gamma": "weightings min_snr, with its gamma",
    "debiased_estimation_loss": "weightings debiased",
    "scale_v_pred_loss_like_noise_pred": "weightings scale_v_prediction",
    "v_pred_like_loss": "weightings v_prediction_like, with its strength",
    "optimizer_type": "optimizer.name",
    "optimizer_args": "optimizer",
    "output_name": "saving.name",
    "output_dir": "saving.destination",
    "save_precision": "saving.dtype",
    "save_every_n_epochs": "saving.every (as in `2 epochs`)",
    "save_every_n_steps": "saving.every (as in `500 steps`)",
    "save_n_epoch_ratio": "saving.every (the run's epochs divided by it)",
    "save_last_n_epochs": "saving.keep_last",
    "save_last_n_steps": "saving.keep_last (a number of files, not of steps)",
    "save_state": "saving.backup_every",
    "save_state_on_train_end": "saving.backup_every (there is one at the end in any case)",
    "save_last_n_epochs_state": "saving.keep_backups",
    "save_last_n_steps_state": "saving.keep_backups (a number of backups, not of steps)",
    "sample_at_first": "sampling.before_first_step",
    "sample_every_n_epochs": "sampling.every (as in `1 epoch`)",
    "sample_every_n_steps": "sampling.every (as in `500 steps`)",
    "sample_prompts": "sampling.prompts_file",
    "sample_sampler": "sampling.sampler",
    "training_comment": "metadata.comment",
    "no_metadata": "metadata.minimal",
    "metadata_title": "metadata.title",
    "metadata_author": "metadata.author",
    "metadata_description": "metadata.description",
    "metadata_license": "metadata.license",
    "metadata_tags": "metadata.tags",
    "metadata_usage_hint": "metadata.usage_hint",
    "metadata_trigger_phrase": "metadata.trigger_phrase",
    "metadata_thumbnail": "metadata.cover",
    "validate_every_n_epochs": "validation.every (as in `1 epoch`)",
    "validate_every_n_steps": "validation.every (as in `500 steps`)",
    "max_validation_steps": "validation.share (all that is held out is measured)",
    "log_with": "logging.tensorboard and logging.wandb",
    "logging_dir": "logging.tensorboard (it lies in the workspace)",
    "log_tracker_name": "logging.wandb_project",
    "wandb_run_name": "logging.wandb_run_name",
    "wandb_api_key": "logging.wandb (the key comes from WANDB_API_KEY, or from `wandb login`)",
    "train_data_dir": "concepts.folder",
    "reg_data_dir": "concepts.folder of a regularisation concept",
    "in_json": "concepts.text.metadata_path",
    "caption_extention": "concepts.text.caption_extension",
    "dataset_class": "",
    "debug_dataset": "",
    "skip_cache_check": "",
    "max_data_loader_n_workers": "",
    "persistent_data_loader_workers": "",
}
"""Options of kohya's command line, which some programs and versions take here too -> Ochre's setting, if there is."""


@dataclass(frozen=True)
class Remark:
    """What is to be said of a key because of its value, or of the others beside it.

    when: in which case, in words. applies: whether it is that, from the values that count for a subset. taken: whether
    the key's value counts all the same.
    """

    key: str
    when: str
    text: str
    applies: Callable[[Mapping[str, Any]], bool]
    taken: bool = True


def _changes_tags(values: Mapping[str, Any]) -> bool:
    return values["shuffle_caption"] or values["caption_tag_dropout_rate"] > 0 or values["token_warmup_step"] > 0


def _signs(values: Mapping[str, Any]) -> tuple[str, ...]:
    signs = (values["caption_separator"].strip(), values["keep_tokens_separator"].strip())
    return tuple(sign for sign in signs if sign)


def _is_loose(name: str) -> Callable[[Mapping[str, Any]], bool]:
    """Whether a prefix or suffix has no separator between itself and the caption."""

    def check(values: Mapping[str, Any]) -> bool:
        text, is_prefix = values[name].strip(), name == "caption_prefix"
        meets = text.endswith(_signs(values)) if is_prefix else text.startswith(_signs(values))
        return bool(text) and not meets

    return check


def _in_lines(name: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda values: values["enable_wildcard"] and bool(values[name].strip())


_JOINED = "The separator comes between it and the caption, where kohya's trainer puts only a space."

REMARKS: Sequence[Remark] = (
    Remark(
        "num_repeats",
        "Less than 1",
        "kohya's trainer leaves such a subset out; the concept isn't enabled.",
        lambda values: values["num_repeats"] < 1,
    ),
    Remark(
        "is_reg",
        "With diff_output_preservation",
        "The concept's kind is prior_prediction, by its custom_attributes.",
        lambda values: (
            values.get("is_reg", False) and (values["custom_attributes"] or {}).get("diff_output_preservation") is True
        ),
        taken=False,
    ),
    Remark(
        "keep_tokens",
        "With class_tokens",
        "kohya's trainer counts the trigger word, where it stands in a caption, as one of the tags kept; here it is "
        "always kept, and not counted. If your captions begin with it, set one less.",
        lambda values: values["keep_tokens"] > 0 and bool(values.get("class_tokens")),
    ),
    Remark(
        "keep_tokens_separator",
        "Tags neither shuffled nor dropped",
        "kohya's trainer then leaves it in the captions; here it is always taken out.",
        lambda values: bool(values["keep_tokens_separator"]) and not _changes_tags(values),
    ),
    Remark("caption_prefix", "No separator at its end", _JOINED, _is_loose("caption_prefix")),
    Remark("caption_suffix", "No separator at its beginning", _JOINED, _is_loose("caption_suffix")),
    Remark(
        "caption_prefix",
        "With enable_wildcard",
        "Every line of a caption gets it; with kohya's trainer only the first one does.",
        _in_lines("caption_prefix"),
    ),
    Remark(
        "caption_suffix",
        "With enable_wildcard",
        "Every line of a caption gets it; with kohya's trainer only the last one does.",
        _in_lines("caption_suffix"),
    ),
)


def remarks(values: Mapping[str, Any]) -> list[Remark]:
    """What is to be said of a subset's values, by the names of the keys."""
    return [remark for remark in REMARKS if remark.applies(values)]
