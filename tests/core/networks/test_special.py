"""What only one algorithm has: DyLoRA's blocks, T-LoRA's masks, the groups of OFT and BOFT, (IA)³'s layers."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from lycoris.modules.tlora import TLoraModule, clear_timestep_mask, compute_timestep_mask, set_timestep_mask
from torch import Tensor, nn
from torch.nn import functional as F

from core.config.lora import LoraConfig
from core.contracts import Model, PartLayers
from core.errors import OchreError
from core.networks._modules.tlora import RankMasks
from core.networks.boft import Boft
from core.networks.dylora import Dylora
from core.networks.full import Full
from core.networks.ia3 import Ia3
from core.networks.loha import Loha
from core.networks.lokr import Lokr
from core.networks.lora import Lora
from core.networks.norms import Norms
from core.networks.oft import Oft
from core.networks.tlora import Tlora
from core.registry import registry
from core.settings.checks import validate
from tests.core.networks.cases import attach, disturb, in_training, modules, tiny_model

# -- DyLoRA


def dylora() -> tuple[Model, Any, Any]:
    model = tiny_model()
    network = attach(Dylora, {"rank": 6, "alpha": 3.0, "block_size": 2, "layers": "all"}, model)
    disturb(network)
    return model, network, modules(network)["to_out"]


def test_dylora_trains_the_first_blocks_and_a_gradient_reaches_the_last_alone() -> None:
    """alpha / rank up[:, :n] down[:n] x, whatever the number n is: the same scale as in the file."""
    model, network, module = dylora()
    layer, x = model.parts["denoiser"].to_out, torch.randn(4, 5, 24)  # type: ignore[union-attr]
    file = network.export(lambda part, path: path)
    up, down = file["to_out.lora_up.weight"].double(), file["to_out.lora_down.weight"].double()
    expected = {n: 3.0 / 6 * x.double() @ (up[:, :n] @ down[:n]).T for n in (2, 4, 6)}
    seen = set()
    with in_training(model):
        for _ in range(30):
            module.zero_grad()
            change = layer(x) - module.org_forward(x)  # type: ignore[operator]
            count = next(n for n, right in expected.items() if torch.allclose(change.double(), right, atol=1e-5))
            change.square().sum().backward()
            assert [p.grad is not None for p in module.up_list] == [2 * (i + 1) == count for i in range(3)]
            seen.add(count)
    assert seen == {2, 4, 6}
    assert float(file["to_out.alpha"]) == 3.0


def test_which_block_is_drawn_by_torchs_seed_alone() -> None:
    model, _, _ = dylora()
    with in_training(model) as denoiser:
        found = []
        for python_seed in (1, 2):
            random.seed(python_seed)  # which LyCORIS draws from
            torch.manual_seed(7)
            found.append([denoiser(torch.ones(1, 6, 8, 8)).sum().item() for _ in range(10)])
    assert found[0] == found[1] and len(set(found[0])) > 1


def test_ranks_that_are_no_multiple_of_the_block_are_problems() -> None:
    wrong = Dylora(rank=6, conv_rank=4, block_size=4, rules=[{"blocks": "MID", "rank": 3}])  # type: ignore[list-item]
    assert [problem.path for problem in wrong.check()] == ["rank", "rules.0.rank"]


# -- T-LoRA


def test_a_mask_is_that_of_the_paper_and_of_lycoris() -> None:
    """r(t) = floor((T - t) / T (r - least)) + least, each to its power; LyCORIS' compute_timestep_mask."""
    times = [0, 1, 250, 499, 500, 777, 999, 1000]
    for rank, least, power in ((8, 1, 1.0), (16, 4, 2.0), (5, 0, 0.5)):
        masks = RankMasks(torch.tensor(times) / 1000, least, power).of(rank)
        for time, mask in zip(times, masks, strict=True):
            counted = int(((1000 - time) / 1000) ** power * (rank - least)) + least
            expected = [1.0] * counted + [0.0] * (rank - counted)
            assert mask.tolist() == expected == compute_timestep_mask(time, 1000, rank, least, power)[0].tolist()


@pytest.mark.parametrize("directions", ["principal", "middle", "last"])
def test_each_sample_has_the_ranks_of_its_noise_level(directions: str) -> None:
    """LyCORIS' own module with one mask for all, sample by sample."""
    model = tiny_model()
    network = attach(Tlora, {"rank": 4, "alpha": 3.0, "directions": directions, "layers": "linear"}, model)
    module, layer = modules(network)["to_out"], model.parts["denoiser"].to_out  # type: ignore[union-attr]
    with network.disabled():
        other = nn.Linear(24, 12)
        other.load_state_dict(dict(layer.state_dict()))  # type: ignore[operator,union-attr]
    theirs = TLoraModule("x", other, lora_dim=4, alpha=3.0, sig_type=directions, bypass_mode=True)  # type: ignore[arg-type]
    first: Any = theirs.base_q
    signs = torch.sign((module.base_q * first).sum(1))  # a singular vector's sign is anyone's
    torch.testing.assert_close(module.base_q, first * signs[:, None], rtol=1e-3, atol=1e-4)
    disturb(network)
    for name, tensor in module.trained().items():
        dict(theirs.named_parameters(), **dict(theirs.named_buffers()))[name].data.copy_(tensor)
    x, levels = torch.randn(3, 5, 24), torch.tensor([0.0, 0.6, 1.0])
    network.before_step(levels)
    with in_training(model):
        seen = layer(x) - module.org_forward(x)  # type: ignore[operator]
    masks = RankMasks(levels, 1, 1.0).of(4)
    for sample, mask in enumerate(masks):
        set_timestep_mask(mask[None])
        torch.testing.assert_close(seen[sample], theirs.bypass_forward_diff(x[sample]), rtol=1e-4, atol=1e-5)
    clear_timestep_mask()
    torch.testing.assert_close(
        layer(x) - module.org_forward(x),  # type: ignore[operator]
        theirs.bypass_forward_diff(x),
        rtol=1e-4,
        atol=1e-5,
    )


def test_text_encoders_have_all_ranks() -> None:
    model = Model(
        "sd15", {name: nn.Sequential(nn.Linear(8, 8)).requires_grad_(False) for name in ("denoiser", "text_1")}, {}, {}
    )
    network = Tlora(rank=4, layers="linear").attach(model, dict.fromkeys(model.parts, PartLayers({})))
    network.before_step(torch.tensor([1.0, 1.0]))
    assert network.modules()["text_1"]["0"].at is None  # type: ignore[index]
    assert network.modules()["denoiser"]["0"].at is not None  # type: ignore[index]


def test_tlora_leaves_larger_kernels_alone() -> None:
    (problem,) = Tlora(layers="all").check()
    assert problem.path == "layers" and problem.replacement == {"layers": "linear"}
    with pytest.raises(OchreError, match="no layer that could be changed"):
        attach(Tlora, {"layers": "linear", "include": ["conv$"]}, tiny_model())
    assert [problem.path for problem in Tlora(rank=4, least_rank=5).check()] == ["least_rank"]


# -- OFT and BOFT


class Odd(nn.Module):
    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.layer = nn.Linear(6, outputs)


def on(adapter: Any, outputs: int) -> Any:
    model = Model("sd15", {"denoiser": Odd(outputs).requires_grad_(False)}, {}, {})
    network = adapter.attach(model, {"denoiser": PartLayers({})})
    return network.modules()["denoiser"]["layer"]


@pytest.mark.parametrize(("outputs", "wanted", "size"), [(320, 8, 8), (320, 7, 5), (16, 8, 8), (12, 32, 12)])
def test_groups_of_oft_are_the_largest_that_divide(outputs: int, wanted: int, size: int) -> None:
    assert on(Oft(layers="all", block_size=wanted), outputs).oft_blocks.shape == (outputs // size, size, size)


@pytest.mark.parametrize(
    ("outputs", "wanted", "size"), [(320, 16, 10), (320, 4, 10), (640, 32, 20), (64, 8, 8), (6, 2, 6)]
)
def test_groups_of_boft_leave_a_power_of_two(outputs: int, wanted: int, size: int) -> None:
    """LyCORIS refuses 320 outputs by 4; here the smallest that there is takes its place."""
    blocks = on(Boft(layers="all", block_size=wanted), outputs).oft_blocks
    stages = (outputs // size).bit_length()
    assert blocks.shape == (stages, outputs // size, size, size)


@pytest.mark.parametrize(("adapter", "outputs"), [(Oft(layers="all", block_size=4), 7), (Boft(layers="all"), 7)])
def test_outputs_that_no_group_divides(adapter: Any, outputs: int) -> None:
    with pytest.raises(OchreError, match="can't turn layer"):
        on(adapter, outputs)


@pytest.mark.parametrize("cls", [Oft, Boft])
def test_rotations_turn_and_never_stretch(cls: Any) -> None:
    module = on(cls(layers="all", block_size=4), 16)
    module.oft_blocks.data += torch.randn(module.oft_blocks.shape) * 0.3
    weight = module.base_weight + module.difference()
    torch.testing.assert_close(weight.T @ weight, module.base_weight.T @ module.base_weight, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cls", [Oft, Boft])
def test_a_constraint_holds_the_rotation(cls: Any) -> None:
    """|Q| over all blocks is at most the constraint times the outputs, as LyCORIS measures it; the file has it in."""
    module = on(cls(layers="all", block_size=4, constraint=0.001), 16)
    module.oft_blocks.data += torch.randn(module.oft_blocks.shape)
    blocks = module.to_file()["oft_blocks"].detach()
    assert float((blocks - blocks.transpose(-1, -2)).norm()) == pytest.approx(0.016, rel=1e-4)


# -- (IA)³


def test_the_layers_of_the_paper() -> None:
    family = registry("families").get("sd15")()
    model = family.tiny()
    parts = {part: PartLayers(family.layer_groups[part]) for part in ("denoiser", "text_1")}
    network = Ia3().attach(model, parts)
    kinds = {
        (path.rpartition("transformer_blocks.0.")[2].rpartition("layers.")[2][-8:]) for _, path in network.layers()
    }
    assert {kind.rpartition(".")[2] for kind in kinds} == {"to_k", "to_v", "2", "k_proj", "v_proj", "fc2"}
    on_input = {path for part in parts for path, module in network.modules()[part].items() if module.train_input}  # type: ignore[operator]
    assert on_input and all(path.endswith(("ff/net/2", "mlp/fc2")) for path in on_input)


# -- settings


def problems_of(network: dict[str, Any]) -> list[Any]:
    data = {"networks": [network], "concepts": [{"folder": "x"}], "base": {"source": "x"}}
    return [problem for problem in validate(LoraConfig, data)[1] if problem.path.startswith("networks")]


@pytest.mark.parametrize("cls", [Ia3, Full, Oft, Boft, Dylora, Norms, Tlora])
def test_dora_with_an_algorithm_that_has_none(cls: Any) -> None:
    (problem,) = problems_of({"name": cls().name, "decompose": True})
    assert problem.path == "networks.0.decompose"
    assert problem.message == f"{cls.label} has no DoRA (decompose); LoRA, LoCon, LoHa and LoKr have it"


def test_two_networks_write_no_file_of_the_same_name() -> None:
    data = {"networks": [{"name": "loha", "save_plain": True}, {"name": "embedding", "token": "Plain"}]}
    found = [problem.path for problem in validate(LoraConfig, data)[1] if "and so does another" in problem.message]
    assert found == ["networks.0", "networks.1"]


@pytest.mark.parametrize("name", ["lora", "locon", "loha", "lokr"])
def test_dora_with_those_that_have_it(name: str) -> None:
    assert problems_of({"name": name, "decompose": True}) == []


@pytest.mark.parametrize(
    ("adapter", "path"),
    [
        (Lokr(full_matrix=True, decompose_both=True), "decompose_both"),
        (Lokr(factor=0), "factor"),
        (Lora(tucker=True), "tucker"),
        (Lora(tucker=True, layers="all", initial="pissa"), "tucker"),
        (Oft(rules=[{"blocks": "MID", "rank": 4}]), "rules.0.rank"),  # type: ignore[list-item]
    ],
)
def test_settings_that_contradict_one_another(adapter: Any, path: str) -> None:
    assert path in [problem.path for problem in adapter.check()]


def test_metadata_name_what_was_trained() -> None:
    lora, loha = (
        Lora(rank=4, alpha=2.0).metadata(),
        Loha(rank=4, alpha=2.0, decompose=True).metadata(),
    )
    assert (lora["ss_network_module"], lora["ss_network_dim"], lora["ss_network_alpha"]) == (
        "networks.lora",
        "4",
        "2.0",
    )
    assert loha["ss_network_module"] == "lycoris.kohya"
    assert '"algo": "loha"' in loha["ss_network_args"] and '"dora_wd": "True"' in loha["ss_network_args"]
    assert Lora(rank=4, alpha=2.0, rank_stabilised=True).metadata()["ss_network_alpha"] == "4.0"
    assert '"algo": "diag-oft"' in Oft().metadata()["ss_network_args"]


def test_a_rank_stabilised_scale_is_alpha_by_the_root_of_the_rank() -> None:
    """Kalajdzievski 2023; in the file alpha √rank, of which programs make alpha √rank / rank."""
    model = tiny_model()
    network = attach(Lora, {"rank": 4, "alpha": 3.0, "rank_stabilised": True, "layers": "linear"}, model)
    disturb(network)
    module, layer = modules(network)["to_out"], model.parts["denoiser"].to_out  # type: ignore[union-attr]
    x = torch.randn(3, 24)
    change: Tensor = 3.0 / 4**0.5 * F.linear(F.linear(x, module.lora_down.weight), module.lora_up.weight)
    torch.testing.assert_close(layer(x), module.org_forward(x) + change, rtol=1e-5, atol=1e-6)  # type: ignore[operator]
    assert float(network.export(lambda part, path: path)["to_out.alpha"]) == 6.0
