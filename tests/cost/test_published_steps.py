"""Estimates against step times that others have published, with nothing but the defaults.

The slow ends of the speeds were set by verl issue 7412, so that it lies inside tells nothing of
them; the other two were not used.
"""

from dataclasses import replace
from itertools import pairwise

import pytest

from gainrl import plan
from gainrl.cost.estimate import Shape, Work, run_cost, step_cost
from gainrl.cost.published import LEVELS, PUBLISHED, published
from gainrl.cost.rows import Costs
from gainrl.models.shapes import Architecture
from gainrl.plan import Layout

R1_15B = Shape(1.777e9, layers=28, hidden=1536, kv_width=256, vocabulary=151_936)
QWEN_7B = Shape(7.616e9, layers=28, hidden=3584, kv_width=512, vocabulary=152_064)
QWEN3_4B = Architecture(
    layers=36, hidden=2560, feed_forward=9728, heads=32, kv_heads=8, head=128,
    vocabulary=151_936, tied=True, head_norm=True,
)  # fmt: skip
STEP = Work(
    steps=1,
    prompts=128,
    rollouts=8,
    response=1.0,
    longest=8192,
    kl=True,
    critic=False,
    evaluation_every=5,
    evaluation_samples=0,
    evaluation_response=1.0,
    evaluation_longest=1.0,
    save_every=20,
    gpus=8,
)


@pytest.fixture(scope="module")
def speeds(tmp_path_factory):
    """Low and high ends of the defaults, on an A100."""
    empty = Layout("paper", tmp_path_factory.mktemp("nothing"))
    costs = Costs(plan.load("experiments/paper.yaml"), empty, job_hours=24.0)
    return [costs.speeds("qwen2.5-math-7b", end) for end in (0, 1)]


def seconds(shape, works, speeds, **gpu):
    """A step between its ends."""
    return [
        step_cost(shape, work, replace(how, **gpu)).seconds
        for work, how in zip(works, speeds, strict=True)
    ]


def test_deepscaler_at_8k_on_eight_a100(speeds):
    """rllm issue 29: 394 s a step, 128 prompts x 8, DeepSeek-R1-Distill-Qwen-1.5B.

    Mean responses are those of the report on DeepScaleR, 5,500 tokens at first and 3,500 later.
    """
    works = [replace(STEP, response=tokens) for tokens in (3500, 5500)]
    low, high = seconds(R1_15B, works, speeds)
    assert low < 394 < high
    assert (394 / low, high / 394) == pytest.approx((2.52, 1.78), abs=0.01)


def test_qwen3_4b_on_four_4090(speeds):
    """verl issue 7412, a step of 1,164 s: of it 541 generation, 72 and 72 log-probs, 472 update.

    256 prompts x 5 of 165 tokens, 1,176 tokens a response (from its milliseconds a token), at
    most 3,072. An RTX 4090 has 165.2 TFLOP/s in bf16 (with fp32 sums) and 1,008 GB/s.
    """
    shape = Shape(
        QWEN3_4B.parameters, QWEN3_4B.layers, QWEN3_4B.hidden, QWEN3_4B.kv_width,
        QWEN3_4B.vocabulary,
    )  # fmt: skip
    work = replace(STEP, prompts=256, rollouts=5, response=1176, longest=3072, gpus=4)
    gpu = {"peak_tflops": 165.2, "memory_gb_per_s": 1008.0, "prompt_tokens": 165.0}
    low, high = seconds(shape, [work, work], speeds, **gpu)
    assert low < 1164 < high
    assert (1164 / low, high / 1164) == pytest.approx((2.34, 1.10), abs=0.01)
    parts = step_cost(shape, work, replace(speeds[1], **gpu))
    assert parts.update > 472
    assert parts.reference > 72
    assert parts.rollout > 541


def test_simplerl_zoo_on_sixteen_h100(speeds):
    """SimpleRL-Zoo (arXiv:2503.18892), the run that 'Angles Don't Lie' cites as [11].

    Its repository (hkust-nlp/simpleRL-reason, README) says about 15 hours for about 100 steps on
    2 x 8 H100-80G, for 7B and 14B models, and gives the command: verl, GRPO, 1024 prompts of 8
    rollouts, up to 8192 tokens, a KL loss. The mean response is not given: that of a model of which
    nothing is known, 248 tokens to 0.67 of the limit.
    """
    gpu = {"peak_tflops": 989.0, "memory_gb_per_s": 3350.0}
    ends = []
    for tokens, how in zip((248, 5500), speeds, strict=True):
        work = replace(STEP, steps=100, prompts=1024, response=tokens, gpus=16)
        ends.append(run_cost(QWEN_7B, work, replace(how, **gpu)).gpu_hours)
    assert ends[0] < 240 < ends[1]


# --- published lengths ---------------------------------------------------------------------------


def test_answers_to_harder_data_are_no_shorter():
    for model in {each.model for each in PUBLISHED}:
        ends = [published(model, level) for level in range(3)]
        assert all(end is not None and end[0] <= end[1] for end in ends), model
        for easier, harder in pairwise(ends):
            assert easier is not None
            assert harder is not None
            assert easier[0] <= harder[0], model
            assert easier[1] <= harder[1], model


def test_a_length_that_is_published_of_the_very_data_is_found():
    assert published("Qwen/Qwen2.5-0.5B-Instruct", LEVELS["gsm8k"])[:2] == (274, 274)
    assert published("Qwen/Qwen2.5-0.5B-Instruct", LEVELS["math"])[:2] == (274, 700)
    assert published("Qwen/Qwen2.5-Math-7B-Instruct", LEVELS["math500"])[:2] == (385, 385)
    assert published("some/model", 0) is None
