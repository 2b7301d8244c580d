"""Numbers that would poison a policy are refused; groups without responses teach nothing."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from outcomes import build, outcome, play, setting

from gainrl.curricula import REGISTRY, Setting, base, compose
from gainrl.errors import CheckpointError, ConfigError, DataError, GradingError
from gainrl.training.algorithms import named
from gainrl.training.rollouts import gather

POLICIES = sorted(REGISTRY)
SEVERAL = sorted(name for name in POLICIES if compose(name).several_draws)


def changed(seen, what, at, value):
    """An outcome or groups with one number changed."""
    values = np.array(getattr(seen, what), dtype=float)
    values[at] = value
    return dataclasses.replace(seen, **{what: values})


def step(policy):
    """A step's rows, however the policy draws them."""
    estimates = None
    while (request := policy.draw(base.Groups.none(), estimates)).purpose != "group":
        estimates = groups_of(request)
        if request.purpose == "prefill":
            estimates = base.Prefilled(request.rows, np.ones(len(request.rows)))
    return request.rows


def groups_of(request, accuracy=0.5):
    count = len(request.rows)
    spread = np.full(count, accuracy)
    return base.Groups(request.rows, request.rollouts, spread, spread > 0, request.rollouts * 5)


# --- what a step saw -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize(
    ("what", "value"),
    [
        ("accuracy", np.nan),
        ("accuracy", np.inf),
        ("accuracy", 1.5),
        ("accuracy", -0.25),
        ("signal", np.nan),
        ("signal", -np.inf),
        ("advantage", np.nan),
    ],
)
def test_every_policy_refuses_it_and_goes_on(name, what, value) -> None:
    policy = build(name, {}, setting())
    rows = step(policy)
    state = json.dumps(policy.state_dict())
    said = f"curriculum '{name}': {what} of row {rows[1]} of the training table is {value}"
    with pytest.raises(DataError) as caught:
        policy.observe(changed(outcome(rows, 0.5), what, 1, value))
    assert str(caught.value) == said
    assert json.dumps(policy.state_dict()) == state  # nothing of it was learned
    policy.observe(outcome(rows, 0.5))
    assert len(step(policy)) >= 1


def test_a_prompt_that_was_not_kept_has_no_signal() -> None:
    policy = build("dapo", {}, setting())
    seen = outcome(step(policy), 0.5)
    seen = dataclasses.replace(seen, trained=np.arange(len(seen.rows)) > 0)
    policy.observe(changed(changed(seen, "signal", 0, np.nan), "advantage", 0, np.nan))
    with pytest.raises(DataError, match="signal of row"):
        policy.observe(changed(seen, "signal", 0, np.inf))


@pytest.mark.parametrize("name", SEVERAL)
def test_estimates_and_groups_within_a_step_are_checked(name) -> None:
    policy = build(name, {}, setting())
    policy.draw(base.Groups.none(), None)
    request = base.Request(np.array([4, 2]), np.array([8, 8]))
    with pytest.raises(
        DataError, match=f"'{name}': accuracy of row 2 of the training table is nan"
    ):
        policy.draw(changed(groups_of(request), "accuracy", 1, np.nan), None)
    with pytest.raises(
        DataError, match=f"'{name}': accuracy of row 4 of the training table is nan"
    ):
        policy.draw(base.Groups.none(), changed(groups_of(request), "accuracy", 0, np.nan))


# --- what a policy is built for ------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in POLICIES if "difficulty" in REGISTRY[n]().needs])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_difficulty_that_is_not_finite(name, value) -> None:
    said = rf"^curriculum '{name}': difficulty of row 3 is not finite \({value}\)$"
    with pytest.raises(ConfigError, match=said):
        build(name, {}, Setting(6, 2, 0, difficulty=np.array([1, 2, 3, value, 5, 6])))


@pytest.mark.parametrize("name", [n for n in POLICIES if "features" in REGISTRY[n]().needs])
def test_a_feature_that_is_not_finite(name) -> None:
    features = dict(setting().features)
    features["c_inter"] = features["c_inter"].copy()
    features["c_inter"][2] = -np.inf
    with pytest.raises(ConfigError, match="feature 'c_inter' of row 2 is not finite"):
        build(name, {}, dataclasses.replace(setting(), features=features))


@pytest.mark.parametrize("name", ["adarft", "gain", "predicted", "mopps"])
def test_a_saved_state_that_is_not_finite(name) -> None:
    policy = build(name, {}, setting())
    play(policy, 2)
    state = json.loads(json.dumps(policy.state_dict()))
    key = next(iter(state["sampler"]))
    said = f"curriculum '{name}': 'sampler.{key}' of its saved state is not finite"
    with pytest.raises(CheckpointError, match=said):
        policy.load_state_dict({"sampler": {**state["sampler"], key: [float("nan")]}})


# --- groups without responses --------------------------------------------------------------------


@pytest.mark.parametrize("name", POLICIES)
def test_a_group_without_responses_is_left_out(name) -> None:
    """It has no mean: the policy learns what it learns from the others alone."""
    one, other = build(name, {}, setting()), build(name, {}, setting())
    rows, same = step(one), step(other)
    assert rows.tolist() == same.tolist()
    accuracy = (rows % 3) / 2
    whole = outcome(rows, accuracy, accuracy / 4)
    lost = changed(changed(whole, "accuracy", 0, np.nan), "signal", 0, np.nan)
    lost = dataclasses.replace(lost, rollouts=np.where(np.arange(len(rows)) > 0, 8, 0))
    one.observe(lost)
    other.observe(outcome(rows[1:], accuracy[1:], accuracy[1:] / 4))
    assert json.dumps(one.state_dict()) == json.dumps(other.state_dict())


@pytest.mark.parametrize("name", POLICIES)
def test_a_step_without_responses_teaches_nothing(name) -> None:
    policy = build(name, {}, setting())
    seen = outcome(step(policy), np.nan)
    state = json.dumps(policy.state_dict())
    policy.observe(dataclasses.replace(seen, rollouts=np.zeros_like(seen.rows)))
    assert json.dumps(policy.state_dict()) == state


# --- draws of nothing ----------------------------------------------------------------------------


class Draws:
    """A policy of fixed draws within a step."""

    def __init__(self, rows, rollouts, kept) -> None:
        self.rows, self.rollouts, self.kept = np.array(rows, dtype=int), rollouts, kept

    def draw(self, seen, estimates):
        if self.rows is None or len(seen.rows):
            return None
        return base.Request(self.rows, np.full(len(self.rows), self.rollouts))

    def keep(self, seen):
        return np.array(self.kept, dtype=int)


@pytest.mark.parametrize(
    ("rows", "rollouts", "kept", "said"),
    [
        ([], 2, [0], "drew no prompts"),
        ([5, 6], 0, [0], "drew row 5 without a response to it"),
        ([5, 6], 2, [], "kept no prompts to train on"),
    ],
)
def test_a_policy_that_asks_for_nothing(rows, rollouts, kept, said) -> None:
    def respond(asked, size):
        return [[1]] * (len(asked) * size), [0.0] * (len(asked) * size)

    with pytest.raises(ConfigError, match=said):
        gather(Draws(rows, rollouts, kept), respond, named("grpo"))


@pytest.mark.parametrize("lost", ["response", "grade"])
def test_a_lost_response_or_grade_is_not_another_prompts(lost) -> None:
    def respond(asked, size):
        count = len(asked) * size
        return [[1]] * (count - (lost == "response")), [0.0] * (count - (lost == "grade"))

    with pytest.raises(GradingError, match=r"4 responses were asked for: [34] came, [34] of them"):
        gather(Draws([5, 6], 2, [0]), respond, named("grpo"))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_reward_that_is_no_number_ends_the_step_before_its_update(value) -> None:
    def respond(asked, size):
        return [[1]] * (len(asked) * size), [0.0, 1.0, value, 1.0]

    with pytest.raises(GradingError, match=f"response to row 6 of the training table: .* {value}"):
        gather(Draws([5, 6], 2, [0, 1]), respond, named("grpo"))


@pytest.mark.parametrize("name", POLICIES)
def test_a_trainer_that_measures_no_signal_can_have_every_policy_that_reads_none(name) -> None:
    policy = build(name, {}, setting())
    seen = outcome(step(policy), 0.5, np.nan)
    if policy.reads_signal:
        with pytest.raises(DataError, match=r"signal of row \d+ .* is nan"):
            policy.observe(seen)
    else:
        policy.observe(seen)
    assert policy.reads_signal == (name == "gain")
    assert not build("gain", {"use_signal": False}, setting()).reads_signal
