"""The command that lists optimizers, tries them, and translates other programs' names."""

from __future__ import annotations

import pytest

from core.config.toml_file import read_toml
from core.registry import registry
from scripts.optimizers import main


def test_lists_every_optimizer_with_its_memory(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    told = capsys.readouterr().out
    lines = {line.split()[0]: line for line in told.splitlines() if line.strip()}
    assert set(registry("optimizers").names()) <= set(lines)
    assert "2.03" in lines["adamw8bit"] and "bitsandbytes" in lines["adamw8bit"]
    assert "elsewhere: AdamW8bit, ADAMW_8BIT, PagedAdamW8bit" in told
    assert "With compiled code of their own" in told


def test_tries_one_in_a_process_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--self-test", "ADAMW_8BIT"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("adamw8bit on ")
    assert all(line.startswith("  ok: ") for line in told[1:]) and len(told) == 5
    assert "agree with AdamW in fp32" in told[3] and "75% less" in told[4]


def test_an_unknown_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--self-test", "adamw9bit"]) == 2
    assert "There is no optimizer adamw9bit" in capsys.readouterr().err


def test_translates_kohyas_arguments(capsys: pytest.CaptureFixture[str], tmp_path) -> None:
    assert main(["--like", "PagedAdamW8bit", "weight_decay=0.1", "foo=1"]) == 0
    told = capsys.readouterr()
    path = tmp_path / "run.toml"
    path.write_text(told.out)
    table = read_toml(path)["optimizer"]
    assert (table["name"], table["paged"], table["weight_decay"]) == ("adamw8bit", True, 0.1)
    assert "foo has no counterpart in adamw8bit" in told.err
