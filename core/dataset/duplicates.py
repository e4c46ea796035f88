"""Finds pictures that look nearly the same, by their 64-bit fingerprints, without comparing all pairs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy import bool_, int64, uint64
    from numpy.typing import NDArray

NEAR = 4
"""Pictures whose fingerprints differ in at most so many of the 64 bits, and whose colours are near, are alike."""

NEAR_COLOUR = 24
"""How far each of the mean colours may differ, of 255."""


def near_groups(fingerprints: Sequence[int], colours: Sequence[bytes] = (), most: int = NEAR) -> list[tuple[int, ...]]:
    """Groups of two or more pictures, as indices, in which each has another that it is alike.

    Alike: their fingerprints (64 bits) differ in at most `most` bits (0 to 30), and each byte of their `colours`, if
    there are any, in at most `NEAR_COLOUR`. A group is a chain: its ends may differ in more. Groups come in the order
    of their first member. Time grows with the number of fingerprints and of pairs that are alike, not with all pairs:
    see `_candidates`.
    """
    import numpy as np

    values = np.asarray(fingerprints, dtype=np.uint64)
    width = len(colours[0]) if colours else 0
    tints = np.frombuffer(b"".join(colours), dtype=np.uint8).reshape(len(values), width)
    rows = np.hstack([values[:, None].view(np.uint8), tints])
    _, first, member_of = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    unique, tints = values[first], tints[first].astype(np.int16)
    links = _Links(len(unique))
    for left, right in _candidates(unique, most):
        near = (np.bitwise_count(unique[left] ^ unique[right]) <= most) & links.apart(left, right)
        left, right = left[near], right[near]
        near = (np.abs(tints[left] - tints[right]) <= NEAR_COLOUR).all(axis=1)
        for one, other in zip(left[near].tolist(), right[near].tolist(), strict=True):
            links.join(one, other)
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for index, member in enumerate(member_of.ravel().tolist()):
        groups[links.root(member)].append(index)
    return sorted(tuple(members) for members in groups.values() if len(members) > 1)


def _candidates(unique: NDArray[uint64], most: int) -> Iterator[tuple[NDArray[int64], NDArray[int64]]]:
    """Pairs of indices among which are all that differ in at most `most` bits; some more than once.

    The 64 bits are cut into `most` + 2 blocks. Two numbers that differ in at most `most` bits agree in at least two
    whole blocks (the pigeonhole principle; G. S. Manku, A. Jain, A. Das Sarma, "Detecting Near-Duplicates for Web
    Crawling", 2007). So, for each two blocks, sorting by them brings every such pair into one run.
    """
    import numpy as np

    edges = [64 * block // (most + 2) for block in range(most + 3)]
    blocks = [(1 << end) - (1 << start) for start, end in pairwise(edges)]
    for first, second in combinations(blocks, 2):
        masked = unique & np.uint64(first | second)
        order = np.argsort(masked, kind="stable")
        masked = masked[order]
        places, apart = np.arange(len(order)), 1
        while True:  # neighbours in the order, then the next but one, for as long as runs are that long
            places = places[places + apart < len(order)]
            places = places[masked[places] == masked[places + apart]]
            if not len(places):
                break
            yield order[places], order[places + apart]
            apart += 1


class _Links:
    """Which of `count` things hang together (union-find)."""

    def __init__(self, count: int) -> None:
        import numpy as np

        self._parents = np.arange(count)

    def root(self, thing: int) -> int:
        """The thing that stands for the group."""
        parents = self._parents
        while parents[thing] != thing:
            parents[thing] = parents[parents[thing]]
            thing = int(parents[thing])
        return thing

    def apart(self, left: NDArray[int64], right: NDArray[int64]) -> NDArray[bool_]:
        """Which pairs are not yet known to be in one group."""
        return self._parents[left] != self._parents[right]

    def join(self, one: int, other: int) -> None:
        """Put the groups of both together."""
        root, gone = sorted((self.root(one), self.root(other)))
        self._parents[gone] = root
