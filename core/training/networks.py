"""The networks of a run as one: at most one adapter, and embeddings."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from core.contracts import Network, Part


class Networks:
    """Several networks, all trained together (contracts.Network). Their states stand under their numbers: `0.name`."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = list(networks)

    def __iter__(self) -> Iterator[Network]:
        return iter(self._networks)

    def modules(self) -> Mapping[Part, nn.Module]:
        """The trained modules, by part. Of a part that several networks change, those of the first."""
        return ChainMap(*[dict(network.modules()) for network in self._networks])

    def groups(self, rates: Mapping[Part, float]) -> list[dict[str, Any]]:
        """The optimizer groups of all."""
        groups = [group for network in self._networks for group in network.groups(rates)]
        names = [group["name"] for group in groups]
        assert len(set(names)) == len(names), f"groups with one name: {names}"
        return groups

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """Inside, the model is as it was before."""
        with ExitStack() as stack:
            inside: list[AbstractContextManager[None]] = [network.disabled() for network in reversed(self._networks)]
            for context in inside:
                stack.enter_context(context)
            yield

    def before_step(self, levels: Tensor) -> None:
        """Tell all of the samples' noise levels, B."""
        for network in self._networks:
            network.before_step(levels)

    def after_step(self) -> None:
        """Tell all that the optimizer took a step."""
        for network in self._networks:
            network.after_step()

    def norms(self) -> dict[str, float]:
        """The norms of all."""
        return {name: norm for network in self._networks for name, norm in network.norms().items()}

    def state(self) -> dict[str, Tensor]:
        """The states of all."""
        return {
            f"{index}.{name}": tensor
            for index, network in enumerate(self._networks)
            for name, tensor in network.state().items()
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `state` gave. OchreError if it is of other networks."""
        for index, network in enumerate(self._networks):
            start = f"{index}."
            network.load_state(
                {name.removeprefix(start): tensor for name, tensor in state.items() if name.startswith(start)}
            )

    def export(self, lora_name: Callable[[Part, str], str]) -> dict[str, Tensor]:
        """The tensors of the main file."""
        return {name: tensor for network in self._networks for name, tensor in network.export(lora_name).items()}

    def beside(self, lora_name: Callable[[Part, str], str]) -> dict[str, dict[str, Tensor]]:
        """Further files: what is put after the main file's name -> tensors."""
        return {name: tensors for network in self._networks for name, tensors in network.beside(lora_name).items()}

    def remarks(self) -> list[str]:
        """What to know of the files that `beside` made last."""
        return [text for network in self._networks for text in network.remarks()]

    def metadata(self) -> dict[str, str]:
        """kohya's `ss_network_*` entries; those of the first network where several have one."""
        return {name: text for network in reversed(self._networks) for name, text in network.metadata().items()}

    def layers(self) -> Iterator[tuple[Part, str]]:
        """Each changed module: its part and its path."""
        for network in self._networks:
            yield from network.layers()
