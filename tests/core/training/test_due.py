"""When what is due again and again is due."""

from core.training.due import due, first_step

ENDS = [4, 8, 12, 16]


def steps_of(every: str, skip_first: str = "", seconds_per_step: float = 0.0) -> list[int]:
    thing = due(every, skip_first, ENDS)
    return [step for step in range(1, 17) if thing.after(step, step * seconds_per_step)]


def test_steps_and_epochs() -> None:
    assert steps_of("never") == []
    assert steps_of("5 steps") == [5, 10, 15]
    assert steps_of("2 epochs") == [8, 16]
    assert steps_of("2 epochs, 7 steps") == [7, 8, 14, 16]


def test_a_time_counts_from_when_it_was_last_due() -> None:
    assert steps_of("1 minute", seconds_per_step=25.0) == [3, 6, 9, 12, 15]
    assert steps_of("1 minute, 5 steps", seconds_per_step=25.0) == [3, 5, 8, 10, 13, 15]


def test_what_comes_too_early_is_skipped() -> None:
    assert steps_of("1 epoch", "8 steps") == [8, 12, 16]
    assert steps_of("1 epoch, 6 steps", "3 epochs") == [12, 16]
    assert steps_of("1 epoch", "9 epochs") == []
    assert steps_of("1 minute", "7 steps", seconds_per_step=25.0) == [7, 10, 13, 16]


def test_an_epoch_without_a_step_ends_with_the_one_before() -> None:
    thing = due("2 epochs", "", [3, 3, 6])
    assert [step for step in range(1, 7) if thing.after(step, 0.0)] == [3]
    assert first_step("2 epochs", [3, 3, 6]) == 3
