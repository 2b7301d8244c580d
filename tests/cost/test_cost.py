"""The cost estimate: parts worked by hand, units, scaling, refusals and the words of the bill."""

from dataclasses import fields, replace

import pytest

from gainrl.cost.estimate import (
    Estimate,
    Other,
    Shape,
    Speeds,
    Work,
    answer_hours,
    forward_flop,
    run_cost,
    step_cost,
)
from gainrl.cost.words import between, bill, render
from gainrl.errors import ConfigError

# Small enough to work by hand: 6 sequences of 10 + 10 tokens on 2 GPUs of 1e12 FLOP/s, 1e9 bytes/s.
SHAPE = Shape(parameters=1000, layers=2, hidden=10, kv_width=4, vocabulary=30)
HOW = Speeds(
    peak_tflops=1.0,
    memory_gb_per_s=1.0,
    train_mfu=0.25,
    forward_mfu=0.5,
    decode_efficiency=0.5,
    decode_batch=1,
    prompt_tokens=10.0,
    recompute=True,
    overhead_seconds=0.0,
    test_seconds=0.0,
    start_seconds=0.0,
    save_seconds=0.0,
)
WORK = Work(
    steps=7,
    prompts=2,
    rollouts=3,
    response=10,
    longest=20,
    kl=False,
    critic=False,
    evaluation_every=3,
    evaluation_samples=4,
    evaluation_response=5,
    evaluation_longest=20,
    save_every=2,
    gpus=2,
)
# 6 sequences x 20 tokens x (2 x 1000 + 4 x 2 x 10 x 20 / 2) FLOP
FLOP = 6 * 20 * 2800

QWEN_7B = Shape(7.616e9, layers=28, hidden=3584, kv_width=512, vocabulary=152_064)
LARGE = replace(WORK, steps=100, prompts=1024, rollouts=8, response=900, longest=3000, gpus=8)
LARGE = replace(LARGE, evaluation_every=5, evaluation_samples=50_000, save_every=20)
LARGE = replace(LARGE, evaluation_response=900, evaluation_longest=3000, job_hours=24.0)
A100 = Speeds(
    peak_tflops=312.0,
    memory_gb_per_s=2039.0,
    train_mfu=0.35,
    forward_mfu=0.40,
    decode_efficiency=0.5,
    decode_batch=128,
    prompt_tokens=200.0,
    recompute=True,
    overhead_seconds=15.0,
    test_seconds=5.0,
    start_seconds=120.0,
    save_seconds=60.0,
)


# --- each part by hand ---------------------------------------------------------------------------


def test_forward_flop_is_two_a_parameter_plus_attention():
    assert forward_flop(SHAPE, 20) == 20 * (2 * 1000 + 4 * 2 * 10 * 20 / 2)


def test_tokens():
    step = step_cost(SHAPE, WORK, HOW)
    assert (step.prompt_tokens, step.response_tokens) == (60, 60)
    assert run_cost(SHAPE, WORK, HOW).rollout_tokens == 7 * 60


def test_prefill_runs_the_output_head_for_the_last_token_only():
    each = 10 * (2 * 1000 + 4 * 2 * 10 * 10 / 2) - 9 * 2 * 10 * 30
    assert step_cost(SHAPE, WORK, HOW).prefill == pytest.approx(6 * each / (2 * 1e12 * 0.5))


def test_decoding_reads_weights_once_a_step_and_the_cache_of_every_sequence():
    # A GPU decodes 3 x 10 tokens one by one: 30 reads of 1000 weights. A token's cache holds
    # 2 x 2 layers x 4 numbers for each of 10 + 10 / 2 earlier tokens. Two bytes a number.
    seconds = 2 * (30 * 1000 + 30 * 16 * 15) / (1e9 * 0.5)
    assert step_cost(SHAPE, WORK, HOW).decoding == pytest.approx(seconds)


def test_decoding_goes_on_until_the_longest_response_ends():
    # Three sequences together would take 10 steps; the longest response has 20 tokens.
    seconds = 2 * (20 * 1000 + 30 * 16 * 15) / (1e9 * 0.5)
    step = step_cost(SHAPE, WORK, replace(HOW, decode_batch=3))
    assert step.decoding == pytest.approx(seconds)
    assert step_cost(SHAPE, WORK, replace(HOW, decode_batch=300)).decoding == step.decoding


def test_decoding_is_compute_bound_where_memory_is_fast():
    step = step_cost(SHAPE, WORK, replace(HOW, memory_gb_per_s=1e6))
    flop = 60 * (2 * 1000 + 4 * 2 * 10 * (10 + 10 / 2))
    assert step.decoding == pytest.approx(flop / (2 * 1e12 * 0.5))


def test_old_log_probabilities_are_one_forward():
    step = step_cost(SHAPE, WORK, HOW)
    assert step.old_log_probabilities == pytest.approx(FLOP / (2 * 1e12 * 0.5))
    assert step.reference == step.critic == 0


@pytest.mark.parametrize(("recompute", "passes"), [(True, 4), (False, 3)])
def test_update_is_four_forwards_with_checkpointing_and_three_without(recompute, passes):
    step = step_cost(SHAPE, WORK, replace(HOW, recompute=recompute))
    assert step.update == pytest.approx(passes * FLOP / (2 * 1e12 * 0.25))


def test_more_epochs_repeat_the_update_and_nothing_else():
    once = step_cost(SHAPE, replace(WORK, critic=True), HOW)
    thrice = step_cost(SHAPE, replace(WORK, critic=True, epochs_per_batch=3), HOW)
    assert thrice.update == pytest.approx(3 * once.update)
    assert thrice.seconds - once.seconds == pytest.approx(4 * once.update)  # the critic's too
    assert thrice.old_log_probabilities == once.old_log_probabilities


def test_kl_adds_exactly_one_forward():
    without, with_kl = (step_cost(SHAPE, replace(WORK, kl=kl), HOW) for kl in (False, True))
    assert with_kl == replace(without, reference=without.old_log_probabilities)
    assert with_kl.seconds - without.seconds == pytest.approx(without.old_log_probabilities)


def test_ppo_costs_a_forward_and_an_update_more_than_grpo():
    grpo, ppo = (step_cost(SHAPE, replace(WORK, critic=critic), HOW) for critic in (False, True))
    assert ppo == replace(grpo, critic=grpo.old_log_probabilities + grpo.update)
    assert ppo.seconds > grpo.seconds


def test_a_step_is_the_sum_of_its_parts():
    step = step_cost(SHAPE, replace(WORK, kl=True, critic=True), replace(HOW, overhead_seconds=3.0))
    parts = [step.prefill, step.decoding, step.old_log_probabilities, step.reference]
    assert step.rollout == step.prefill + step.decoding
    assert step.seconds == pytest.approx(sum([*parts, step.update, step.critic, 3.0]))


# --- runs ----------------------------------------------------------------------------------------


def test_tests_are_generation_only_and_the_last_step_is_one():
    cost = run_cost(SHAPE, WORK, HOW)
    assert cost.tests == 3  # after steps 3, 6 and 7
    # 4 answers of 5 tokens: 10 tokens a GPU, but the longest answer takes 20 steps.
    prefill = 4 * 18_600 / (2 * 1e12 * 0.5)
    decoding = 2 * (20 * 1000 + 10 * 16 * (10 + 5 / 2)) / (1e9 * 0.5)
    assert cost.test_hours == pytest.approx(3 * (prefill + decoding) / 3600)
    assert run_cost(SHAPE, replace(WORK, evaluation_every=100), HOW).tests == 1


def test_a_test_has_a_fixed_part():
    slow = run_cost(SHAPE, WORK, replace(HOW, test_seconds=7.0))
    assert slow.test_hours - run_cost(SHAPE, WORK, HOW).test_hours == pytest.approx(3 * 7 / 3600)


def test_checkpoints_are_written_every_few_steps_and_after_the_last():
    cost = run_cost(SHAPE, WORK, replace(HOW, save_seconds=9.0))
    assert (cost.saves, cost.save_hours) == (4, 4 * 9 / 3600)  # after steps 2, 4, 6 and 7


def test_a_run_that_is_longer_than_a_job_starts_again():
    how = replace(HOW, overhead_seconds=3600.0, start_seconds=90.0)
    for hours, starts in ((100.0, 1), (3.0, 3)):
        cost = run_cost(SHAPE, replace(WORK, job_hours=hours), how)
        assert (cost.starts, cost.start_hours) == (starts, starts * 90 / 3600)


def test_answers_outside_of_runs_cost_what_a_test_of_a_run_costs():
    cost = run_cost(SHAPE, WORK, HOW)
    hours = answer_hours(SHAPE, 4, 5, 20, 2, HOW)
    assert hours == pytest.approx(2 * cost.test_hours / cost.tests)


def test_a_run_without_tests():
    cost = run_cost(SHAPE, replace(WORK, evaluation_samples=0), HOW)
    assert (cost.tests, cost.test_hours) == (0, 0)
    assert cost.hours == cost.training_hours + cost.save_hours + cost.start_hours


def test_units():
    """An hour of overhead a step outweighs everything else here: hours are about the steps."""
    cost = run_cost(SHAPE, WORK, replace(HOW, overhead_seconds=3600.0), runs=3)
    assert cost.hours == pytest.approx(7, rel=1e-6)
    assert cost.gpu_hours == 2 * cost.hours
    assert cost.total == 3 * cost.gpu_hours
    parts = (cost.training_hours, cost.test_hours, cost.save_hours, cost.start_hours)
    assert cost.hours == sum(parts)
    assert cost.training_hours == 7 * cost.step.seconds / 3600


FREE = replace(A100, test_seconds=0.0, start_seconds=0.0, save_seconds=0.0)
"""Without what takes its seconds on every GPU."""


def test_twice_the_gpus_halve_the_wall_but_not_the_gpu_hours():
    eight, sixteen = (
        run_cost(QWEN_7B, replace(LARGE, gpus=gpus), replace(FREE, overhead_seconds=0.0))
        for gpus in (8, 16)
    )
    assert sixteen.hours == pytest.approx(eight.hours / 2)
    assert sixteen.gpu_hours == pytest.approx(eight.gpu_hours)


def test_overhead_is_paid_on_every_gpu():
    eight, sixteen = (
        run_cost(QWEN_7B, replace(LARGE, gpus=gpus), replace(FREE, overhead_seconds=36.0))
        for gpus in (8, 16)
    )
    assert sixteen.gpu_hours - eight.gpu_hours == pytest.approx(100 * 36 / 3600 * 8)


@pytest.mark.parametrize(
    "more",
    [
        *({"steps": 101}, {"prompts": 1025}, {"rollouts": 9}, {"response": 901}),
        *({"epochs_per_batch": 2}, {"kl": True}, {"critic": True}),
        *({"evaluation_every": 4}, {"evaluation_samples": 50_001}, {"save_every": 10}),
        *({"evaluation_response": 901}, {"longest": 30_000}, {"job_hours": 2.0}),
    ],
)
def test_more_work_costs_more(more):
    how = A100
    base = run_cost(QWEN_7B, LARGE, how).gpu_hours
    assert run_cost(QWEN_7B, replace(LARGE, **more), how).gpu_hours > base


@pytest.mark.parametrize("name", ["parameters", "layers", "hidden", "kv_width"])
def test_a_larger_model_costs_more(name):
    larger = replace(QWEN_7B, **{name: int(1.1 * getattr(QWEN_7B, name))})
    how = A100
    assert run_cost(larger, LARGE, how).hours > run_cost(QWEN_7B, LARGE, how).hours


SLOWER = {
    "peak_tflops": 300.0,
    "memory_gb_per_s": 2000.0,
    "train_mfu": 0.3,
    "forward_mfu": 0.3,
    "decode_efficiency": 0.4,
    "decode_batch": 64,
    "prompt_tokens": 300.0,
    "overhead_seconds": 20.0,
    "test_seconds": 6.0,
    "start_seconds": 200.0,
    "save_seconds": 90.0,
}


@pytest.mark.parametrize("name", SLOWER)
def test_every_assumption_matters(name):
    slower = replace(A100, **{name: SLOWER[name]})
    base = run_cost(QWEN_7B, LARGE, A100)
    assert run_cost(QWEN_7B, LARGE, slower).hours > base.hours


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: replace(WORK, gpus=0), r"^work\.gpus: 0 is not a whole number from 1 to 1e\+15$"),
        (lambda: replace(WORK, steps=-1), r"work\.steps"),
        (lambda: replace(WORK, prompts=2.5), r"work\.prompts: 2\.5"),
        (lambda: replace(WORK, evaluation_every=0), r"work\.evaluation_every"),
        (lambda: replace(WORK, evaluation_samples=-1), r"work\.evaluation_samples"),
        (lambda: replace(WORK, longest=9), r"work\.longest: 9 .* from 10 "),
        (lambda: replace(WORK, response=0.0), r"work\.response"),
        (lambda: replace(SHAPE, layers=0), r"shape\.layers"),
        (lambda: replace(SHAPE, parameters=300), r"shape\.parameters: 300 .* from 301 "),
        (lambda: replace(SHAPE, parameters=float("nan")), r"shape\.parameters: nan"),
        (lambda: run_cost(SHAPE, WORK, HOW, runs=0), r"runcost\.runs"),
    ],
)
def test_nonsense_is_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        change()


# --- the table -----------------------------------------------------------------------------------


def lines_of(text):
    """The cells of every table line."""
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip("|* ") for cell in row] for row in rows]


SLOW = replace(A100, train_mfu=0.2)
BESIDE = [Other("tests", 1.0, 200.0)]


def both(work, runs=1):
    return Estimate(run_cost(QWEN_7B, work, A100, runs), run_cost(QWEN_7B, work, SLOW, runs))


def rendered():
    rows = [("GRPO | x", both(LARGE, runs=3)), ("PPO", both(replace(LARGE, critic=True)))]
    return rows, render(rows, BESIDE)


def test_two_ends_are_one_number_where_they_print_the_same():
    assert between(1.2, 1234.4) == "1 to 1,234"
    assert between(1.2, 1.4) == "1"


def test_the_table_has_a_line_an_end_other_work_and_their_sum():
    rows, text = rendered()
    head, _, low, high, *_, other, last = lines_of(text.replace("\\|", "/"))[:8]
    assert [low[0], high[0], other[0], last[0]] == [
        "GRPO / x, low",
        "GRPO / x, high",
        "tests",
        "Sum",
    ]
    for line, cost in zip((low, high), rows[0][1].ends, strict=True):
        values = dict(zip(head, line, strict=True))
        assert (values["Runs"], values["GPUs"], values["Steps"]) == ("3", "8", "100")
        assert values["GPU-hours"] == f"{cost.total:,.1f}"
        redone = 3 * 8 * float(values["Hours"].replace(",", ""))
        assert redone == pytest.approx(cost.total, rel=1e-3)
    assert dict(zip(head, last, strict=True))["Runs"] == "4"
    low_sum = sum(each.low.total for _, each in rows) + 1
    high_sum = sum(each.high.total for _, each in rows) + 200
    assert last[-1] == f"{low_sum:,.0f} to {high_sum:,.0f}"


def test_seconds_of_the_parts_add_up_to_the_step():
    _, text = rendered()
    head, _, _, _, ppo = lines_of(text)[:5]
    values = dict(zip(head, ppo, strict=True))
    parts = ["Rollout", "Log-probs", "Update", "Critic", "Overhead"]
    total = sum(float(values[f"{part} (s)"].replace(",", "")) for part in parts)
    assert total == pytest.approx(float(values["Step (s)"].replace(",", "")), abs=0.3)


def test_every_input_is_beneath_the_table():
    rows, text = rendered()
    tables = lines_of(text.replace("\\|", "/"))
    values = dict(zip(tables[8], tables[13], strict=True))
    high = rows[1][1].high
    for owner in (high.shape, high.work, high.how):
        for field in fields(owner):
            shown = float(values[field.name].replace(",", ""))
            assert shown == getattr(owner, field.name), field.name


def test_the_bill_has_both_ends_of_a_run_and_of_all():
    rows, _ = rendered()
    text = bill(rows, BESIDE)
    assert len({len(line) for line in text.splitlines()}) == 1  # aligned
    head, _, grpo, _, other, last = lines_of(text.replace("\\|", "/"))
    values = dict(zip(head, grpo, strict=True))
    low, high = rows[0][1].ends
    assert values["GPU-hours a run"] == f"{low.gpu_hours:,.0f} to {high.gpu_hours:,.0f}"
    assert values["GPU-hours"] == f"{3 * low.gpu_hours:,.0f} to {3 * high.gpu_hours:,.0f}"
    assert (other[0], other[-1]) == ("tests", "1 to 200")
    assert last[-1].split(" to ")[1] == f"{sum(each.high.total for _, each in rows) + 200:,.0f}"


def test_no_rows_are_refused():
    for refused in (lambda: render([]), lambda: bill([])):
        with pytest.raises(ConfigError, match="no runs"):
            refused()
