"""LoRA and LoCon: what they add, what they leave alone, what they save."""

import pytest
import torch
from lycoris.modules.locon import LoConModule
from torch import nn

from core.contracts import Model, Network, PartLayers
from core.errors import OchreError
from core.networks.locon import Locon
from core.networks.lora import Lora

GROUPS = {"denoiser": PartLayers({"attention": r"to_[qk]$", "transformer": r"^block\.", "convolution": r"^conv"})}


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.to_q, self.to_k, self.ff = nn.Linear(12, 8), nn.Linear(12, 8), nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.ff(self.to_q(x) * self.to_k(x).sigmoid())


class Denoiser(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.block = nn.Conv2d(3, 12, 3, stride=2, padding=1), Block()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.block(self.conv(x).flatten(2).transpose(1, 2))


def tiny_model() -> Model:
    torch.manual_seed(0)
    return Model("sd15", {"denoiser": Denoiser().requires_grad_(False)}, {}, {})


def fill(network: Network) -> None:
    generator = torch.Generator().manual_seed(1)
    for tensor in network.state().values():
        tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.1)


def test_a_new_network_changes_nothing() -> None:
    model, x = tiny_model(), torch.randn(2, 3, 8, 8)
    before = model.parts["denoiser"](x)
    Locon(rank=4).attach(model, GROUPS)
    torch.testing.assert_close(model.parts["denoiser"](x), before, rtol=0, atol=0)


def test_a_layer_gives_w_x_plus_alpha_over_rank_up_down_x() -> None:
    model, x = tiny_model(), torch.randn(5, 12)
    layer = model.parts["denoiser"].block.to_q  # type: ignore[union-attr]
    weight, bias = layer.weight.double(), layer.bias.double()
    network = Lora(rank=4, alpha=3.0).attach(model, GROUPS)
    fill(network)
    file = network.export(lambda part, path: path)
    up, down = file["block.to_q.lora_up.weight"].double(), file["block.to_q.lora_down.weight"].double()
    expected = x.double() @ (weight + 3.0 / 4 * up @ down).T + bias
    torch.testing.assert_close(layer(x).double(), expected, rtol=1e-5, atol=1e-6)
    assert float(file["block.to_q.alpha"]) == 3.0


def test_a_convolution_gives_the_convolution_with_the_rebuilt_weight() -> None:
    model, x = tiny_model(), torch.randn(2, 3, 8, 8)
    conv = model.parts["denoiser"].conv
    weight, bias = conv.weight.double(), conv.bias.double()  # type: ignore[union-attr,operator]
    network = Locon(conv_rank=2, conv_alpha=5.0).attach(model, GROUPS)
    fill(network)
    trained = network.state()
    up, down = trained["denoiser.conv.lora_up.weight"].double(), trained["denoiser.conv.lora_down.weight"].double()
    change = 5.0 / 2 * (up.flatten(1) @ down.flatten(1)).reshape(weight.shape)
    expected = torch.nn.functional.conv2d(x.double(), weight + change, bias, stride=2, padding=1)
    torch.testing.assert_close(conv(x).double(), expected, rtol=1e-5, atol=1e-6)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (Lora(layers="attention"), ["block.to_q", "block.to_k"]),
        (Lora(), ["block.to_q", "block.to_k", "block.ff"]),
        (Locon(), ["conv", "block.to_q", "block.to_k", "block.ff"]),
    ],
)
def test_layers(network: Lora, expected: list[str]) -> None:
    assert [path for _, path in network.attach(tiny_model(), GROUPS).layers()] == expected


def test_disabled_gives_the_untouched_model_and_comes_back() -> None:
    model, x = tiny_model(), torch.randn(2, 3, 8, 8)
    denoiser = model.parts["denoiser"]
    before = denoiser(x)
    network = Locon().attach(model, GROUPS)
    fill(network)
    changed = denoiser(x)
    with network.disabled():
        torch.testing.assert_close(denoiser(x), before, rtol=0, atol=0)
    torch.testing.assert_close(denoiser(x), changed, rtol=0, atol=0)
    assert not torch.equal(before, changed)


def test_a_bf16_base_loses_no_small_update() -> None:
    """A rebuilt bf16 weight would round an update of this size away (LyCORIS' default loses up to 91 %)."""
    model, x = tiny_model(), torch.randn(64, 12)
    layer = model.parts["denoiser"].to(torch.bfloat16).block.to_q  # type: ignore[union-attr]
    before = layer(x.bfloat16()).float()
    network = Lora(rank=4, alpha=4.0).attach(model, GROUPS)
    fill(network)
    for tensor in network.state().values():
        tensor.mul_(0.05)
    file = network.export(lambda part, path: path)
    change = x @ (file["block.to_q.lora_up.weight"] @ file["block.to_q.lora_down.weight"]).T
    seen = network.modules()["denoiser"]["block/to_q"].bypass_forward_diff(x.bfloat16()).float()  # type: ignore[index]
    assert (seen - change).norm() < 0.02 * change.norm()
    assert (layer(x.bfloat16()).float() - before).abs().max() < 0.1


def test_only_the_network_trains_and_in_fp32() -> None:
    model = tiny_model()
    model.parts["denoiser"].to(torch.bfloat16)
    (group,) = Lora().attach(model, GROUPS).groups({"denoiser": 1e-3})
    assert group["lr"] == 1e-3
    assert group["name"] == "denoiser"
    assert {id(p) for p in group["params"]} == {id(p) for p in model.parts["denoiser"].parameters() if p.requires_grad}
    assert {p.dtype for p in group["params"]} == {torch.float32}


def test_state_comes_back() -> None:
    first, second = Lora().attach(tiny_model(), GROUPS), Lora().attach(tiny_model(), GROUPS)
    fill(first)
    second.load_state({name: tensor.clone() for name, tensor in first.state().items()})
    assert all(torch.equal(tensor, second.state()[name]) for name, tensor in first.state().items())


def test_the_state_of_another_rank_is_refused() -> None:
    with pytest.raises(OchreError, match="don't fit this network"):
        Lora(rank=8).attach(tiny_model(), GROUPS).load_state(Lora(rank=4).attach(tiny_model(), GROUPS).state())


@pytest.mark.parametrize("setting", ["dropout", "rank_dropout", "module_dropout"])
def test_dropouts_drop_in_training_alone(setting: str) -> None:
    model, x = tiny_model(), torch.randn(2, 3, 8, 8)
    fill(Lora(**{setting: 0.5}).attach(model, GROUPS))
    denoiser = model.parts["denoiser"]
    denoiser.train()
    assert len({denoiser(x).sum().item() for _ in range(20)}) > 1
    denoiser.eval()
    assert len({denoiser(x).sum().item() for _ in range(5)}) == 1


def test_a_1x1_convolution_has_the_networks_own_rank() -> None:
    """As with kohya (networks/lora.py) and LyCORIS (wrapper.py): conv_dim is for larger kernels alone."""
    model = Model("sd15", {"denoiser": nn.Sequential(nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 1))}, {}, {})
    groups = {"denoiser": PartLayers({"transformer": "nothing", "convolution": "^[01]$"})}
    file = Locon(rank=6, conv_rank=2).attach(model, groups).export(lambda part, path: path)
    assert [file[f"{layer}.lora_down.weight"].shape[0] for layer in (0, 1)] == [2, 6]


@pytest.mark.parametrize("autocast", [False, True])
def test_the_quick_way_is_lycoris_way(autocast: bool) -> None:
    model, x = tiny_model(), torch.randn(2, 3, 8, 8)
    network = Locon(dropout=0.0, alpha=3.0).attach(model, GROUPS)
    fill(network)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        quick = model.parts["denoiser"](x)
        for module in network.modules()["denoiser"].values():  # type: ignore[operator]
            module.changed = lambda x, m=module: LoConModule.bypass_forward(m, x)
        slow = model.parts["denoiser"](x)
    torch.testing.assert_close(quick, slow, rtol=2e-2 if autocast else 1e-5, atol=2e-2 if autocast else 1e-6)
