"""The cost estimate: parts worked by hand, units, scaling, refusals and one published run."""

from dataclasses import fields, replace

import pytest

from gainrl.config.cost import Assumptions
from gainrl.cost.estimate import (
    RunCost,
    Shape,
    Work,
    bill,
    forward_flop,
    render,
    run_cost,
    step_cost,
)
from gainrl.errors import ConfigError

# Small enough to work by hand: 6 sequences of 10 + 10 tokens on 2 GPUs of 1e12 FLOP/s, 1e9 bytes/s.
SHAPE = Shape(parameters=1000, layers=2, hidden=10, kv_width=4, vocabulary=30)
HOW = Assumptions(
    peak_tflops=1.0,
    memory_gb_per_s=1.0,
    train_mfu=0.25,
    forward_mfu=0.5,
    decode_efficiency=0.5,
    decode_batch=1,
    response_share=0.5,
    evaluation_share=0.25,
    prompt_tokens=10.0,
    overhead_seconds=0.0,
)
WORK = Work(
    steps=7,
    prompts=2,
    rollouts=3,
    max_response=20,
    kl=False,
    critic=False,
    evaluation_every=3,
    evaluation_samples=4,
    gpus=2,
)
# 6 sequences x 20 tokens x (2 x 1000 + 4 x 2 x 10 x 20 / 2) FLOP
FLOP = 6 * 20 * 2800

QWEN_7B = Shape(7.616e9, layers=28, hidden=3584, kv_width=512, vocabulary=152_064)
LARGE = replace(WORK, steps=100, prompts=1024, rollouts=8, max_response=3000, gpus=8)
LARGE = replace(LARGE, evaluation_every=5, evaluation_samples=50_000)


def assuming(how, **changes):
    """The same assumptions with some changed."""
    return Assumptions(**{**how.model_dump(), **changes})


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
    step = step_cost(SHAPE, WORK, assuming(HOW, decode_batch=3))
    assert step.decoding == pytest.approx(seconds)
    assert step_cost(SHAPE, WORK, assuming(HOW, decode_batch=300)).decoding == step.decoding


def test_decoding_is_compute_bound_where_memory_is_fast():
    step = step_cost(SHAPE, WORK, assuming(HOW, memory_gb_per_s=1e6))
    flop = 60 * (2 * 1000 + 4 * 2 * 10 * (10 + 10 / 2))
    assert step.decoding == pytest.approx(flop / (2 * 1e12 * 0.5))


def test_old_log_probabilities_are_one_forward():
    step = step_cost(SHAPE, WORK, HOW)
    assert step.old_log_probabilities == pytest.approx(FLOP / (2 * 1e12 * 0.5))
    assert step.reference == step.critic == 0


@pytest.mark.parametrize(("recompute", "passes"), [(True, 4), (False, 3)])
def test_update_is_four_forwards_with_checkpointing_and_three_without(recompute, passes):
    step = step_cost(SHAPE, WORK, assuming(HOW, recompute=recompute))
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
    step = step_cost(
        SHAPE, replace(WORK, kl=True, critic=True), assuming(HOW, overhead_seconds=3.0)
    )
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


def test_a_run_without_tests():
    cost = run_cost(SHAPE, replace(WORK, evaluation_samples=0), HOW)
    assert (cost.tests, cost.test_hours) == (0, 0)
    assert cost.hours == cost.training_hours


def test_units():
    """An hour of overhead a step outweighs everything else here: hours are about the steps."""
    cost = run_cost(SHAPE, WORK, assuming(HOW, overhead_seconds=3600.0), runs=3)
    assert cost.hours == pytest.approx(7, rel=1e-6)
    assert cost.gpu_hours == 2 * cost.hours
    assert cost.total == 3 * cost.gpu_hours
    assert cost.hours == cost.training_hours + cost.test_hours
    assert cost.training_hours == 7 * cost.step.seconds / 3600


def test_twice_the_gpus_halve_the_wall_but_not_the_gpu_hours():
    eight, sixteen = (
        run_cost(QWEN_7B, replace(LARGE, gpus=gpus), Assumptions(overhead_seconds=0.0))
        for gpus in (8, 16)
    )
    assert sixteen.hours == pytest.approx(eight.hours / 2)
    assert sixteen.gpu_hours == pytest.approx(eight.gpu_hours)


def test_overhead_is_paid_on_every_gpu():
    eight, sixteen = (
        run_cost(QWEN_7B, replace(LARGE, gpus=gpus), Assumptions(overhead_seconds=36.0))
        for gpus in (8, 16)
    )
    assert sixteen.gpu_hours - eight.gpu_hours == pytest.approx(100 * 36 / 3600 * 8)


@pytest.mark.parametrize(
    "more",
    [
        *({"steps": 101}, {"prompts": 1025}, {"rollouts": 9}, {"max_response": 3001}),
        *({"epochs_per_batch": 2}, {"kl": True}, {"critic": True}),
        *({"evaluation_every": 4}, {"evaluation_samples": 50_001}),
    ],
)
def test_more_work_costs_more(more):
    how = Assumptions()
    base = run_cost(QWEN_7B, LARGE, how).gpu_hours
    assert run_cost(QWEN_7B, replace(LARGE, **more), how).gpu_hours > base


@pytest.mark.parametrize("name", ["parameters", "layers", "hidden", "kv_width"])
def test_a_larger_model_costs_more(name):
    larger = replace(QWEN_7B, **{name: int(1.1 * getattr(QWEN_7B, name))})
    how = Assumptions()
    assert run_cost(larger, LARGE, how).hours > run_cost(QWEN_7B, LARGE, how).hours


SLOWER = {
    "peak_tflops": 300.0,
    "memory_gb_per_s": 2000.0,
    "train_mfu": 0.3,
    "forward_mfu": 0.3,
    "decode_efficiency": 0.4,
    "decode_batch": 64,
    "response_share": 0.4,
    "evaluation_share": 0.4,
    "prompt_tokens": 300.0,
    "overhead_seconds": 20.0,
}


@pytest.mark.parametrize("name", SLOWER)
def test_every_assumption_matters(name):
    slower = assuming(Assumptions(), **{name: SLOWER[name]})
    base = run_cost(QWEN_7B, LARGE, Assumptions())
    assert run_cost(QWEN_7B, LARGE, slower).hours > base.hours


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: replace(WORK, gpus=0), r"^work\.gpus: 0 is not a whole number from 1 to 1e\+15$"),
        (lambda: replace(WORK, steps=-1), r"work\.steps"),
        (lambda: replace(WORK, prompts=2.5), r"work\.prompts: 2\.5"),
        (lambda: replace(WORK, evaluation_every=0), r"work\.evaluation_every"),
        (lambda: replace(WORK, evaluation_samples=-1), r"work\.evaluation_samples"),
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


def rendered():
    how = Assumptions()
    rows: list[tuple[str, RunCost]] = [
        ("GRPO | x", run_cost(QWEN_7B, LARGE, how, runs=3)),
        ("PPO", run_cost(QWEN_7B, replace(LARGE, critic=True), how)),
    ]
    return rows, render(rows, how)


def test_the_table_has_a_line_a_row_and_their_sum():
    rows, text = rendered()
    head, _, grpo, ppo, last = lines_of(text.replace("\\|", "/"))[:5]
    assert [grpo[0], ppo[0], last[0]] == ["GRPO / x", "PPO", "Sum"]
    values = dict(zip(head, grpo, strict=True))
    assert (values["Runs"], values["GPUs"], values["Steps"]) == ("3", "8", "100")
    assert values["GPU-hours"] == f"{rows[0][1].total:,.1f}"
    redone = 3 * 8 * float(values["Hours"].replace(",", ""))
    assert redone == pytest.approx(rows[0][1].total, rel=1e-3)
    assert dict(zip(head, last, strict=True))["Runs"] == "4"
    assert last[-1] == f"{sum(cost.total for _, cost in rows):,.1f}"


def test_seconds_of_the_parts_add_up_to_the_step():
    _, text = rendered()
    head, _, _, ppo = lines_of(text)[:4]
    values = dict(zip(head, ppo, strict=True))
    parts = ["Rollout", "Log-probs", "Update", "Critic", "Overhead"]
    total = sum(float(values[f"{part} (s)"].replace(",", "")) for part in parts)
    assert total == pytest.approx(float(values["Step (s)"].replace(",", "")), abs=0.3)


def test_every_input_is_beneath_the_table():
    rows, text = rendered()
    tables = lines_of(text.replace("\\|", "/"))
    values = dict(zip(tables[5], tables[8], strict=True))
    for owner in (rows[1][1].shape, rows[1][1].work):
        for field in fields(owner):
            shown = float(values[field.name].replace(",", ""))
            assert shown == getattr(owner, field.name), field.name


@pytest.mark.parametrize("name", [*SLOWER, "recompute"])
def test_every_assumption_is_stated(name):
    rows, text = rendered()
    changed = assuming(Assumptions(), **{name: SLOWER.get(name, False)})
    assert render(rows, changed) != text


def test_the_bill_has_gpu_hours_of_a_run_and_in_all():
    rows, _ = rendered()
    text = bill(rows)
    assert len({len(line) for line in text.splitlines()}) == 1  # aligned
    head, _, grpo, _, last = lines_of(text.replace("\\|", "/"))
    values = dict(zip(head, grpo, strict=True))
    assert values["GPU-hours a run"] == f"{rows[0][1].gpu_hours:,.1f}"
    assert values["GPU-hours"] == f"{3 * rows[0][1].gpu_hours:,.1f}"
    assert last[-1] == f"{sum(cost.total for _, cost in rows):,.1f}"


def test_no_rows_are_refused():
    for refused in (lambda: render([], Assumptions()), lambda: bill([])):
        with pytest.raises(ConfigError, match="no runs"):
            refused()


# --- one published run ---------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_within_a_factor_of_three_of_a_published_run(share):
    """SimpleRL-Zoo (arXiv:2503.18892), the run that 'Angles Don't Lie' cites as [11].

    Its repository (hkust-nlp/simpleRL-reason, README) says about 15 hours for about 100 steps on
    2 x 8 H100-80G, for 7B and 14B models, and gives the command: verl, GRPO, 1024 prompts of 8
    rollouts, up to 8192 tokens, a KL loss. The mean response length is not given there, so a low
    share of the limit has to hold as well as the default.
    """
    h100 = Assumptions(peak_tflops=989.0, memory_gb_per_s=3350.0, response_share=share)
    work = replace(LARGE, max_response=8192, kl=True, evaluation_samples=0, gpus=16)
    assert 240 / 3 < run_cost(QWEN_7B, work, h100).gpu_hours < 240 * 3
