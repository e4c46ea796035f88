"""Classes named by import path: what is accepted, and what each mistake is called."""

from __future__ import annotations

import inspect

import pytest

from core.errors import MachineError
from core.settings.importable import (
    ArgumentError,
    class_problems,
    import_class,
    parse_argument,
    parse_arguments,
    signature_problems,
)

OPTIMIZER, SCHEDULE = "torch.optim.Optimizer", "torch.optim.lr_scheduler.LRScheduler"


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("betas=0.9,0.99", "betas", (0.9, 0.99)),
        ("betas = (0.9, 0.99)", "betas", (0.9, 0.99)),
        ('mode = "triangular2"', "mode", "triangular2"),
        ("nesterov=True", "nesterov", True),
        ("beta3 = None", "beta3", None),
        ("eps=1e-8", "eps", 1e-8),
        ('text = "a=b"', "text", "a=b"),
        ("milestones = [10, %TOTAL_STEPS%]", "milestones", [10, 500]),
        ("T_max = %TOTAL_STEPS%", "T_max", 500),
        ("gamma = -%LR%", "gamma", -1e-4),
    ],
)
def test_a_line_is_a_key_and_a_literal(line: str, key: str, value: object) -> None:
    assert parse_argument(line, {"TOTAL_STEPS": 500, "LR": 1e-4}) == (key, value)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("betas", "key = value"),
        ("0.9 = 3", "key = value"),
        ("lr = ", "nothing is no value"),
        ("nesterov = true", "write True"),
        ("mode = triangular", "in quotes"),
        ("f = __import__('os').system('true')", "no value"),
        ("n = 2 * 3", "no value"),
        ("n = %STEPS%", "%TOTAL_STEPS%"),
    ],
)
def test_what_is_no_argument_is_named(line: str, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        parse_argument(line, {"TOTAL_STEPS": 500})


def test_the_last_of_two_equal_keys_counts_and_is_a_problem() -> None:
    lines = ["lr = 1", "lr = 2"]
    assert parse_arguments(lines) == {"lr": 2}
    assert [problem.path for problem in class_problems("torch.optim.SGD", lines, OPTIMIZER, ["params"])] == [
        "arguments.1"
    ]


def test_the_class_is_found_under_its_base() -> None:
    import torch

    assert import_class("torch.optim.lr_scheduler.StepLR", SCHEDULE) is torch.optim.lr_scheduler.StepLR


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("", "import path"),
        ("AdamW", "import path"),
        ("torch.optim.Adam W", "import path"),
        ("nowhere_at_all.Adam", "no module nowhere_at_all"),
        ("torch.optim.AdmaW", "did you mean 'AdamW'"),
        ("torch.nn.Linear", "is no Optimizer"),
        ("math.cos", "is no Optimizer"),
    ],
)
def test_what_is_no_such_class_is_named(path: str, words: str) -> None:
    with pytest.raises(MachineError, match=words):
        import_class(path, OPTIMIZER)


@pytest.mark.parametrize(
    ("lines", "path", "words"),
    [
        (["momentun = 0.9"], "arguments.0", "did you mean 'momentum'"),
        (["lr = 1", "zebra = 1"], "arguments.1", "it takes"),
        (["params = 3"], "arguments.0", "by Ochre itself"),
    ],
)
def test_arguments_are_held_against_the_signature(lines: list[str], path: str, words: str) -> None:
    (problem,) = class_problems("torch.optim.SGD", lines, OPTIMIZER, ["params"])
    assert problem.path == path and words in problem.message


def test_an_argument_that_the_class_needs_is_asked_for() -> None:
    (problem,) = class_problems("torch.optim.lr_scheduler.StepLR", [], SCHEDULE, ["optimizer"])
    assert problem.path == "arguments" and "step_size" in problem.message
    fitting = class_problems("torch.optim.lr_scheduler.StepLR", ["step_size = 3"], SCHEDULE, ["optimizer"])
    assert list(fitting) == []


class Deaf:
    def __init__(self, params: object, lr: float = 1, **kwargs: object) -> None:
        self.lr = lr


class Listening:
    def __init__(self, params: object, lr: float = 1, **kwargs: object) -> None:
        self.more = dict(kwargs)


def test_more_arguments_are_taken_only_by_a_class_that_reads_them() -> None:
    assert inspect.signature(Deaf) == inspect.signature(Listening)
    assert [key for key, _ in signature_problems(Deaf, ["lr", "more"], ["params"])] == ["more"]
    assert list(signature_problems(Listening, ["lr", "more"], ["params"])) == []
