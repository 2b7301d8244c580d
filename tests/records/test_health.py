"""Lights of runs, each rule on either side of its bounds."""

import math

import pytest

from gainrl.records import health


def steps(count=8, **values):
    row = {"accuracy": 0.4, "zero_variance": 0.3, "truncated": 0.0, "entropy": 1.0, **values}
    return [{"step": step, **row} for step in range(1, count + 1)]


def curve(start=0.3, end=0.5, problems=200):
    return [
        {"step": step, "benchmark": "chain", "accuracy": value, "problems": problems}
        for step, value in ((0, start), (4, 0.9), (8, end))
    ]


def lights(found):
    return {sign.name: sign.light for sign in found}


def test_a_run_that_learns_is_green_all_over():
    found = health.signs(steps(), curve())
    assert set(lights(found).values()) == {"green"}
    assert health.light(found) == "green"
    assert health.reasons(found) == ""


@pytest.mark.parametrize(
    ("rows", "run", "name", "light"),
    [
        (steps(accuracy=0.0), curve(0.0, 0.0), "start", "red"),
        (steps(accuracy=0.015), curve(0.0, 0.0), "start", "yellow"),
        (steps(accuracy=0.015), curve(0.015, 0.5), "start", "yellow"),
        (steps(accuracy=0.0), curve(0.05, 0.0), "start", "green"),
        (steps(zero_variance=0.71), curve(), "zero-variance groups", "yellow"),
        (steps(zero_variance=0.95), curve(), "zero-variance groups", "red"),
        (steps(truncated=0.21), curve(), "truncated responses", "yellow"),
        (steps(truncated=0.6), curve(), "truncated responses", "red"),
        (steps(kl=0.4), curve(), "KL (nats a token)", "green"),
        (steps(kl=6.0), curve(), "KL (nats a token)", "red"),
        (steps(), curve(0.3, 0.35), "learnt", "yellow"),  # 1.07 standard errors
        (steps(), curve(0.5, 0.3), "learnt", "red"),
    ],
)
def test_each_rule(rows, run, name, light):
    found = health.signs(rows, run)
    assert lights(found)[name] == light
    if light != "green":
        assert f"{name}: " in health.reasons(found)


def test_entropy_is_read_at_the_ends():
    rows = steps()
    for row, value in zip(rows, (2.0, 2.0, 1, 1, 1, 1, 0.3, 0.3), strict=True):
        row["entropy"] = value
    assert lights(health.signs(rows, curve()))["entropy"] == "yellow"
    rows[-1]["entropy"] = rows[-2]["entropy"] = 0.01
    assert lights(health.signs(rows, curve()))["entropy"] == "red"


def test_what_was_not_recorded_has_no_sign():
    rows = [{"step": 1, "accuracy": 0.5, "zero_variance": 0.0, "kl": None}]
    assert set(lights(health.signs(rows, curve()))) == {"start", "learnt", "zero-variance groups"}


def test_the_error_of_a_gain_is_that_of_agresti_and_caffo():
    gain, error = health.gained(
        [{"accuracy": 0.0, "problems": 98}], [{"accuracy": 0.5, "problems": 98}]
    )
    assert gain == 0.5
    # (0 + 1) / 100 and (49 + 1) / 100
    assert error == pytest.approx(math.sqrt(0.01 * 0.99 / 100 + 0.25 / 100))


def test_one_answer_by_chance_is_not_learnt():
    before, after = [{"accuracy": 0.0, "problems": 200}], [{"accuracy": 0.005, "problems": 200}]
    assert not health.learnt(before, after)
    assert health.learnt(before, [{"accuracy": 0.05, "problems": 200}])
    assert not health.learnt(before, [{"accuracy": 0.0, "problems": 10**6}])


def test_a_run_by_tokens_says_that_its_steps_are_too_large_for_its_tests():
    found = health.signs(steps(), curve(), planned=2)
    assert lights(found)["tests"] == "green"
    found = health.signs(steps(), curve(), planned=4)
    assert lights(found)["tests"] == "yellow"
    assert "tests: 2 of 4" in health.reasons(found)
