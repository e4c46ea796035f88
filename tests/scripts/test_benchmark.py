"""`./run-cmd.sh benchmark`: both sides run and are compared. How fast they are, the command says, not a test."""

import pytest

from scripts.benchmark import main


@pytest.mark.slow
def test_both_sides_run_and_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", "demo", "--pairs", "2"]) in (0, 1)
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("demo: a step costs ")
    assert "2 pairs; limit 1.15" in line
    ours, bare = (float(words.split()[-1]) for words in line.split("peak memory ")[1].split(" GB")[:2])
    assert 0.1 < ours < 10
    assert 0.1 < bare < 10
