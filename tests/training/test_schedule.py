"""When a run ends and is tested."""

from gainrl.training.schedule import Schedule


def played(schedule, tokens):
    """The steps after which there was a test, of steps with these tokens."""
    step = spent = 0
    tested = []
    while not schedule.ends(step, spent):
        before, spent = spent, spent + tokens[step]
        step += 1
        if schedule.tested(step, before, spent):
            tested.append(step)
    return tested


def test_by_steps_every_so_many_and_the_last():
    assert played(Schedule(5, 2), [1] * 9) == [2, 4, 5]


def test_by_tokens_small_steps_are_more_and_tested_where_the_large_ones_are():
    budget = {"tokens": 120, "tests": 4}
    assert played(Schedule(99, 1, **budget), [10] * 99) == [3, 6, 9, 12]
    assert played(Schedule(99, 1, **budget), [20] * 99) == [2, 3, 5, 6]  # at 40, 60, 100, 120


def test_the_step_that_spends_the_last_token_is_the_last_and_two_parts_are_tested_once():
    assert played(Schedule(99, 1, tokens=100, tests=4), [10, 60, 29, 50]) == [2, 3, 4]


def test_steps_are_the_most_there_are():
    assert played(Schedule(3, 1, tokens=1000, tests=2), [1] * 9) == [3]
