"""`./run-cmd.sh benchmark`: both sides run and are compared. How fast they are, the command says, not a test."""

import re
from pathlib import Path

import pytest

from scripts import _caching, _costs
from scripts.benchmark import main


@pytest.mark.slow
def test_both_sides_run_and_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--part", "loop", "--model", "demo", "--pairs", "2"]) in (0, 1)
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("demo: a step costs ")
    assert "2 pairs; limit 1.15" in line
    ours, bare = (float(words.split()[-1]) for words in line.split("peak memory ")[1].split(" GB")[:2])
    assert 0.1 < ours < 10
    assert 0.1 < bare < 10


@pytest.mark.slow
def test_caching_is_compared_with_encoding_one_at_a_time(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_caching, "DEMO_ROUNDS", 2)
    assert main(["--part", "caching", "--pictures", "4"]) in (0, 1)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("caching the demo's pictures on ")
    assert lines[1].startswith("caching 4 pictures of 512 to 2048 px at ")
    for line in lines:
        found = re.search(
            r": ([\d.]+) images/s against ([\d.]+) one at a time, ([\d.]+) times .*least ([\d.]+)\): ", line
        )
        assert found, line
        ours, theirs, ratio, limit = map(float, found.groups())
        assert ours > 0 and theirs > 0
        if abs(ratio - limit) > 0.01:
            assert line.endswith(": ok" if ratio > limit else ": TOO SLOW")


@pytest.mark.slow
def test_the_wait_for_batches_is_measured(tmp_path: Path) -> None:
    pairs = list(_caching.waits(3, tmp_path))
    assert len(pairs) == 3
    assert all(0 < waited < seconds for waited, seconds in pairs)


@pytest.mark.slow
def test_networks_and_extras_are_compared(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _costs.compare_networks("demo", 2, tmp_path, ["loha"])
    monkeypatch.setattr(_costs, "EXTRAS", {"masks": _costs.EXTRAS["masks"]})
    assert _costs.compare_extras("demo", 2, tmp_path) in (0, 1)
    loha, masks, measuring, logging = [line for line in capsys.readouterr().out.splitlines() if "demo: " in line]
    for line, start in (
        (loha, "networks, demo: a step of loha costs "),
        (masks, "extras, demo: a step with masks costs "),
    ):
        assert float(line.removeprefix(start).split()[0]) > 0.2
    assert float(measuring.split(" costs ")[1].split()[0]) > 0
    share = float(logging.split(" take ")[1].split("%")[0])
    assert 0 < share < 100
