"""First weights of a LoRA, held against peft's, and PiSSA's file against peft's conversion and diffusers."""

import copy
import math
from typing import Any

import pytest
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn

from core.contracts import Model, PartLayers
from core.errors import OchreError
from core.families._sampling import sampler
from core.networks._modules.first_weights import begin_orthogonal
from core.networks._modules.low_rank import LowRankChange
from core.networks._modules.pissa import PissaChange
from core.networks.locon import Locon
from core.networks.lora import Lora
from core.registry import registry
from core.settings.checks import validate

INPUTS, OUTPUTS, RANK, ALPHA = 12, 10, 4, 6.0


def linear() -> nn.Linear:
    return nn.Linear(INPUTS, OUTPUTS).requires_grad_(False)


def convolution() -> nn.Conv2d:
    return nn.Conv2d(6, 10, 3, stride=2, padding=1).requires_grad_(False)


def input_of(layer: nn.Module) -> Tensor:
    return torch.randn(5, INPUTS) if isinstance(layer, nn.Linear) else torch.randn(2, 6, 8, 8)


class Around(nn.Module):
    """A model around a layer."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


def pefts(layer: nn.Module, initial: str) -> Any:
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, init_lora_weights=initial, target_modules=["layer"])  # type: ignore[arg-type]
    return get_peft_model(Around(copy.deepcopy(layer)), config)  # type: ignore[arg-type]


def pissa(layer: nn.Module, iterations: int = 0, **options: Any) -> Any:
    return PissaChange("layer", layer, iterations, lora_dim=RANK, alpha=ALPHA, **options)


def shake(module: Any, size: float = 0.1) -> None:
    """Train it a little: both halves move."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for half in (module.lora_up.weight, module.lora_down.weight):
            half.add_(torch.randn(half.shape, generator=generator) * size)


# -- orthogonal


def test_orthogonal_is_pefts_draw_by_draw() -> None:
    change, theirs = LowRankChange("layer", linear(), lora_dim=RANK, alpha=ALPHA), pefts(linear(), "orthogonal")
    torch.manual_seed(7)
    begin_orthogonal(change)
    torch.manual_seed(7)
    theirs.base_model.model.layer.orthogonal_init("default")
    assert torch.equal(change.lora_down.weight, theirs.base_model.model.layer.lora_A["default"].weight)
    assert torch.equal(change.lora_up.weight, theirs.base_model.model.layer.lora_B["default"].weight)


@pytest.mark.parametrize("make", [linear, convolution])
def test_orthogonal_changes_nothing_and_both_halves_learn(make: Any) -> None:
    layer = make()
    x = input_of(layer)
    before = layer(x)
    (attached, part) = attach(layer, initial="orthogonal")
    torch.testing.assert_close(part(x), before, rtol=0, atol=1e-6)
    part(x).square().sum().backward()
    for parameter in attached.modules()["denoiser"].parameters():
        assert parameter.detach().norm() > 0.1
        assert parameter.grad.norm() > 1e-3  # type: ignore[union-attr]


def attach(layer: nn.Module, **settings: Any) -> tuple[Any, Any]:
    part: Any = Around(layer)
    network = Locon(rank=RANK, alpha=ALPHA, conv_rank=RANK, conv_alpha=ALPHA, layers="all", **settings)
    return network.attach(Model("sd15", {"denoiser": part}, {}, {}), {"denoiser": PartLayers({})}), part


# -- PiSSA


@pytest.mark.parametrize("make", [linear, convolution])
def test_pissa_begins_with_the_strongest_components(make: Any) -> None:
    """alpha / rank B0 A0 is the best approximation of that rank (Eckart and Young), in float64."""
    layer = make()
    u, sizes, v = torch.linalg.svd(layer.weight.double().flatten(1), full_matrices=False)
    best = (u[:, :RANK] * sizes[:RANK]) @ v[:RANK]
    for iterations, close in ((0, 1e-5), (100, 1e-4)):
        change = pissa(layer, iterations)
        up, down = change.lora_up.weight.flatten(1), change.lora_down.weight.flatten(1)
        torch.testing.assert_close((ALPHA / RANK * up @ down).detach().double(), best, rtol=close, atol=close)
        torch.testing.assert_close(up.norm(dim=0), down.norm(dim=1))  # each half has the root of a size


@pytest.mark.parametrize("initial", ["pissa", "pissa_niter_5"])
def test_pissas_first_weights_are_pefts(initial: str) -> None:
    layer = linear()
    theirs = pefts(layer, initial).base_model.model.layer
    torch.manual_seed(7)
    LowRankChange("layer", layer, lora_dim=RANK, alpha=ALPHA)  # ours draws other first weights before
    theirs.get_base_layer().weight.data.copy_(layer.weight)
    theirs.pissa_init("default", initial)
    torch.manual_seed(7)
    change = pissa(layer, 5 if initial != "pissa" else 0)
    assert torch.equal(change.lora_down.weight, theirs.lora_A["default"].weight)
    assert torch.equal(change.lora_up.weight, theirs.lora_B["default"].weight)


@pytest.mark.parametrize("make", [linear, convolution])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_new_pissa_changes_nothing_and_leaves_the_base(dtype: torch.dtype, make: Any) -> None:
    layer = make().to(dtype)
    weight, x = layer.weight.clone(), input_of(layer).to(dtype)
    before = layer(x)
    attached, part = attach(layer, initial="pissa", pissa_iterations=0)
    assert torch.equal(part(x), before)
    for module in attached.modules()["denoiser"].values():
        shake(module)
    assert not torch.equal(part(x), before)
    assert torch.equal(layer.weight, weight)
    with attached.disabled():
        assert torch.equal(part(x), before)


@pytest.mark.parametrize("make", [linear, convolution])
def test_a_layer_gives_w_plus_the_difference(make: Any) -> None:
    layer = make()
    x = input_of(layer)
    attached, part = attach(layer, initial="pissa")
    (module,) = attached.modules()["denoiser"].values()
    first = [half.weight.detach().double().flatten(1) for half in (module.lora_up, module.lora_down)]
    shake(module)
    now = [half.weight.detach().double().flatten(1) for half in (module.lora_up, module.lora_down)]
    weight = layer.weight.double() + ALPHA / RANK * (now[0] @ now[1] - first[0] @ first[1]).reshape(layer.weight.shape)
    if isinstance(layer, nn.Linear):
        expected = nn.functional.linear(x.double(), weight, layer.bias.double())
    else:
        expected = nn.functional.conv2d(x.double(), weight, layer.bias.double(), layer.stride, layer.padding)
    torch.testing.assert_close(part(x).double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close((layer.weight + module.difference()).double(), weight, rtol=1e-5, atol=1e-6)


def test_it_trains_as_pefts_does() -> None:
    """Ten steps of AdamW beside peft's residual: the same weights in both halves."""
    layer = linear()
    theirs = pefts(layer, "pissa")
    attached, part = attach(layer, initial="pissa", pissa_iterations=0)
    (module,) = attached.modules()["denoiser"].values()
    x, target = torch.randn(16, INPUTS), torch.randn(16, OUTPUTS)
    for model, parameters in (
        (theirs, [p for p in theirs.parameters() if p.requires_grad]),
        (part, module.parameters()),
    ):
        optimizer = torch.optim.AdamW(parameters, lr=0.02)
        for _ in range(10):
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x), target).backward()
            optimizer.step()
    lora = theirs.base_model.model.layer
    torch.testing.assert_close(module.lora_down.weight, lora.lora_A["default"].weight, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(module.lora_up.weight, lora.lora_B["default"].weight, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(part(x), theirs(x), rtol=1e-4, atol=1e-5)


def test_no_small_change_is_lost_in_bf16() -> None:
    """Each half changes by a tenth of what bf16 rounds; by B A - B0 A0 in bf16 it would be lost."""
    layer, x = linear().bfloat16(), torch.randn(64, INPUTS).bfloat16()
    attached, _ = attach(layer, initial="pissa")
    (module,) = attached.modules()["denoiser"].values()
    shake(module, 2e-4)
    expected = x.double() @ module.difference().detach().double().T
    seen = module.change(x, layer(x)).double()
    assert (seen - expected).norm() < 0.02 * expected.norm()
    with torch.autocast("cpu", torch.bfloat16):
        seen = module.change(x.float(), layer(x).float()).double()
    assert (seen - expected).norm() < 0.02 * expected.norm()


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_a_saved_pissa_goes_on_from_where_it_was(dtype: str) -> None:
    """The second one draws other first weights, and takes those of the first."""
    layer = linear()
    x = input_of(layer)
    torch.manual_seed(1)
    first, part = attach(copy.deepcopy(layer), initial="pissa", pissa_iterations=1, weight_dtype=dtype)
    assert torch.equal(part(x), layer(x))
    shake(*first.modules()["denoiser"].values())
    torch.manual_seed(2)
    second, other = attach(copy.deepcopy(layer), initial="pissa", pissa_iterations=1, weight_dtype=dtype)
    assert not torch.equal(part(x), other(x))
    second.load_state({name: tensor.clone() for name, tensor in first.state().items()})
    assert torch.equal(part(x), other(x))


@pytest.mark.parametrize("make", [linear, convolution])
def test_rank_dropout_drops_both_halves_of_a_rank(make: Any) -> None:
    layer = make()
    x = input_of(layer)
    attached, part = attach(layer, initial="pissa", rank_dropout=1 - 1e-9)  # so that all are dropped
    (module,) = attached.modules()["denoiser"].values()
    shake(module)
    part.train()
    torch.testing.assert_close(
        part(x), layer.org_forward(x) if hasattr(layer, "org_forward") else module.org_forward(x)
    )
    part.eval()
    assert not torch.equal(part(x), module.org_forward(x))


@pytest.mark.parametrize("make", [linear, convolution])
def test_doras_sizes_can_be_trained_beside_it(make: Any) -> None:
    """m (W + dW) / |W + dW| by rows, in float64."""
    layer = make()
    x = input_of(layer)
    attached, part = attach(layer, initial="pissa", decompose=True, decompose_by="output")
    torch.testing.assert_close(part(x), layer.forward(x), rtol=0, atol=0)
    (module,) = attached.modules()["denoiser"].values()
    shake(module)
    with torch.no_grad():
        module.dora_scale.mul_(1.1)
    weight = layer.weight.double() + module.plain_difference().detach().double()
    norms = weight.flatten(1).norm(dim=1)
    sizes = 1.1 * layer.weight.double().flatten(1).norm(dim=1)
    weight = weight * (sizes / norms).reshape(-1, *[1] * (weight.dim() - 1))
    if isinstance(layer, nn.Linear):
        expected = nn.functional.linear(x.double(), weight, layer.bias.double())
    else:
        expected = nn.functional.conv2d(x.double(), weight, layer.bias.double(), layer.stride, layer.padding)
    torch.testing.assert_close(part(x).double(), expected, rtol=1e-4, atol=1e-5)


def test_the_file_does_what_pefts_converted_one_does(tmp_path: Any) -> None:
    """peft's save_pretrained(path_initial_model_for_weight_conversion=...) of the same training, on the same base."""
    layer = linear()
    theirs = pefts(layer, "pissa")
    # What peft would write before any training, with its marker that the weights are no difference yet.
    theirs.peft_config["default"].init_lora_weights = True
    theirs.save_pretrained(tmp_path / "first")
    theirs.peft_config["default"].init_lora_weights = "pissa"
    lora = theirs.base_model.model.layer
    attached, part = attach(copy.deepcopy(layer), initial="pissa", pissa_iterations=0)
    (module,) = attached.modules()["denoiser"].values()
    shake(module)
    with torch.no_grad():
        lora.lora_A["default"].weight.copy_(module.lora_down.weight)
        lora.lora_B["default"].weight.copy_(module.lora_up.weight)
    theirs.save_pretrained(tmp_path / "second", path_initial_model_for_weight_conversion=str(tmp_path / "first"))
    loaded: Any = PeftModel.from_pretrained(Around(copy.deepcopy(layer)), tmp_path / "second")  # type: ignore[arg-type]
    assert loaded.peft_config["default"].r == 2 * RANK

    file = attached.export(lambda part, path: path)
    assert file["layer.lora_down.weight"].shape == (2 * RANK, INPUTS)
    scale = float(file["layer.alpha"]) / len(file["layer.lora_down.weight"])
    ours = scale * file["layer.lora_up.weight"] @ file["layer.lora_down.weight"]
    x = input_of(layer)
    torch.testing.assert_close(nn.functional.linear(x, layer.weight + ours, layer.bias), part(x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(loaded(x), part(x), rtol=1e-5, atol=1e-5)


def test_the_file_keeps_small_changes_in_fp16() -> None:
    """As [B, -B0] and [A, A0], which peft writes, fp16 would round a change of this size away."""
    attached, _ = attach(linear(), initial="pissa")
    (module,) = attached.modules()["denoiser"].values()
    shake(module, 1e-4)
    file = {name: tensor.half().double() for name, tensor in attached.export(lambda part, path: path).items()}
    ours = file["layer.alpha"] / (2 * RANK) * file["layer.lora_up.weight"] @ file["layer.lora_down.weight"]
    expected = module.difference().detach().double()
    assert (ours - expected).norm() < 0.01 * expected.norm()


@pytest.mark.parametrize("network", [Lora, Locon])
def test_diffusers_does_what_training_did(network: Any) -> None:
    family = registry("families").get("sd15")()
    model = family.tiny()
    unet: Any = model.parts["denoiser"]
    parts: Any = copy.deepcopy(model.parts)
    tokenizer = model.tokenizers["text_1"]
    settings: dict[str, Any] = {"rank": 2, "alpha": 3.0, "initial": "pissa"}
    attached = network(**settings).attach(model, {"denoiser": PartLayers(family.layer_groups["denoiser"])})
    for module in attached.modules()["denoiser"].values():
        shake(module, 0.05)
    file = attached.export(lambda part, path: family.lora_name(model, part, path))
    without: dict[str, Any] = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    pipeline = StableDiffusionPipeline(
        vae=parts["vae"],
        text_encoder=parts["text_1"],
        tokenizer=tokenizer,
        unet=parts["denoiser"],
        scheduler=sampler(model),
        **without,
    )
    told = {"encoder_hidden_states": torch.randn(2, 77, 16), "timestep": torch.tensor([10, 500])}
    x = torch.randn(2, 4, 8, 8)
    before = pipeline.unet(x, **told).sample
    pipeline.load_lora_weights(file)
    with torch.no_grad():
        ours, theirs = unet(x, **told).sample, pipeline.unet(x, **told).sample
    torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-4)
    assert (ours - before).abs().max() > 0.05


def test_the_metadata_tell_the_files_rank() -> None:
    assert Lora(rank=4, alpha=2.0, initial="pissa").metadata()["ss_network_dim"] == "8"
    assert Lora(rank=4, alpha=2.0, initial="pissa").metadata()["ss_network_alpha"] == "4.0"
    assert Lora(rank=4, alpha=2.0, initial="orthogonal").metadata()["ss_network_dim"] == "4"


# -- a frozen half


def test_only_the_up_half_is_trained() -> None:
    attached, part = attach(linear(), freeze_down=True)
    (group,) = attached.groups({"denoiser": 1e-3})
    (module,) = attached.modules()["denoiser"].values()
    assert [id(p) for p in group["params"]] == [id(module.lora_up.weight)]
    part(torch.randn(4, INPUTS)).sum().backward()
    assert module.lora_down.weight.grad is None
    assert module.lora_up.weight.grad.abs().sum() > 0
    assert "denoiser.layer.lora_down.weight" in attached.state(), "a backup needs what was drawn"


@pytest.mark.parametrize("layer", [nn.Linear(600, 300), nn.Conv2d(60, 30, 3)])
def test_its_down_half_is_kohyas(layer: Any) -> None:
    """networks/lora_fa.py: normal, of deviation sqrt(2 / (inputs + rank)), whatever the kernel is."""
    network = Locon(rank=40, conv_rank=40, layers="all", freeze_down=True)
    part: Any = Around(layer)
    attached = network.attach(Model("sd15", {"denoiser": part}, {}, {}), {"denoiser": PartLayers({})})
    (module,) = attached.modules()["denoiser"].values()  # type: ignore[operator]
    down, inputs = module.lora_down.weight, layer.weight.shape[1]
    deviation = math.sqrt(2 / (inputs + 40))
    assert float(down.std()) == pytest.approx(deviation, rel=0.03)
    assert float(down.abs().max()) > 3 * deviation  # kaiming's are uniform
    assert not module.lora_up.weight.any()


# -- one seed, and what is wrong


@pytest.mark.parametrize("initial", ["default", "orthogonal", "pissa"])
def test_one_seed_draws_the_same_weights(initial: str) -> None:
    layer, found = linear(), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        attached, _ = attach(copy.deepcopy(layer), initial=initial, pissa_iterations=1)
        found.append(attached.state())
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    assert not all(torch.equal(found[0][name], found[2][name]) for name in found[0])


@pytest.mark.parametrize(
    ("settings", "paths"),
    [
        ({"initial": "orthogonal", "rank": 5}, ["rank"]),
        ({"initial": "orthogonal", "rules": [{"blocks": "MID", "rank": 3}]}, ["rules.0.rank"]),
        ({"initial": "pissa", "max_norm": 1.0}, ["max_norm"]),
        ({"initial": "pissa", "use_scalar": True}, ["use_scalar"]),
        ({"initial": "orthogonal", "tucker": True, "layers": "all"}, ["tucker"]),
        ({"initial": "default", "rank": 5, "max_norm": 1.0}, []),
    ],
)
def test_problems_are_found_before_the_start(settings: dict[str, Any], paths: list[str]) -> None:
    _, problems = validate(Lora, {"name": "lora", **settings})
    assert [problem.path for problem in problems] == paths


def test_too_large_a_rank_for_the_components_is_an_error() -> None:
    with pytest.raises(OchreError, match="layer has only 3 principal components, and its update has rank 4"):
        attach(nn.Linear(3, 8), initial="pissa")
