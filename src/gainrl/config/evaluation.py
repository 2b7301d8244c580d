"""Sections of a preset that say how models are tested. No torch.

During training a benchmark is tested as `evaluation` says: cheap, often, for the curves. The final
model of a run, or a model as it is, is tested under a protocol: every sample is kept and graded,
and the tables name the protocol.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from gainrl.config.base import Absent, Count, Distinct, Name, Names, Positive, Section

EngineName = Literal["transformers", "vllm"]


class Evaluation(Section):
    """How checkpoints are tested in training."""

    every: Positive = 5
    """RL steps from one test to the next (the paper: 5, appendix E.2); the start and the last step
    are tested too."""
    samples: Positive = 1
    """Responses to a problem; accuracy is their mean."""
    temperature: float = Field(default=0.0, ge=0)
    """Of the responses; 0 is greedy."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Nucleus that tokens are drawn from; 1 is all of them."""
    max_response: Positive | None = None
    """Longest response, in tokens; None is training.max_response."""
    max_prompt: Annotated[Positive | None, Absent()] = None
    """Longest problem, in tokens; None is what a response leaves of the model's context. A longer
    one counts as wrong and is listed. Protocols go by it too; without it they ask everything that
    leaves room for an answer."""
    batch: Positive = 256
    """Responses that the local backend generates at once."""
    seed: int = 1234
    """Of the responses."""


class Sampled(Section):
    """How one benchmark is sampled, and which pass@k a table shows."""

    samples: Positive = 1
    """Responses to a problem."""
    temperature: float = Field(default=0.0, ge=0)
    """Of the responses; 0 is greedy, for one sample only."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Nucleus that tokens are drawn from; 1 is all of them."""
    max_response: Positive | None = None
    """Longest answer in tokens, which a model's context may cut; None is training.max_response."""
    pass_at: Annotated[tuple[Positive, ...], Distinct] = (1,)
    """The k of the pass@k that are shown, none above `samples`."""

    @model_validator(mode="after")
    def _enough(self) -> Sampled:
        if max(self.pass_at, default=1) > self.samples:
            raise ValueError(f"pass_at {max(self.pass_at)} needs at least as many samples")
        if self.samples > 1 and self.temperature == 0:
            raise ValueError(f"{self.samples} samples at temperature 0 are all the same")
        return self


class Protocol(Sampled):
    """A way to sample benchmarks."""

    benchmarks: dict[Name, dict[str, Any]] = Field(default_factory=dict)
    """Other values of these keys for single benchmarks, by their name in the preset or the
    registry."""

    def of(self, *names: str) -> Sampled:
        """The sampling of a benchmark, known by one of some names."""
        changes = next((self.benchmarks[name] for name in names if name in self.benchmarks), {})
        return Sampled(**{**self.model_dump(exclude={"benchmarks"}), **changes})

    @model_validator(mode="after")
    def _complete(self) -> Protocol:
        for name in self.benchmarks:
            self.of(name)
        return self


_EIGHT = {"samples": 8, "temperature": 0.6, "top_p": 0.95, "pass_at": (1, 8)}
PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(
    {
        # The released scripts: greedy, one sample, as long as in training; pass@8 of Table 2 needs
        # eight samples, whose temperature the paper does not give (DeepCoder's is used).
        "paper": Protocol(benchmarks={"livecodebench": _EIGHT, "codeforces": _EIGHT}),
        # The field's: avg@64 on AIME, avg@16 on AMC, four samples of the larger sets.
        "standard": Protocol(
            samples=4,
            temperature=0.6,
            top_p=0.95,
            max_response=32768,
            benchmarks={
                "aime24": {"samples": 64},
                "amc23": {"samples": 16},
                "livecodebench": _EIGHT,
                "codeforces": _EIGHT,
            },
        ),
    }
)
"""The protocols that every preset knows; keys of `benchmarks` are names of the registry."""


class Testing(Section):
    """Where answers come from when a protocol is followed."""

    __test__ = False  # it is no test class

    engine: EngineName | Literal["auto"] = "auto"
    """'auto' is vllm for models that the preset trains on verl, whose environment has it, else
    transformers."""
    shards: Positive = 1
    """Jobs (or GPUs) that share the problems."""
    batch: Positive = 64
    """Responses that the engine transformers generates at once."""
    seed: Count = 1234
    """Of the responses."""
    patience: Positive = 1800
    """Seconds without an answer after which vLLM is ended."""
    vllm: dict[str, Any] = Field(default_factory=dict)
    """Further arguments of vLLM's engine."""


class Benchmarks(Section):
    """Models as they are, on benchmarks: the table `benchmarks`."""

    models: Names = Field(min_length=1)
    """Which models are tested."""
    benchmarks: Names = Field(min_length=1)
    """On the eval splits of which data sets."""
    protocols: Names = ("paper",)
    """Under which protocols: 'paper', 'standard' or one of the section `protocols`."""
    engines: Annotated[tuple[EngineName, ...], Distinct] | None = None
    """By which engines; None is the one of `testing.engine`."""


class Sandbox(Section):
    """What a generated program may use while it is graded, and how many run at a time."""

    seconds: float = Field(default=10.0, gt=0)
    """Time by the clock, all tests of a program together, less what it waits for a processor."""
    cpu_seconds: Positive = 10
    """Computing time of each process."""
    memory_mb: Positive = 512
    """Address space of each process, MiB (20 of them the interpreter's own)."""
    processes: Positive = 8
    """Processes and threads of a program."""
    output_bytes: Positive = 1 << 20
    """What a program may write to its output."""
    unsafe: bool = False
    """Also grade where no isolation works, with limits but the user's files in reach."""
    workers: Positive = 2
    """Programs that a process grades at a time; on a machine, no more than there are processors."""
