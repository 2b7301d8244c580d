"""FLOP of RL steps, against numbers worked by hand."""

import pytest
from run_folders import TRAINING, write_run

from gainrl.results.flops import per_token, step_flops
from gainrl.results.runs import collect
from gainrl.results.speed import run_flops

LOCAL = {"backend": "local", "prompts": 4, "rollouts": 3, "mini_batch": None, "kl": 0.0}
VERL = {**LOCAL, "backend": "verl"}


def test_a_local_step_rolls_out_and_updates_each_token_once():
    # 10 prompt and 50 response tokens; rollout 2, update 6: 60 tokens x 8 x 1000 parameters
    assert step_flops(1000, [10], [50], LOCAL, "grpo").tolist() == [480_000]


def test_verl_runs_a_prompt_with_each_rollout_and_the_old_policy_always():
    # 3 x 10 + 50 tokens; rollout 2, old log-probabilities 2, update 6
    assert step_flops(1000, [10], [50], VERL, "grpo").tolist() == [800_000]


@pytest.mark.parametrize(
    ("changes", "algorithm", "passes"),
    [
        ({}, "grpo", 2 + 6),
        ({"mini_batch": 4}, "grpo", 2 + 6),  # one update, so the policy is still the old one
        ({"mini_batch": 2}, "grpo", 2 + 6 + 2),
        ({"kl": 0.001}, "grpo", 2 + 6 + 2),
        ({"kl": 0.001, "mini_batch": 2}, "grpo", 2 + 6 + 2 + 2),
        ({"backend": "verl", "kl": 0.001, "mini_batch": 2}, "grpo", 2 + 6 + 2 + 2),
        ({"backend": "verl"}, "ppo", 2 + 6 + 2 + (2 + 6)),
    ],
)
def test_every_pass_is_counted(changes, algorithm, passes):
    assert per_token({**LOCAL, **changes}, algorithm) == passes


def test_each_epoch_is_an_update_and_the_second_needs_the_old_policy():
    training = {"backend": "local", "prompts": 2, "rollouts": 4, "mini_batch": None, "kl": 0.0}
    assert per_token({**training, "epochs": 1}, "grpo") == 2 + 6
    assert per_token({**training, "epochs": 3}, "grpo") == 2 + 2 + 3 * 6


def test_epochs_that_ended_early_are_counted_as_they_were_made():
    training = {**LOCAL, "epochs": 4}
    assert per_token(training, "grpo", [1, 2.5]).tolist() == [2 + 2 + 6, 2 + 2 + 15]
    found = step_flops(1, [0, 0], [10, 10], training, "grpo", epochs=[1, 4])
    assert found.tolist() == [100, 280]


def test_a_step_has_several_updates_by_the_groups_that_it_trained_on():
    training = {**LOCAL, "mini_batch": 4}
    assert per_token(training, "grpo", groups=[3, 4, 5]).tolist() == [8, 8, 10]
    found = step_flops(1, [0, 0], [10, 10], training, "grpo", groups=[4, 8])
    assert found.tolist() == [80, 100]


def test_the_groups_of_a_run_are_those_of_its_record(tmp_path):
    training = {**TRAINING, "mini_batch": TRAINING["prompts"]}
    (run,) = collect([write_run(tmp_path, "grpo", 0, [0.1, 0.5], tokens=100, training=training)])
    before = run_flops(run, 1)
    run.steps["trained_groups"] = TRAINING["prompts"] + 1
    assert (run_flops(run, 1) - before).tolist() == [2 * 120] * len(before)


def test_each_step_has_its_own_tokens():
    assert step_flops(2, [1, 0], [4, 5], LOCAL, "grpo").tolist() == [80, 80]


def test_tokens_that_are_not_trained_on_have_the_rollouts_pass_only():
    # 60 tokens, 25 of them idle: 60 x 2 + 35 x 6 = 330
    assert step_flops(1, [10], [50], LOCAL, "grpo", [25]).tolist() == [330]


def test_a_runs_epochs_are_those_of_its_record(tmp_path):
    training = {**TRAINING, "epochs": 3}
    (run,) = collect([write_run(tmp_path, "grpo", 0, [0.1, 0.5], tokens=100, training=training)])
    planned = run_flops(run, 1)
    assert planned.tolist() == [(2 + 2 + 3 * 6) * 120] * len(planned)
    run.steps["epochs"] = 1.5  # ended by target_kl
    assert run_flops(run, 1).tolist() == [(2 + 2 + 9) * 120] * len(planned)


def test_prompts_that_were_read_before_a_draw_have_one_pass(tmp_path):
    (run,) = collect([write_run(tmp_path, "grpo", 0, [0.1, 0.5], tokens=100, training=TRAINING)])
    before = run_flops(run, 1)
    run.steps["prefill_tokens"] = 30
    assert (run_flops(run, 1) - before).tolist() == [2 * 30] * len(before)
