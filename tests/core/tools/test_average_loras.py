"""The average of saved LoRAs: its weights against the paper's integrals, its changes against dense matrices."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from core.errors import OchreError
from core.tools import average_loras as tool
from core.tools.average_loras import average, decay_weights, exponent, power_weights, saved, saved_by_run
from core.weights.files import model_hash

RANK = 3


# -- weights


@pytest.mark.parametrize("gamma", [0.0, 1.0, 6.94, 16.97, 200.0])
def test_the_exponent_has_the_width_of_the_papers_formula(gamma: float) -> None:
    """Equation 3: σ² = (γ + 1) / ((γ + 2)² (γ + 3)); the paper's own examples are 0.10 and 0.05 for 6.94 and 16.97."""
    width = ((gamma + 1) / ((gamma + 2) ** 2 * (gamma + 3))) ** 0.5
    assert exponent(width) == pytest.approx(gamma, abs=1e-6)
    if gamma in (6.94, 16.97):
        assert width == pytest.approx({6.94: 0.10, 16.97: 0.05}[gamma], abs=1e-4)


def test_the_weights_are_shares_of_the_power_functions_integral() -> None:
    steps, width = [100, 250, 300, 1000], 0.12
    gamma = exponent(width)
    times = (numpy.arange(1_000_000) + 0.5) / 1000  # up to step 1000
    density = times**gamma / (times**gamma).sum()
    ends = [0, *steps]
    expected = [density[(times > a) & (times <= b)].sum() for a, b in zip(ends, steps, strict=False)]
    assert power_weights(steps, width) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("width", [0.05, 0.2, tool.WIDEST])
def test_at_equal_distances_they_are_what_the_running_average_leaves(width: float) -> None:
    """θ(t) = β θ(t - 1) + (1 - β) θ_t with β = (1 - 1/t)^(γ + 1), equation 2."""
    left = numpy.zeros(7)
    for t in range(1, 8):
        beta = (1 - 1 / t) ** (exponent(width) + 1)
        left *= beta
        left[t - 1] += 1 - beta
    assert power_weights([10 * t for t in range(1, 8)], width) == pytest.approx(left.tolist(), abs=1e-9)
    if width == tool.WIDEST:
        assert left == pytest.approx(1 / 7, abs=1e-6)


def test_a_fixed_decay_leaves_its_powers() -> None:
    average = numpy.eye(5)[0]
    for place in range(1, 5):
        average = 0.7 * average + 0.3 * numpy.eye(5)[place]
    assert decay_weights(5, 0.7) == pytest.approx(average.tolist())


@pytest.mark.parametrize("attempt", [lambda: exponent(0), lambda: exponent(0.3), lambda: decay_weights(3, 1.0)])
def test_widths_and_decays_that_there_are_not(attempt: Any) -> None:
    with pytest.raises(OchreError, match="must be"):
        attempt()


# -- changes


def lora(seed: int, rank: int = RANK) -> dict[str, Tensor]:
    """A linear layer, a convolution, one with Tucker's core, and what is changed as it is."""
    draw = torch.Generator().manual_seed(seed)

    def some(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw)

    return {
        "lora_unet_a.lora_up.weight": some(8, rank), "lora_unet_a.lora_down.weight": some(rank, 6),
        "lora_unet_a.alpha": torch.tensor(1.5),
        "lora_unet_b.lora_up.weight": some(5, rank, 1, 1), "lora_unet_b.lora_down.weight": some(rank, 4, 3, 3),
        "lora_unet_b.alpha": torch.tensor(6.0),
        "lora_unet_c.lora_up.weight": some(5, rank, 1, 1), "lora_unet_c.lora_mid.weight": some(rank, rank, 3, 3),
        "lora_unet_c.lora_down.weight": some(rank, 4, 1, 1), "lora_unet_c.alpha": torch.tensor(3.0),
        "lora_unet_d.w_norm": some(7), "lora_unet_d.b_norm": some(7),
        "lora_unet_e.diff": some(4, 4), "bundle_emb.ohx.clip_l": some(2, 5),
    }  # fmt: skip


def dense(tensors: Mapping[str, Tensor], layer: str) -> Tensor:
    """What a layer's two matrices do to its weight, fp64, as programs that load the file calculate it."""
    up, down = (tensors[f"{layer}.lora_{name}.weight"].double() for name in ("up", "down"))
    scale = float(tensors[f"{layer}.alpha"]) / up.shape[1]
    if f"{layer}.lora_mid.weight" in tensors:
        core = tensors[f"{layer}.lora_mid.weight"].double()
        return scale * torch.einsum("o p, p q h w, q i -> o i h w", up[:, :, 0, 0], core, down[:, :, 0, 0])
    if up.dim() == 4:
        return scale * torch.einsum("o r, r i h w -> o i h w", up[:, :, 0, 0], down)
    return scale * up @ down


def write(path: Path, tensors: Mapping[str, Tensor], step: int | None, **metadata: str) -> Path:
    told = {"ss_network_dim": "3", "ss_network_alpha": "1.5", "ss_output_name": "ball", **metadata}
    if step is not None:
        told["ss_steps"] = str(step)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, told)
    return path


@pytest.fixture
def run(tmp_path: Path) -> list[Path]:
    """Four LoRAs that a run saved."""
    names = ("ball-000001", "ball-step00000015", "ball-000002", "ball")
    return [
        write(tmp_path / f"{name}.safetensors", lora(seed), step)
        for seed, (name, step) in enumerate(zip(names, (10, 15, 20, 30), strict=True))
    ]


WEIGHTS = [0.1, 0.2, 0.3, 0.4]


def wanted(run: list[Path], layer: str) -> Tensor:
    return sum((w * dense(load_file(path), layer) for w, path in zip(WEIGHTS, run, strict=True)), torch.zeros(()))


def test_all_ranks_together_hold_the_average_exactly(run: list[Path], tmp_path: Path) -> None:
    made = average([saved(path) for path in run], WEIGHTS, tmp_path / "out" / "all.safetensors", rank=0)
    tensors = load_file(made.path)
    for layer in ("lora_unet_a", "lora_unet_b", "lora_unet_c"):
        torch.testing.assert_close(dense(tensors, layer), wanted(run, layer), rtol=1e-5, atol=1e-5)
        assert tensors[f"{layer}.lora_down.weight"].shape[0] == 4 * RANK
        assert made.kept[layer] == 1
    assert "lora_unet_c.lora_mid.weight" not in tensors


@pytest.mark.parametrize("rank", [None, 1, 5])
def test_a_rank_holds_the_nearest_that_it_can(rank: int | None, run: list[Path], tmp_path: Path) -> None:
    """Eckart and Young: what is left out has the norm of the smaller singular values, of the dense average."""
    made = average([saved(path) for path in run], WEIGHTS, tmp_path / "out.safetensors", rank=rank)
    tensors, size = load_file(made.path), rank or RANK
    for layer in ("lora_unet_a", "lora_unet_b", "lora_unet_c"):
        exact = wanted(run, layer)
        sizes = torch.linalg.svdvals(exact.flatten(1))
        missing = (dense(tensors, layer) - exact).norm()
        assert float(missing) == pytest.approx(float(sizes[size:].norm()), rel=1e-4, abs=1e-5)
        assert made.kept[layer] == pytest.approx(float(sizes[:size].norm() / sizes.norm()), rel=1e-6)
        assert tensors[f"{layer}.lora_up.weight"].shape[1] == min(size, len(sizes))
        assert torch.equal(tensors[f"{layer}.alpha"], load_file(run[-1])[f"{layer}.alpha"])


def test_what_is_changed_as_it_is_is_averaged_as_it_is(run: list[Path], tmp_path: Path) -> None:
    tensors = load_file(average([saved(path) for path in run], WEIGHTS, tmp_path / "out.safetensors").path)
    for name in ("lora_unet_d.w_norm", "lora_unet_d.b_norm", "lora_unet_e.diff", "bundle_emb.ohx.clip_l"):
        expected = sum(w * load_file(path)[name].double() for w, path in zip(WEIGHTS, run, strict=True))
        torch.testing.assert_close(tensors[name].double(), expected, rtol=1e-6, atol=1e-6)


def test_files_that_are_alike_average_to_themselves(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"ball-step{step:08d}.safetensors", lora(0), step) for step in (1, 2, 3)]
    made = average([saved(path) for path in paths], [0.2, 0.3, 0.5], tmp_path / "out.safetensors")
    assert made.kept == pytest.approx(dict.fromkeys(made.kept, 1.0))
    for layer in ("lora_unet_a", "lora_unet_b"):
        torch.testing.assert_close(dense(load_file(made.path), layer), dense(lora(0), layer), rtol=1e-5, atol=1e-5)


def test_factor_by_factor_as_musubi_tuner_and_that_is_another_change(run: list[Path], tmp_path: Path) -> None:
    tensors = load_file(
        average([saved(path) for path in run], WEIGHTS, tmp_path / "out.safetensors", how="factors").path
    )
    originals = [load_file(path) for path in run]
    assert tensors.keys() == originals[0].keys()
    for name, tensor in tensors.items():
        expected = sum(w * one[name].double() for w, one in zip(WEIGHTS, originals, strict=True))
        torch.testing.assert_close(tensor.double(), expected, rtol=1e-6, atol=1e-6)
    assert not torch.allclose(dense(tensors, "lora_unet_a"), wanted(run, "lora_unet_a"), rtol=0.1, atol=0.1)


def test_pefts_names_and_halves_of_a_file(tmp_path: Path) -> None:
    """lora_A and lora_B without an alpha, in fp16: the result is so, too."""
    paths, layer = [], "unet.down_blocks.0.attn.to_q"
    for seed in (1, 2):
        draw = torch.Generator().manual_seed(seed)
        pair = {"lora_B.weight": torch.randn(8, 2, generator=draw), "lora_A.weight": torch.randn(2, 6, generator=draw)}
        tensors = {f"{layer}.{name}": tensor.half() for name, tensor in pair.items()}
        paths.append(write(tmp_path / f"p-{seed}.safetensors", tensors, seed))
    made = load_file(average([saved(path) for path in paths], [0.4, 0.6], tmp_path / "out.safetensors", rank=0).path)
    expected = torch.zeros(8, 6, dtype=torch.float64)
    for weight, path in zip((0.4, 0.6), paths, strict=True):
        one = load_file(path)
        expected += weight * one[f"{layer}.lora_B.weight"].double() @ one[f"{layer}.lora_A.weight"].double()
    assert made.keys() == load_file(paths[0]).keys() and all(one.dtype == torch.float16 for one in made.values())
    product = made[f"{layer}.lora_B.weight"].double() @ made[f"{layer}.lora_A.weight"].double()
    torch.testing.assert_close(product, expected, rtol=2e-2, atol=2e-2)


def test_the_metadata_tell_of_it_and_the_hashes_fit(run: list[Path], tmp_path: Path) -> None:
    for path in run:
        spec = {"modelspec.title": "Ball", "modelspec.hash_sha256": "0x1", "modelspec.architecture": "sd/lora"}
        write(path, load_file(path), saved(path).step, **spec)
    made = average([saved(path) for path in run], WEIGHTS, tmp_path / "ball-average.safetensors", rank=5)
    with safe_open(made.path, "pt") as file:
        told = file.metadata()
    assert json.loads(told["ss_averaged_from"]) == dict(zip((path.name for path in run), WEIGHTS, strict=True))
    assert told["modelspec.merged_from"].startswith("ball-000001.safetensors, ")
    assert told["modelspec.title"] == "Ball (average)" and told["ss_output_name"] == "ball-average"
    assert told["ss_steps"] == "30" and told["ss_network_dim"] == "5"
    assert (
        told["sshs_model_hash"] == model_hash(made.path)
        and told["modelspec.hash_sha256"] == f"0x{model_hash(made.path)}"
    )


def test_one_layer_at_a_time_is_read(run: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    average([saved(path) for path in run], WEIGHTS, tmp_path / "out.safetensors", progress=lambda *at: told.append(at))
    assert told == [(place, 6) for place in range(6)]


# -- which files


def test_the_files_of_a_run_are_found_in_the_order_of_their_steps(run: list[Path], tmp_path: Path) -> None:
    for other in ("ball-no-ema", "ball-000001-no-ema", "ball-000001_plain", "ball_plain", "ball-best", "balloon"):
        write(tmp_path / f"{other}.safetensors", lora(9), 5 if "1" in other else 7)
    names = [one.path.stem for one in saved_by_run(tmp_path, "ball")]
    assert names == ["ball-000001", "ball-step00000015", "ball-000002", "ball"]
    assert [one.path.stem for one in saved_by_run(tmp_path, "ball_plain")] == ["ball-000001_plain", "ball_plain"]
    assert [one.path.stem for one in saved_by_run(tmp_path, "ball-no-ema")] == ["ball-000001-no-ema", "ball-no-ema"]


def test_a_folder_without_them_says_what_there_is(run: list[Path], tmp_path: Path) -> None:
    with pytest.raises(OchreError, match=r"no LoRA called cube.*There are ball\."):
        saved_by_run(tmp_path, "cube")
    (tmp_path / "empty").mkdir()
    with pytest.raises(OchreError, match=r"no \.safetensors files at all"):
        saved_by_run(tmp_path / "empty", "ball")
    with pytest.raises(OchreError, match="no folder"):
        saved_by_run(tmp_path / "nowhere", "ball")


def test_files_that_tell_no_step_or_the_same(run: list[Path], tmp_path: Path) -> None:
    write(tmp_path / "ball-000009.safetensors", lora(9), 20)
    with pytest.raises(OchreError, match="both of step 20"):
        saved_by_run(tmp_path, "ball")
    write(tmp_path / "ball-000009.safetensors", lora(9), None)
    with pytest.raises(OchreError, match=r"ball-000009\.safetensors doesn't tell after which step"):
        saved_by_run(tmp_path, "ball")


def _without(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key: tensor for key, tensor in tensors.items() if not key.startswith(name)}


@pytest.mark.parametrize(
    "tensors, metadata, said",
    [
        (_without(lora(1), "lora_unet_a"), {}, "lora_unet_a.alpha is a number in the one and missing in the other"),
        (lora(1, rank=4), {}, "lora_unet_a.lora_down.weight is 3x6 in the one and 4x6 in the other"),
        (lora(1), {"ss_base_model_version": "sdxl_base_v1-0"}, "ss_base_model_version is sd_v1 in the one and sdxl"),
        (lora(1), {"ss_new_sd_model_hash": "cd"}, "ss_new_sd_model_hash is ab in the one and cd"),
    ],
)
def test_files_that_do_not_belong_together(
    tensors: dict[str, Tensor], metadata: dict[str, str], said: str, tmp_path: Path
) -> None:
    own = {"ss_base_model_version": "sd_v1", "ss_new_sd_model_hash": "ab"}
    one = write(tmp_path / "a.safetensors", lora(0), 1, **own)
    other = write(tmp_path / "b.safetensors", tensors, 2, **(own | metadata))
    with pytest.raises(OchreError, match="don't belong together") as caught:
        average([saved(one), saved(other)], [0.5, 0.5], tmp_path / "out.safetensors")
    assert said in str(caught.value)
    assert not (tmp_path / "out.safetensors").exists()
    with pytest.raises(OchreError, match="needs two"):
        average([saved(one)], [1.0], tmp_path / "out.safetensors")


@pytest.mark.parametrize(
    "names",
    [("hada_w1_a", "hada_w1_b"), ("lora_up.weight", "lora_down.weight", "dora_scale"), ("a1.weight", "b1.weight")],
)
def test_kinds_without_such_an_average_are_told_what_to_do(names: tuple[str, ...], tmp_path: Path) -> None:
    files = []
    for step in (1, 2):
        tensors = {f"lora_unet_a.{name}": torch.full((4, 4), float(step)) for name in names}
        files.append(saved(write(tmp_path / f"{step}.safetensors", tensors, step)))
    with pytest.raises(OchreError, match="is no plain LoRA") as caught:
        average(files, [0.5, 0.5], tmp_path / "out.safetensors")
    assert "save_plain" in caught.value.do and "--how factors" in caught.value.do
    made = load_file(average(files, [0.5, 0.5], tmp_path / "out.safetensors", how="factors").path)
    assert all(bool((tensor == 1.5).all()) for tensor in made.values())


def test_nothing_is_overwritten_in_silence(run: list[Path], tmp_path: Path) -> None:
    before = run[0].read_bytes()
    with pytest.raises(OchreError, match="exists already"):
        average([saved(path) for path in run], WEIGHTS, run[0])
    assert run[0].read_bytes() == before
