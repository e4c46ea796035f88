"""Every setting of the other programs is accounted for, by a setting of ours that is there, or by a reason."""

import pytest

from scripts.settings_audit import PROGRAMS, Answer, audit, called, paths

NUMBERS = {"kohya": 500, "lycoris": 40, "onetrainer": 300}
"""Settings that each program has at least, counted when they were listed."""


def answers(program: str) -> list[Answer]:
    return [answer for section in audit(program) for answer in section.answers]


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_setting_is_accounted_for(program: str) -> None:
    assert len(answers(program)) >= NUMBERS[program]
    assert [answer.name for answer in answers(program) if not answer.accounted] == []


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_settings_that_are_named_are_there(program: str) -> None:
    named = {path for answer in answers(program) for path in answer.ours}
    assert named - paths().keys() == set()


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_reference_to_another_answer_leads_there(program: str) -> None:
    names = {answer.name for answer in answers(program)}
    referred = {answer.why[3:].rstrip(".") for answer in answers(program) if answer.why.startswith("As ")}
    assert referred - names == set()


def test_declared_names_answer() -> None:
    assert "networks.lora.rank" in called()["network_dim"]
    assert "optimizer.adamw8bit" in called()["adamw8bit"]
    assert called().get("no such setting") is None
