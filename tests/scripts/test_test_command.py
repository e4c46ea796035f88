"""The test command: what it runs, what it leaves out, and that a failure of any check is its own."""

import os
import sys
from pathlib import Path

import pytest

import installer
from scripts import test as command


def program(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def test_one_failure_fails_the_whole_and_the_rest_still_runs(capfd: pytest.CaptureFixture[str]) -> None:
    checks = [
        command.Check("first", program("print('one ran')")),
        command.Check("second", program("raise SystemExit(3)")),
        command.Check("third", program("print('three ran')")),
    ]
    assert command.run(checks, dict(os.environ)) == 1
    printed = capfd.readouterr().out
    assert "three ran" in printed
    assert "FAILED (exit status 3)" in printed
    assert command.run([checks[0], checks[2]], dict(os.environ)) == 0
    assert "FAILED" not in capfd.readouterr().out


def test_marks_are_left_out_where_the_machine_cannot_serve_them(tmp_path: Path) -> None:
    for folder in ("bin", "dev"):
        (tmp_path / folder).mkdir()
    bare = command.left_out(str(tmp_path / "bin"), tmp_path)
    assert set(bare) == {"browser", "gpu"}
    assert "apt install chromium" in bare["browser"]
    (tmp_path / "bin/chromium").touch(mode=0o755)
    (tmp_path / "dev/nvidia0").touch()
    assert command.left_out(str(tmp_path / "bin"), tmp_path) == {}


def test_it_runs_each_kind_of_check() -> None:
    checks = {check.title: list(check.command) for check in command.all_checks()}
    assert list(checks) == ["ruff check", "ruff format", "types", "tests"]
    assert checks["tests"][checks["tests"].index("-n") + 1] == str(command.cores())
    assert "loadfile" in checks["tests"]


def test_ci_runs_exactly_the_test_command() -> None:
    lines = (installer.ROOT / ".ci/run").read_text().splitlines()
    assert lines[-1] == "./run-cmd.sh test"
    assert os.access(installer.ROOT / ".ci/run", os.X_OK)
