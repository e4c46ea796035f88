"""A run's pictures, frozen at its start, and what is told when they changed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.contracts import Size
from core.dataset.manifest import Manifest, Tile
from core.dataset.settings import Buckets, Concept
from core.dataset.survey import survey
from core.errors import WorkspaceError


@pytest.fixture
def manifest(concept: Concept, buckets: Buckets) -> Manifest:
    return Manifest(tuple(survey([concept], buckets).entries))


def test_it_comes_back_equal(manifest: Manifest) -> None:
    assert Manifest.from_json(manifest.to_json()) == manifest
    tile = Tile(Size(height=500, width=700), 30, 40, 128)
    tiled = replace(manifest.entries[0], tile=tile, mask="ab", conditioning="cd", captions=("one", ""))
    more = Manifest((tiled, *manifest.entries), {1: ("a line", "another, with 😀")})
    assert Manifest.from_json(more.to_json()) == more


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"version": 99, "entries": []}', '{"version": 1, "entries": [{}]}']
)
def test_another_file_is_an_error(text: str) -> None:
    with pytest.raises(WorkspaceError, match="list of pictures"):
        Manifest.from_json(text)
