"""Rules: another rank, alpha or learning rate for some blocks, or for layers that a pattern names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from core.contracts import Part
from core.errors import OchreError, Problem
from core.networks._layers import Layers, matching, nothing_left, nothing_matches, pattern_problems
from core.settings import Settings, setting

if TYPE_CHECKING:
    from core.contracts import PartLayers

_BLOCK = re.compile(r"([A-Z]+)(\d*)")
_ALIASES = {"M00": "MID"}


class Rule(Settings):
    """What counts for some layers instead of the network's own settings. Of several rules the last one counts."""

    blocks: str = setting(
        "",
        "Blocks",
        "Such as IN04-IN08, MID, OUT00: the blocks of a UNet as merging programs count them. TE00 and on: layers of "
        "the text encoders. BASE: what is in no other block.",
        also=("block_dims", "down_lr_weight", "mid_lr_weight", "up_lr_weight"),
    )
    pattern: str = setting(
        "",
        "Pattern",
        "A regular expression, found in the names of the layers, such as attn2 or ^text_2. With blocks: both must fit.",
        also=("network_reg_dims", "network_reg_lrs"),
    )
    train: bool = setting(True, "Train", "Off: these layers are left alone.")
    rank: int = setting(0, "Rank", "0: the network's.", ge=0, le=1024, also=("block_dims", "network_reg_dims"))
    alpha: float = setting(0.0, "Alpha", "0: the network's.", ge=0, le=4096, also=("block_alphas",))
    learning_rate_factor: float = setting(
        1.0,
        "Factor of the learning rate",
        "The part's learning rate is multiplied by it.",
        gt=0,
        le=1000,
        also=("block_lr_weight",),
    )
    learning_rate: float = setting(
        0.0, "Learning rate", "Of these layers, whatever the part's is. 0: the part's.", ge=0, le=10,
        also=("network_reg_lrs",),
    )  # fmt: skip

    def check(self) -> Iterator[Problem]:
        yield from super().check()
        if not self.blocks.strip() and not self.pattern.strip():
            yield Problem("blocks", "names no layers; write blocks, a pattern, or both")
        yield from _block_problems(self.blocks)
        if self.pattern:
            yield from pattern_problems("pattern", self.pattern)
        changes = self.rank or self.alpha or self.learning_rate or self.learning_rate_factor != 1
        if self.train and not changes:
            yield Problem("rank", "this rule changes nothing; set a rank, an alpha or a rate, or switch train off")
        if not self.train and changes:
            yield Problem("train", "is off, so that these layers have no rank, alpha or learning rate; take these out")
        if self.learning_rate and self.learning_rate_factor != 1:
            yield Problem("learning_rate_factor", "doesn't count beside learning_rate; take out one of them")


@dataclass(frozen=True)
class Said:
    """What the rules say of a layer. rank, alpha, rate: 0 where they don't.

    factor: of the part's rate. rule: the number, from 1, of the rule that changed the rate; 0 if none did.
    """

    rank: int = 0
    alpha: float = 0.0
    factor: float = 1.0
    rate: float = 0.0
    rule: int = 0

    def learning_rate(self, part_rate: float) -> float:
        """The layer's learning rate."""
        return self.rate or part_rate * self.factor


def apply_rules(
    rules: Sequence[Rule], layers: Mapping[Part, Layers], found: Mapping[Part, PartLayers]
) -> dict[Part, dict[str, Said]]:
    """Path -> what the rules say, for each layer of each part that is still trained, in the model's order.

    A layer that any rule leaves out is left out. OchreError for a block that isn't there, a rule that matches no
    layer, and a part of which nothing is left.
    """
    said = {part: {path: Said() for path, _ in inside} for part, inside in layers.items()}
    left_out: set[tuple[Part, str]] = set()
    for number, rule in enumerate(rules, 1):
        touched = _touched(rule, number, layers, found)
        if not rule.train:
            left_out |= touched
        for part, path in touched:
            said[part][path] = _changed(said[part][path], rule, number)
    left = {
        part: {path: one for path, one in inside.items() if (part, path) not in left_out}
        for part, inside in said.items()
    }
    for part, inside in left.items():
        if not inside:
            raise nothing_left(part, "the rules whose train is off")
    return left


def _changed(said: Said, rule: Rule, number: int) -> Said:
    said = replace(said, rank=rule.rank or said.rank, alpha=rule.alpha or said.alpha)
    if rule.learning_rate or rule.learning_rate_factor != 1:  # each takes the place of an earlier rule's other one
        said = replace(said, rate=rule.learning_rate, factor=rule.learning_rate_factor, rule=number)
    return said


def _touched(
    rule: Rule, number: int, layers: Mapping[Part, Layers], found: Mapping[Part, PartLayers]
) -> set[tuple[Part, str]]:
    """The layers that a rule is about. OchreError if there are none."""
    where = f"Rule {number}"
    within = layers
    if rule.blocks.strip():
        blocks = parse_blocks(rule.blocks, {part: list(one.blocks) for part, one in found.items()}, where)
        within = {part: _in_blocks(inside, found[part], blocks.get(part, ())) for part, inside in layers.items()}
        if not any(within.values()):
            raise OchreError(
                f"{where}: in blocks {rule.blocks!r} no layer is changed by this network.",
                "Not each block has layers of each kind; IN03, IN06 and IN09, for example, have convolutions alone.",
                "Name other blocks, choose more layers, or take the rule out.",
            )
    if rule.pattern:
        matched = matching(rule.pattern, within)
        if not matched:
            raise nothing_matches(f"{where}, pattern", rule.pattern, within)
        within = matched
    return {(part, path) for part, inside in within.items() for path, _ in inside}


def _in_blocks(layers: Layers, found: PartLayers, blocks: Sequence[str]) -> Layers:
    patterns = [re.compile(found.blocks[name]) for name in blocks]
    return [layer for layer in layers if any(pattern.search(layer[0]) for pattern in patterns)]


def parse_blocks(text: str, known: Mapping[Part, Sequence[str]], where: str) -> dict[Part, list[str]]:
    """`IN04-IN08, MID` -> the blocks of each part that it names.

    known: each part's blocks, from its first to its last. OchreError for a block that no part has, or a range that
    runs backwards or from one part to another.
    """
    found: dict[Part, list[str]] = {part: [] for part in known}
    for first, last in block_ranges(text):
        reaching = {part: names for part, names in known.items() if first in names and last in names}
        if not reaching:
            unknown = next((name for name in (first, last) if not any(name in names for names in known.values())), "")
            raise _no_such_blocks(where, unknown or f"{first}-{last}", known)
        for part, names in reaching.items():
            begin, end = names.index(first), names.index(last)
            if begin > end:
                raise _no_such_blocks(where, f"{first}-{last}", known)
            found[part] += names[begin : end + 1]
    return {part: names for part, names in found.items() if names}


def block_ranges(text: str) -> Iterator[tuple[str, str]]:
    """First and last of each range, as families name them: `in4` is IN04. ValueError for what is none."""
    for item in filter(None, (item.strip() for item in text.replace("\n", ",").split(","))):
        ends = [_BLOCK.fullmatch(end.strip().upper()) for end in item.split("-")]
        if len(ends) > 2 or not all(ends):
            raise ValueError(item)
        names = [f"{end[1]}{int(end[2]):02}" if end[2] else end[1] for end in ends if end]
        yield _ALIASES.get(names[0], names[0]), _ALIASES.get(names[-1], names[-1])


def _block_problems(text: str) -> Iterator[Problem]:
    try:
        list(block_ranges(text))
    except ValueError as error:
        yield Problem("blocks", f"{str(error)!r} is no block; write them as IN04, or IN04-IN08, with commas between")


def _no_such_blocks(where: str, name: str, known: Mapping[Part, Sequence[str]]) -> OchreError:
    there = "; ".join(f"{part}: {_listed(names)}" for part, names in known.items() if names)
    return OchreError(
        f"{where}: there are no blocks {name} in what is trained.",
        f"There are, in {there}." if there else "What is trained has no blocks.",
        "Correct the rule, or train the part that has them.",
    )


def _listed(names: Sequence[str]) -> str:
    """`IN00-IN11, MID, OUT00-OUT11, BASE`: runs of numbered names in short."""
    runs: list[list[str]] = []
    for name in names:
        same = runs and name.rstrip("0123456789") == runs[-1][-1].rstrip("0123456789") != name
        runs[-1].append(name) if same else runs.append([name])
    return ", ".join(run[0] if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
