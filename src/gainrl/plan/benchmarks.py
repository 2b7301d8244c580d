"""Which models a preset tests under a protocol, and where the answers lie. No torch."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from gainrl.config.evaluation import PROTOCOLS, EngineName
from gainrl.config.preset import Preset
from gainrl.data import registry
from gainrl.errors import ConfigError, nearest
from gainrl.plan.backends import engine_of
from gainrl.plan.checks import check_names
from gainrl.plan.datasets import rendering_slice
from gainrl.plan.layout import Layout, RunKey
from gainrl.plan.runs import runs

ENGINES = get_args(EngineName)
SAMPLES = "samples.parquet"
SCORE = "score.json"
_RUN = re.compile(r"runs/([^/]+)/([^/]+)/([^/]+)/seed(\d+)")
_START = re.compile(r"evals/([^/]+)")


@dataclass(frozen=True)
class Test:
    """One model on one benchmark under one protocol; run: None is the model as it is."""

    __test__ = False  # it is no test class

    model: str
    benchmark: str
    protocol: str
    engine: EngineName
    run: RunKey | None = None

    @property
    def subject(self) -> str:
        """The folder of what is tested, below the preset's: a run's, or the start model's tests."""
        if self.run is None:
            return f"evals/{self.model}"
        return f"runs/{self.run.parent}/seed{self.run.seed}"

    def folder(self, layout: Layout) -> Path:
        """Where a test's files lie."""
        name = f"{self.protocol}-{self.engine}"
        return layout.home / self.subject / "benchmarks" / self.benchmark / name

    def samples(self, layout: Layout) -> Path:
        """Every answer with its grade."""
        return self.folder(layout) / SAMPLES

    def score(self, layout: Layout) -> Path:
        """What the answers come to; written last."""
        return self.folder(layout) / SCORE

    def weights(self, layout: Layout) -> Path:
        """The model's folder."""
        return layout.model(self.model) if self.run is None else layout.trained(self.run)

    def ready(self, layout: Layout) -> Path:
        """The file that is there once the model is complete."""
        return layout.model_note(self.model) if self.run is None else layout.done(self.run)


def parse(preset: Preset, subject: str, benchmark: str, protocol: str, engine: str) -> Test:
    """The test that some names stand for.

    Raises:
        ConfigError: the preset does not know one of them.
    """
    if match := _RUN.fullmatch(subject):
        model, dataset, method, seed = match.groups()
        check_names(preset, {"model": model, "dataset": dataset, "method": method})
        run = RunKey(model, dataset, method, int(seed))
    elif match := _START.fullmatch(subject):
        run, model = None, match[1]
    else:
        raise ConfigError(f"'{subject}' is neither evals/MODEL nor runs/MODEL/DATA/METHOD/seedK")
    check_names(preset, {"model": model, "benchmark": benchmark})
    protocols = {**PROTOCOLS, **preset.protocols}
    if protocol not in protocols:
        raise ConfigError(
            f"preset '{preset.preset}' has no protocol '{protocol}'{nearest(protocol, protocols)}"
        )
    if engine not in ENGINES:
        raise ConfigError(f"unknown engine '{engine}'{nearest(engine, ENGINES)}")
    return Test(model, benchmark, protocol, engine, run)  # type: ignore[arg-type]


def engine_for(preset: Preset, benchmark: str, model: str) -> EngineName:
    """Which engine answers: the preset's, or that of the backend which trains for the benchmark."""
    asked = preset.testing.engine
    return engine_of(preset, benchmark, model) if asked == "auto" else asked


def final_tests(preset: Preset, experiments: Iterable[str]) -> list[Test]:
    """The tests that some experiments want of their final models and of the start models."""
    found: dict[Test, None] = {}
    for name in experiments:
        experiment = preset.experiments[name]
        for key in runs(preset, [name]):
            for benchmark in preset.tested_on(name, key.dataset):
                for protocol in experiment.final:
                    engine = engine_for(preset, benchmark, key.model)
                    start = preset.start_of(key.model, key.seed)
                    for model, run in ((start, None), (key.model, key)):
                        found[Test(model, benchmark, protocol, engine, run)] = None
    return list(found)


def start_tests(preset: Preset) -> list[Test]:
    """The tests of models as they are that the preset's section `benchmarks` asks for."""
    wanted = preset.benchmarks
    if wanted is None:
        return []
    return [
        Test(start, benchmark, protocol, engine)
        for model in wanted.models
        for start in preset.starts(model)
        for benchmark in wanted.benchmarks
        for protocol in wanted.protocols
        for engine in wanted.engines or (engine_for(preset, benchmark, model),)
    ]


def test_slice(preset: Preset, test: Test) -> dict[str, Any]:
    """What the answers of a test and their grades depend on beside input files."""
    spec = preset.datasets[test.benchmark]
    training = preset.training_for(test.benchmark, test.model)
    grader = registry.grader_of(spec)
    return {
        "sampled": preset.sampled(test.protocol, test.benchmark).fingerprint(),
        "max_response": training.max_response,
        **rendering_slice(preset, test.model, test.benchmark),
        "dtype": preset.spec(test.model).dtype,
        "engine": test.engine,
        "seed": preset.testing.seed,
        **preset.fingerprint(include={"arithmetic"}),
        "grader": grader,
        **({"answer_in": spec.answer_in} if spec.answer_in else {}),
        "sandbox": preset.sandbox.fingerprint(exclude={"workers"}) if grader == "code" else None,
        **({"vllm": preset.testing.vllm} if test.engine == "vllm" else {}),
    }


test_slice.__test__ = False  # type: ignore[attr-defined]
