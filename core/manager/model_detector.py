"""ModelDetector: from what the user wrote as base model to its family, its variant, and why."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core.config.lora import LoraConfig
from core.config.toml_file import read_config
from core.contracts import Family, Prediction
from core.families._detection import recognise
from core.registry import registry
from core.training.run_folder import is_backup
from core.weights.sources import resolve


@dataclass(frozen=True)
class Detected:
    """A base model.

    prediction: None where its file doesn't say; epsilon is then assumed. why: sentences without a full stop.
    size: bytes of the file, or of the folder's weights. path: where it is on this machine.
    """

    family: str
    label: str
    variant: str
    prediction: Prediction | None
    zero_terminal_snr: bool
    why: tuple[str, ...]
    size: int
    path: Path


class ModelDetector:
    """Tells what a model is by its header or configs alone: no weight is read, and none is downloaded."""

    def detect(self, source: str) -> Detected:
        """What a file, a diffusers folder, a hub name, or the base of a backup is.

        Raises ModelFileError, with what it seems to be, if Ochre can't train it.
        """
        if is_backup(Path(source)):
            source = read_config(LoraConfig, Path(source) / "run.toml").base.source
        path = resolve(source, weights=False)
        matches = recognise(path)
        assert len(matches) == 1, f"{path} is of several families: {matches}"
        match = matches[0]
        family: type[Family] = registry("families").get(match.family)
        why = match.why if match.prediction else (*match.why, "nothing in it says the prediction: epsilon is assumed")
        return Detected(
            match.family, family.label, match.variant, match.prediction, match.zero_terminal_snr, why, _size(path), path
        )


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [item for item in path.rglob("*") if item.suffix in (".safetensors", ".bin")]
    return sum(file.stat().st_size for file in files)
