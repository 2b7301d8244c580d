"""GPU-hours of RL fine-tuning, estimated before anything is paid for (GRPO or PPO, verl and vLLM).

FLOP and bytes are counted and divided by a throughput (`Speeds`). Work is spread evenly over the
GPUs (data parallel; communication and idle time are in the shares of the peak). An `Estimate` has
two ends: short responses at the highest published speed, and long ones at the lowest.

FLOP per token (Kaplan et al. 2020, arXiv:2001.08361, section 2.1): 2 P forward and 4 P backward,
with P all parameters, plus 4 * layers * hidden * context / 2 forward in attention. An untied input
embedding costs no FLOP and is counted all the same: P is high by hidden * vocabulary there.
All sequences have the mean length; the spread of lengths, which raises attention, is left out.
tests/cost/test_published.py compares estimates with published runs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

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

    steps: RL steps. prompts: of a step. rollouts: of a prompt. response: mean tokens; longest:
    tokens of the longest response of a step, which decoding waits for. epochs_per_batch: updates
    over the same rollouts. kl: a frozen reference model is read. critic: a value model of the
    policy's size is trained (PPO). evaluation_every: steps from one test to the next; the last step
    is tested too, the start model is not. evaluation_samples: answers of a test, problems times
    samples, summed over benchmarks; 0: no tests. evaluation_response, evaluation_longest: their
    tokens, as above. save_every: steps from one checkpoint to the next, the last step's too. gpus:
    of a run. job_hours: what a job may take; a longer run starts again.
    """

    steps: int
    prompts: int
    rollouts: int
    response: float
    longest: float
    epochs_per_batch: int = 1
    kl: bool
    critic: bool
    evaluation_every: int
    evaluation_samples: int
    evaluation_response: float
    evaluation_longest: float
    save_every: int
    gpus: int
    job_hours: float = MOST

    def __post_init__(self) -> None:
        positive = "steps prompts rollouts epochs_per_batch evaluation_every save_every gpus"
        _check(self, positive, 1)
        _check(self, "evaluation_samples", 0)
        _check(self, "response evaluation_response job_hours", 1e-3, whole=False)
        _check(self, "longest", self.response, whole=False)
        _check(self, "evaluation_longest", self.evaluation_response, whole=False)


@dataclass(frozen=True, kw_only=True)
class Speeds:
    """How fast a run's machines are; shares are of the peak and of the bandwidth of a GPU.

    decode_batch: most sequences that a GPU decodes together. prompt_tokens: mean. recompute:
    gradient checkpointing. Seconds: of a step beside its parts, of a test beside its answers, of a
    start of the job, and of a checkpoint.
    """

    peak_tflops: float
    memory_gb_per_s: float
    train_mfu: float
    forward_mfu: float
    decode_efficiency: float
    decode_batch: int
    prompt_tokens: float
    recompute: bool
    overhead_seconds: float
    test_seconds: float
    start_seconds: float
    save_seconds: float


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

    tests, saves, starts: of a run. Hours are wall clock; training_hours: of all steps.
    rollout_tokens: responses of all steps.
    """

    shape: Shape
    work: Work
    how: Speeds
    step: StepCost
    tests: int
    saves: int
    starts: int
    training_hours: float
    test_hours: float
    save_hours: float
    start_hours: float
    rollout_tokens: float
    runs: int = 1

    def __post_init__(self) -> None:
        _check(self, "runs", 1)

    @property
    def hours(self) -> float:
        """Wall-clock hours: steps, tests, checkpoints and starts."""
        return self.training_hours + self.test_hours + self.save_hours + self.start_hours

    @property
    def gpu_hours(self) -> float:
        """GPU-hours: wall-clock hours times GPUs."""
        return self.hours * self.work.gpus

    @property
    def total(self) -> float:
        """GPU-hours of all `runs`."""
        return self.runs * self.gpu_hours


@dataclass(frozen=True)
class Estimate:
    """Equal runs between two ends."""

    low: RunCost
    high: RunCost

    @property
    def ends(self) -> tuple[RunCost, RunCost]:
        """Low, high."""
        return self.low, self.high


@dataclass(frozen=True)
class Other:
    """Work beside the runs, on one GPU or shared by several: GPU-hours in all, low and high."""

    name: str
    low: float
    high: float


def forward_flop(shape: Shape, length: float) -> float:
    """FLOP of one forward pass over a sequence of `length` tokens."""
    return length * (2 * shape.parameters + 4 * shape.layers * shape.hidden * length / 2)


def prefill_seconds(shape: Shape, sequences: float, gpus: int, how: Speeds) -> float:
    """Seconds in which some GPUs read that many prompts; only a prompt's last token has logits."""
    skipped = 2 * shape.hidden * shape.vocabulary * (how.prompt_tokens - 1)
    flop = sequences * (forward_flop(shape, how.prompt_tokens) - skipped)
    return flop / (gpus * how.peak_tflops * 1e12 * how.forward_mfu)


def decoding_seconds(
    shape: Shape, sequences: float, response: float, longest: float, gpus: int, how: Speeds
) -> float:
    """Seconds in which some GPUs write that many responses of a mean length.

    A decoding step reads all weights, and the cached keys and values of the sequences it extends. A
    GPU takes as many steps as its tokens over decode_batch, but no fewer than `longest`: the
    longest response ends in a batch that empties. Reads or FLOP, whichever is longer.
    """
    tokens, context = sequences * response, how.prompt_tokens + response / 2
    flop = tokens * (2 * shape.parameters + 4 * shape.layers * shape.hidden * context)
    steps = max(tokens / gpus / how.decode_batch, longest)
    cache = tokens / gpus * 2 * shape.layers * shape.kv_width * context
    read = BYTES * (steps * shape.parameters + cache)
    bandwidth = how.memory_gb_per_s * 1e9 * how.decode_efficiency
    return max(read / bandwidth, flop / (gpus * how.peak_tflops * 1e12 * how.forward_mfu))


def answer_hours(
    shape: Shape, answers: float, response: float, longest: float, gpus: int, how: Speeds
) -> float:
    """GPU-hours of answers outside of runs: prompts read, responses written."""
    seconds = prefill_seconds(shape, answers, gpus, how)
    seconds += decoding_seconds(shape, answers, response, longest, gpus, how)
    return gpus * seconds / HOUR


def step_cost(shape: Shape, work: Work, how: Speeds) -> StepCost:
    """One RL step: seconds by part, and tokens. Padding is never computed."""
    sequences = work.prompts * work.rollouts
    flop = sequences * forward_flop(shape, how.prompt_tokens + work.response)
    ideal = flop / (work.gpus * how.peak_tflops * 1e12)  # seconds of a forward at the peak
    forward = ideal / how.forward_mfu
    passes = 4 if how.recompute else 3  # forward, backward (2) and recomputation
    update = work.epochs_per_batch * passes * ideal / how.train_mfu
    lengths = (work.response, work.longest)
    return StepCost(
        prefill=prefill_seconds(shape, sequences, work.gpus, how),
        decoding=decoding_seconds(shape, sequences, *lengths, work.gpus, how),
        old_log_probabilities=forward,
        reference=forward if work.kl else 0.0,
        update=update,
        critic=forward + update if work.critic else 0.0,
        overhead=how.overhead_seconds,
        prompt_tokens=sequences * how.prompt_tokens,
        response_tokens=sequences * work.response,
    )


def run_cost(shape: Shape, work: Work, how: Speeds, runs: int = 1) -> RunCost:
    """One run with its tests, checkpoints and starts, standing for `runs` equal ones."""
    step, tests, seconds = step_cost(shape, work, how), 0, 0.0
    if samples := work.evaluation_samples:
        tests = math.ceil(work.steps / work.evaluation_every)
        lengths = (work.evaluation_response, work.evaluation_longest)
        seconds = how.test_seconds + prefill_seconds(shape, samples, work.gpus, how)
        seconds += decoding_seconds(shape, samples, *lengths, work.gpus, how)
    saves = math.ceil(work.steps / work.save_every)
    hours, test_hours = work.steps * step.seconds / HOUR, tests * seconds / HOUR
    save_hours = saves * how.save_seconds / HOUR
    starts = math.ceil((hours + test_hours + save_hours) / work.job_hours)
    return RunCost(
        shape=shape,
        work=work,
        how=how,
        step=step,
        tests=tests,
        saves=saves,
        starts=starts,
        training_hours=hours,
        test_hours=test_hours,
        save_hours=save_hours,
        start_hours=starts * how.start_seconds / HOUR,
        rollout_tokens=work.steps * step.response_tokens,
        runs=runs,
    )
