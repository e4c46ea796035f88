"""Finds the model that a run starts from: where it is, what kind it is, and what of an earlier run comes with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from core.config.lora import LoraConfig
from core.config.toml_file import read_config
from core.contracts import Family, Match, Model, Part
from core.errors import ModelFileError
from core.families._detection import recognise
from core.families._loading import check_folder
from core.registry import registry
from core.training.run_folder import is_backup
from core.weights.files import legacy_hash, sha256_of
from core.weights.sources import resolve


@dataclass(frozen=True)
class BaseModel:
    """path: the file or diffusers folder. network: an earlier run's backup whose weights the network starts from.

    source: what the user gave: `path`, or a name on the hub.
    """

    path: Path
    family: Family
    match: Match
    network: Path | None = None
    source: str = ""

    @property
    def name(self) -> str:
        """What it is called where its folder is nobody's business: a file's or folder's name, or that on the hub."""
        return self.source if self.source and not Path(self.source).exists() else self.path.name

    @cached_property
    def hashes(self) -> dict[str, str]:
        """kohya's two hashes of a single file; none of a folder. The file is read whole, once in a run."""
        if self.path.is_dir():
            return {}
        return {"sd_model_hash": legacy_hash(self.path), "new_sd_model_hash": sha256_of(self.path)}

    def load_part(self, config: LoraConfig, part: Part, dtype: Any) -> Model:
        """One part, on the CPU, with the LoRAs that are part of the base added. dtype: a torch dtype."""
        from core.weights.lora_changes import bake

        loaded = self.family.load(self.path, [part], {part: dtype})
        for lora in config.base.loras:
            bake(loaded.parts[part], part, self.family.name, Path(lora.file).expanduser(), lora.strength)
        return loaded

    def empty_model(self, config: LoraConfig) -> Model:
        """The model before any part of it is loaded."""
        model = self.family.load(self.path, [], {})
        model.prediction = self.match.prediction or "epsilon"
        model.zero_terminal_snr = self.match.zero_terminal_snr
        model.clip_skip = config.base.clip_skip
        model.layer_skip = {part: settings.layer_skip for part, settings in config.parts.text().items()}
        model.max_token_length = config.base.max_token_length
        model.weighted_prompts = config.base.weighted_prompts
        return model


def find_base(config: LoraConfig) -> BaseModel:
    """The base of a config. ModelFileError if there is none, or if it isn't of the family that was set."""
    source, network = config.base.source, None
    if is_backup(Path(source)):
        network = Path(source)
        source = read_config(LoraConfig, network / "run.toml").base.source
        named = [index for index, one in enumerate(config.networks) if getattr(one, "weights", "")]
        if named:
            raise ModelFileError(
                f"The run would begin with two LoRAs: base.source is a backup, and networks.{named[0]}.weights a file.",
                do="Take one of them out.",
            )
    path = resolve(source)
    match = choose(recognise(path), config, path)
    family: Family = registry("families").get(match.family)()
    if path.is_dir():  # told now, not when the caches are filled
        check_folder(path, ["denoiser", *family.text_parts, *([] if config.base.vae else ["vae"])])
    return BaseModel(path, family, match, network, source)


def choose(matches: Sequence[Match], config: LoraConfig, path: Path) -> Match:
    """The match that the config asks for, with the config's prediction where it sets one."""
    wanted = config.base.family
    fitting = [match for match in matches if wanted in ("detect", match.family)]
    if not fitting:
        found = ", ".join(match.family for match in matches) or "no family that Ochre knows"
        raise ModelFileError(
            f"{path} is not {'a model that Ochre can train' if wanted == 'detect' else wanted}.",
            f"Its file says: {found}.",
            "Choose another base model, or set the family to detect.",
        )
    match = fitting[0]
    if config.base.prediction != "detect":
        match = replace(match, prediction=config.base.prediction)
    if config.base.zero_terminal_snr != "detect":
        match = replace(match, zero_terminal_snr=config.base.zero_terminal_snr == "yes")
    return match
