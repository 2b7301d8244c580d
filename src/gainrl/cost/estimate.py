"""GPU-hours of RL fine-tuning, estimated before anything is paid for (GRPO or PPO, verl and vLLM).

FLOP and bytes are counted and divided by the throughput that the preset's `cost` assumes. Work is
spread evenly over the GPUs (data parallel; communication and idle time are in the shares of the
peak).

FLOP per token (Kaplan et al. 2020, arXiv:2001.08361, section 2.1): 2 P forward and 4 P backward,
with P all parameters, plus 4 * layers * hidden * context / 2 forward in attention. An untied input
embedding costs no FLOP and is counted all the same: P is high by hidden * vocabulary there.
All sequences have the mean length; the spread of lengths, which raises attention, is left out.
tests/cost/test_cost.py compares an estimate with one published run, to a factor of three.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gainrl.config.cost import Assumptions
from gainrl.errors import ConfigError

BYTES = 2  # of a weight or of a number in the KV cache (bf16)
HOUR = 3600  # seconds
MOST = 1e15  # of any number here; beyond it something is not finite


def _check(owner: Any, names: str, least: float, whole: bool = True) -> None:
    """Refuse fields that are no (whole) numbers from `least` to MOST."""
    for name in names.split():
        value = getattr(owner, name)
        if not (isinstance(value, int if whole else int | float) and least <= value <= MOST):
            rule = f"a {'whole ' * whole}number from {least:.12g} to {MOST:g}"
            raise ConfigError(f"{type(owner).__name__.lower()}.{name}: {value} is not {rule}")


@dataclass(frozen=True)
class Shape:
    """A model's size.

    parameters: all of them, P. layers, hidden: of the transformer. kv_width: key-value heads times
    head dimension. vocabulary: rows of the output head, which prefill runs for its last token only.
    """

    parameters: float
    layers: int
    hidden: int
    kv_width: int
    vocabulary: int

    def __post_init__(self) -> None:
        _check(self, "layers hidden kv_width vocabulary", 1)
        _check(self, "parameters", self.hidden * self.vocabulary + 1, whole=False)


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one run does.

    steps: RL steps. prompts: of a step. rollouts: of a prompt. max_response: tokens.
    epochs_per_batch: updates over the same rollouts. kl: a frozen reference model is read.
    critic: a value model of the policy's size is trained (PPO). evaluation_every: steps from one
    test to the next; the last step is tested too, the start model is not. evaluation_samples:
    answers of a test, problems times samples, summed over benchmarks; 0: no tests. gpus: of a run.
    """

    steps: int
    prompts: int
    rollouts: int
    max_response: int
    epochs_per_batch: int = 1
    kl: bool
    critic: bool
    evaluation_every: int
    evaluation_samples: int
    gpus: int

    def __post_init__(self) -> None:
        positive = "steps prompts rollouts max_response epochs_per_batch evaluation_every gpus"
        _check(self, positive, 1)
        _check(self, "evaluation_samples", 0)


@dataclass(frozen=True)
class StepCost:
    """Wall-clock seconds of one RL step by part, and its tokens over all rollouts."""

    prefill: float
    decoding: float
    old_log_probabilities: float
    reference: float
    update: float
    critic: float
    overhead: float
    prompt_tokens: float
    response_tokens: float

    @property
    def rollout(self) -> float:
        """Seconds of generation: prefill and decoding."""
        return self.prefill + self.decoding

    @property
    def seconds(self) -> float:
        """Seconds of the step: its parts run one after another."""
        passes = self.old_log_probabilities + self.reference + self.update + self.critic
        return self.rollout + passes + self.overhead


@dataclass(frozen=True)
class RunCost:
    """The cost of one run; `runs` equal ones (seeds) count in `total` only.

    tests: of a run. training_hours, test_hours: wall clock. rollout_tokens: responses of all steps.
    """

    shape: Shape
    work: Work
    step: StepCost
    tests: int
    training_hours: float
    test_hours: float
    rollout_tokens: float
    runs: int = 1

    def __post_init__(self) -> None:
        _check(self, "runs", 1)

    @property
    def hours(self) -> float:
        """Wall-clock hours, tests included."""
        return self.training_hours + self.test_hours

    @property
    def gpu_hours(self) -> float:
        """GPU-hours: wall-clock hours times GPUs."""
        return self.hours * self.work.gpus

    @property
    def total(self) -> float:
        """GPU-hours of all `runs`."""
        return self.runs * self.gpu_hours


def forward_flop(shape: Shape, length: float) -> float:
    """FLOP of one forward pass over a sequence of `length` tokens."""
    return length * (2 * shape.parameters + 4 * shape.layers * shape.hidden * length / 2)


def _generation(
    shape: Shape, sequences: int, share: float, work: Work, how: Assumptions
) -> tuple[float, float]:
    """Seconds of prefill and of decoding for answers of mean length `share` * max_response.

    A decoding step reads all weights, and the cached keys and values of the sequences it extends. A
    GPU takes as many steps as its tokens over decode_batch, but no fewer than max_response: the
    longest answer runs to the limit, in a batch that empties. Reads or FLOP, whichever is longer.
    """
    response, prompt = share * work.max_response, how.prompt_tokens
    speed = work.gpus * how.peak_tflops * 1e12 * how.forward_mfu
    skipped = 2 * shape.hidden * shape.vocabulary * (prompt - 1)  # only the last token needs it
    prefill = sequences * (forward_flop(shape, prompt) - skipped) / speed
    tokens, context = sequences * response, prompt + response / 2
    flop = tokens * (2 * shape.parameters + 4 * shape.layers * shape.hidden * context)
    steps = max(tokens / work.gpus / how.decode_batch, work.max_response)
    cache = tokens / work.gpus * 2 * shape.layers * shape.kv_width * context
    read = BYTES * (steps * shape.parameters + cache)
    bandwidth = how.memory_gb_per_s * 1e9 * how.decode_efficiency
    return prefill, max(read / bandwidth, flop / speed)


def step_cost(shape: Shape, work: Work, assumptions: Assumptions) -> StepCost:
    """One RL step: seconds by part, and tokens. Padding is never computed."""
    how, sequences = assumptions, work.prompts * work.rollouts
    response = how.response_share * work.max_response
    prefill, decoding = _generation(shape, sequences, how.response_share, work, how)
    flop = sequences * forward_flop(shape, how.prompt_tokens + response)
    ideal = flop / (work.gpus * how.peak_tflops * 1e12)  # seconds of a forward at the peak
    forward = ideal / how.forward_mfu
    passes = 4 if how.recompute else 3  # forward, backward (2) and recomputation
    update = work.epochs_per_batch * passes * ideal / how.train_mfu
    return StepCost(
        prefill=prefill,
        decoding=decoding,
        old_log_probabilities=forward,
        reference=forward if work.kl else 0.0,
        update=update,
        critic=forward + update if work.critic else 0.0,
        overhead=how.overhead_seconds,
        prompt_tokens=sequences * how.prompt_tokens,
        response_tokens=sequences * response,
    )


def run_cost(shape: Shape, work: Work, assumptions: Assumptions, runs: int = 1) -> RunCost:
    """One run with its tests, standing for `runs` equal ones; loading and saving are left out."""
    step, tests, seconds = step_cost(shape, work, assumptions), 0, 0.0
    if samples := work.evaluation_samples:
        tests = math.ceil(work.steps / work.evaluation_every)
        seconds = sum(_generation(shape, samples, assumptions.evaluation_share, work, assumptions))
    hours, test_hours = work.steps * step.seconds / HOUR, tests * seconds / HOUR
    rollout_tokens = work.steps * step.response_tokens
    return RunCost(shape, work, step, tests, hours, test_hours, rollout_tokens, runs)


def bill(rows: Sequence[tuple[str, RunCost]]) -> str:
    """Markdown: GPU-hours of each row, a run and in all, and their sum. Refuses an empty list."""
    lines = [
        {
            "Run": label,
            "Runs": f"{cost.runs:,}",
            "GPUs": f"{cost.work.gpus:,}",
            "Steps": f"{cost.work.steps:,}",
            "Hours": f"{cost.hours:,.1f}",
            "GPU-hours a run": f"{cost.gpu_hours:,.1f}",
            "GPU-hours": f"{cost.total:,.1f}",
        }
        for label, cost in _named(rows)
    ]
    return listing([*lines, _sum(rows)])


def render(rows: Sequence[tuple[str, RunCost]], assumptions: Assumptions) -> str:
    """Markdown: a line a row and the sum, what each row is, and what the numbers rest on, in words.

    `rows` are labels and costs, all made with `assumptions`. Refuses an empty list (ConfigError).
    """
    named = _named(rows)
    hours = sum(cost.runs * cost.hours for _, cost in rows)
    words = "Seconds are of a step, hours and tokens of a run; GPU-hours are runs x GPUs x hours. "
    words += f"One after another the runs take {hours:,.1f} hours."
    costs, inputs = [_costs(*row) for row in named], [_inputs(*row) for row in named]
    parts = [listing([*costs, _sum(rows)]), words, listing(inputs), _stated(assumptions)]
    return "\n\n".join(parts)


def _named(rows: Sequence[tuple[str, RunCost]]) -> list[tuple[str, RunCost]]:
    if not rows:
        raise ConfigError("no runs to estimate the cost of")
    return [(label.replace("|", "\\|"), cost) for label, cost in rows]


def _sum(rows: Sequence[tuple[str, RunCost]]) -> dict[str, str]:
    runs, total = sum(cost.runs for _, cost in rows), sum(cost.total for _, cost in rows)
    return {"Run": "**Sum**", "Runs": f"{runs:,}", "GPU-hours": f"**{total:,.1f}**"}


def _costs(label: str, cost: RunCost) -> dict[str, str]:
    step, work = cost.step, cost.work
    passes = step.old_log_probabilities + step.reference
    parts = {"Rollout": step.rollout, "Log-probs": passes, "Update": step.update}
    parts |= {"Critic": step.critic, "Overhead": step.overhead, "Step": step.seconds}
    line = {"Run": label, "Runs": f"{cost.runs:,}", "GPUs": f"{work.gpus:,}"}
    line |= {"Steps": f"{work.steps:,}", "Tokens (M)": f"{cost.rollout_tokens / 1e6:,.1f}"}
    line |= {f"{name} (s)": f"{seconds:,.1f}" for name, seconds in parts.items()}
    line |= {"Tests (h)": f"{cost.test_hours:,.2f}", "Hours": f"{cost.hours:,.2f}"}
    return {**line, "GPU-hours": f"{cost.total:,.1f}"}


def _inputs(label: str, cost: RunCost) -> dict[str, str]:
    values = {**vars(cost.shape), **vars(cost.work), "tests": cost.tests}
    shown = {name: f"{value:,.12g}" for name, value in values.items()}
    return {"run": label, **shown}


def listing(rows: Sequence[dict[str, str]]) -> str:
    """Markdown that is also aligned in a terminal: the first row's keys, then a line a row."""
    head = list(rows[0])
    cells = [head, *([row.get(name, "") for name in head] for row in rows)]
    wide = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
    rule = ["-" * wide[0], *("-" * (width - 1) + ":" for width in wide[1:])]
    lines = [[line[0].ljust(wide[0]), *map(str.rjust, line[1:], wide[1:])] for line in cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]])


def _stated(how: Assumptions) -> str:
    update = "8 P (gradient checkpointing)" if how.recompute else "6 P (no gradient checkpointing)"
    return f"""Assumed, not measured (P is the parameters; kl and critic: 1 is yes):

- a GPU has {how.peak_tflops:g} TFLOP/s in bf16 and {how.memory_gb_per_s:g} GB/s of memory bandwidth
- a forward pass is 2 P FLOP a token at {how.forward_mfu:g} of the peak, an update {update} at
  {how.train_mfu:g}; attention adds 2 x layers x hidden x length to each 2 P (arXiv:2001.08361, 2.1)
- a rollout is prefill (without the output head) and decoding: a step of it reads 2 P bytes and, of
  {how.decode_batch:,} sequences a GPU, the KV cache (4 x layers x kv_width bytes a token), at
  {how.decode_efficiency:g} of the bandwidth, or takes as long as its FLOP at {how.forward_mfu:g}
- a GPU holds the whole model in decoding; the longest response runs to max_response
- log-probs are one forward pass, two with kl; a critic is one and an update, of the policy's size
- mean tokens, without padding: a prompt {how.prompt_tokens:g}, a response {how.response_share:g} x
  max_response, in tests {how.evaluation_share:g} x max_response
- weight sync, reward and scheduling: {how.overhead_seconds:g} s a step; loading and saving: none
- every part of a step but the update runs once; that runs epochs_per_batch times, the critic's too
"""
