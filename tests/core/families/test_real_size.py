"""The real sizes, without their weights: what the shipped configs build goes into a single file's names and back."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from core.contracts import Header, Part, TensorInfo
from core.families._loading import FOLDERS, assemble, build_part
from core.families._stable_diffusion import CONFIGS
from core.registry import registry
from core.weights.layouts import join_single_file, read_part
from core.weights.layouts.clip import canonical_clip_names

# Weights of each part, in millions, as the published models have them.
MILLIONS: Mapping[str, Mapping[Part, float]] = {
    "sd15": {"denoiser": 859.5, "vae": 83.7, "text_1": 123.1},
    "sdxl": {"denoiser": 2567.5, "vae": 83.7, "text_1": 123.1, "text_2": 694.7},
}


class WithoutWeights:
    """A reader of a file of which only names and shapes are there."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = tensors
        infos = {name: TensorInfo(tuple(tensor.shape), "F16") for name, tensor in tensors.items()}
        self.header = Header(Path("model.safetensors"), infos)

    def keys(self) -> Iterable[str]:
        return self._tensors.keys()

    def info(self, key: str) -> TensorInfo:
        return self.header.tensors[key]

    def read(self, key: str) -> Tensor:
        return self._tensors[key]


@pytest.mark.parametrize("family", MILLIONS)
def test_the_shipped_configs_build_what_is_published(family: str) -> None:
    states: dict[Part, Mapping[str, Tensor]] = {}
    for part, millions in MILLIONS[family].items():
        module = build_part(part, CONFIGS / family / FOLDERS[part])
        assert sum(parameter.numel() for parameter in module.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)
        state = module.state_dict()
        states[part] = canonical_clip_names(state) if part.startswith("text_") else state
    reader = WithoutWeights(join_single_file(states, family))
    (match,) = filter(None, (cls().recognise(reader.header) for cls in registry("families").all().values()))
    assert match.family == family and not match.refusal
    for part, state in states.items():
        read = read_part(reader, part, family)
        loaded = assemble(part, CONFIGS / family / FOLDERS[part], read, torch.bfloat16, reader.header.path)
        assert len(loaded.state_dict()) == len(state)
        assert {tensor.dtype for tensor in loaded.state_dict().values()} == {torch.bfloat16}
