"""Every family: its tiny model is recognised, loaded, encoded, predicted with and drawn with; importing it is cheap."""

import subprocess
import sys

import pytest
import torch

from core.contracts import Framing, PreviewRequest
from core.families._detection import recognise
from core.families._saving import save_folder, save_single_file
from core.registry import registry

FAMILIES = registry("families").all()
MOST_WEIGHTS = 5_000_000


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    return FAMILIES[request.param]()


@pytest.fixture(scope="module", params=sorted({variant for family in FAMILIES.values() for variant in family.variants}))
def variant(request, family):
    if request.param not in family.variants:
        pytest.skip(f"{family.label} has no {request.param} models")
    return request.param


@pytest.fixture(scope="module")
def model(family, variant):
    return family.tiny(variant)


@pytest.fixture(scope="module")
def encoded(family, model):
    with torch.no_grad():
        return {
            caption: {part: family.encode_text(model, part, [caption])[0] for part in family.text_parts}
            for caption in ("a cat", "")
        }


def framing(side=64):
    return Framing((side, side), (0, 0), (side, side))


def conditions_of(family, model, encoded, height=8, width=8):
    """What the denoiser is told of samples, and shown where the model inpaints."""
    conditions = family.collate(encoded, [framing()] * len(encoded))
    if model.inpainting:
        generator = torch.Generator().manual_seed(1)
        latents = torch.randn(len(encoded), family.latent_channels, height, width, generator=generator)
        conditions.tensors |= {"mask": (latents[:, :1] > 0).float(), "masked_latents": latents}
    return conditions


def test_the_tiny_model_is_small_whole_and_always_the_same(family, variant, model):
    assert set(model.parts) == {"denoiser", "vae", *family.text_parts}
    assert set(model.tokenizers) == set(family.text_parts)
    again = family.tiny(variant)
    assert model.inpainting == again.inpainting == (variant == "inpainting")
    for part, module in model.parts.items():
        assert sum(weight.numel() for weight in module.parameters()) > 0
        assert all(map(torch.equal, module.state_dict().values(), again.parts[part].state_dict().values()))
    assert sum(weight.numel() for module in model.parts.values() for weight in module.parameters()) <= MOST_WEIGHTS


def test_facts(family):
    assert family.label and family.licence and family.repositories and family.base_model_version
    assert family.native_resolution % family.bucket_step == 0 and family.bucket_step % family.latent_scale == 0
    assert set(family.layer_groups) == {"denoiser", *family.text_parts}
    assert all({"attention", "transformer"} <= set(groups) for groups in family.layer_groups.values())


@pytest.mark.parametrize("prediction, zero", [("epsilon", False), ("v_prediction", True)])
def test_its_files_are_its_own_and_nobody_elses(family, variant, tmp_path, prediction, zero):
    model = family.tiny(variant)
    model.prediction, model.zero_terminal_snr = prediction, zero
    for path in (save_folder(model, tmp_path / "m"), save_single_file(model, tmp_path / "m.safetensors")):
        matches = recognise(path)
        assert [match.family for match in matches] == [family.name]
        assert matches[0].why and matches[0].variant == variant
        assert (matches[0].prediction or "epsilon", matches[0].zero_terminal_snr) == (prediction, zero)
        loaded = family.load(path, [], {})
        assert (loaded.prediction, loaded.inpainting) == (prediction, variant == "inpainting")


def test_prediction_keeps_the_shape_and_gradients_flow(family, model, encoded):
    conditions = conditions_of(family, model, [encoded["a cat"], encoded[""]], 8, 16)
    assert all(tensor.shape[0] == 2 for tensor in conditions.tensors.values())
    noisy = torch.randn(2, family.latent_channels, 8, 16, generator=torch.Generator().manual_seed(0))
    noisy.requires_grad_(True)
    output = family.predict(model, noisy, torch.tensor([3, 800]), conditions)
    assert output.shape == noisy.shape and output.isfinite().all()
    output.square().sum().backward()
    assert noisy.grad is not None and noisy.grad.abs().max() > 0


def test_the_text_matters_and_trains(family, model):
    """The prediction's gradient reaches every text encoder."""
    noisy = torch.randn(1, family.latent_channels, 8, 8, generator=torch.Generator().manual_seed(0))
    parts = {part: model.parts[part] for part in family.text_parts}
    weights = {
        part: next(p for n, p in m.named_parameters() if n.endswith("q_proj.weight")) for part, m in parts.items()
    }
    for weight in weights.values():
        weight.requires_grad_(True)
    try:
        one = {part: family.encode_text(model, part, ["a cat"])[0] for part in family.text_parts}
        conditions = conditions_of(family, model, [one])
        family.predict(model, noisy, torch.tensor([500]), conditions).square().sum().backward()
        for part, weight in weights.items():
            assert weight.grad is not None and weight.grad.abs().max() > 0, part
    finally:
        for weight in weights.values():
            weight.requires_grad_(False).grad = None


def test_images_become_scaled_latents(family, model):
    latents = family.encode_images(model, torch.zeros(2, 3, 64, 128))
    scale = family.latent_scale
    assert latents.shape == (2, family.latent_channels, 64 // scale, 128 // scale)
    assert latents.dtype == torch.float32 and not latents.requires_grad


def test_a_preview_has_the_size_and_only_the_seed_decides(family, model, encoded):
    pictures = []
    for seed in (1, 1, 2):
        torch.rand(1)  # the process's generator must not matter
        request = PreviewRequest(width=128, height=64, steps=2, guidance=4.0, seed=seed)
        pictures.append(family.preview(model, encoded["a cat"], encoded[""], request))
    assert all(picture.size == (128, 64) and picture.mode == "RGB" for picture in pictures)
    assert pictures[0].tobytes() == pictures[1].tobytes() != pictures[2].tobytes()


def test_the_objective_is_of_the_model(family, model):
    objective = family.objective(model)
    assert objective.prediction == model.prediction
    assert objective.kind == family.objective_kind
    times = objective.times_at(torch.tensor([0.0, 0.3, 0.7, 1.0]))
    assert times.shape == (4,) and objective.snr(times).isfinite().all()


def test_lora_names_are_one_for_each_layer(family, model):
    for part in family.layer_groups:
        layers = [path for path, module in model.parts[part].named_modules() if isinstance(module, torch.nn.Linear)]
        assert len({family.lora_name(model, part, path) for path in layers}) == len(layers)


@pytest.mark.parametrize("module", [*(f"core.families.{name}" for name in FAMILIES), "core.manager.model_detector"])
def test_importing_needs_no_torch(module):
    code = (
        f"import sys, {module}; sys.exit(any(name in sys.modules for name in ('torch', 'diffusers', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
