"""What a preset's runs cost, between two ends: their work and speeds, from whatever is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from statistics import median

from gainrl import plan
from gainrl.config.preset import Preset
from gainrl.config.training import Training
from gainrl.cost.estimate import Estimate, Shape, Speeds, Work, run_cost
from gainrl.cost.published import LONGEST_OVER_MEAN
from gainrl.cost.responses import Mean, Responses
from gainrl.models import memory
from gainrl.models.shapes import architecture
from gainrl.plan import Layout, RunKey
from gainrl.plan.backends import Backend
from gainrl.training import algorithms

LOW, HIGH = 0, 1


@dataclass(frozen=True)
class Row:
    """Runs that differ by their seed alone; no cost if their backend is not distributed."""

    keys: tuple[RunKey, ...]
    cost: Estimate | None

    @property
    def name(self) -> str:
        """Model, data set and method."""
        return self.keys[0].parent


@dataclass(frozen=True)
class Costs:
    """The costs of a preset.

    job_hours: what a training job may take on the cluster. lengths: what was looked up, by model
    and data set, for the words under the bill.
    """

    preset: Preset
    layout: Layout
    job_hours: float
    lengths: dict[tuple[str, str], Mean] = field(default_factory=dict)

    @cached_property
    def responses(self) -> Responses:
        """Where mean lengths come from."""
        return Responses(self.preset, self.layout)

    def rows(self) -> list[Row]:
        """The runs, those of equal model, data set and method together.

        Raises:
            ModelError: the size of a model cannot be known.
            DataError: a file that has measurements is damaged.
        """
        groups: dict[str, list[RunKey]] = {}
        for key in plan.runs(self.preset):
            groups.setdefault(key.parent, []).append(key)
        return [Row(tuple(keys), self._estimate(keys)) for keys in groups.values()]

    def _estimate(self, keys: list[RunKey]) -> Estimate | None:
        key = keys[0]
        if not self.backend(key).distributed:
            return None
        shape = self.shape(key.model)
        low, high = (
            run_cost(shape, self._work(key, end), self.speeds(key.model, end), runs=len(keys))
            for end in (LOW, HIGH)
        )
        return Estimate(low, high)

    def training(self, row: Row) -> Training:
        """The section `training` of a row's runs."""
        key = row.keys[0]
        return self.preset.training_for(key.dataset, key.model, key.method)

    def backend(self, key: RunKey) -> Backend:
        """The backend of a run."""
        return plan.backend_of(self.preset, key.dataset, key.model)

    def shape(self, model: str) -> Shape:
        """The size of a model (ModelError as `rows`)."""
        if model not in self._shapes:
            found = architecture(self.preset.models[model], model)
            self._shapes[model] = Shape(
                parameters=found.parameters,
                layers=found.layers,
                hidden=found.hidden,
                kv_width=found.kv_width,
                vocabulary=found.vocabulary,
            )
        return self._shapes[model]

    @cached_property
    def _shapes(self) -> dict[str, Shape]:
        return {}

    # --- lengths ---------------------------------------------------------------------------------

    def length(self, model: str, dataset: str, limit: int, end: int) -> tuple[float, float]:
        """Mean and longest response at an end, tokens."""
        found = self.responses.of(model, dataset, limit)
        self.lengths[model, dataset] = found
        mean = (found.low, found.high)[end]
        return mean, (min(limit, LONGEST_OVER_MEAN[0] * mean), limit)[end]

    def _work(self, key: RunKey, end: int) -> Work:
        preset = self.preset
        training = preset.training_for(key.dataset, key.model, key.method)
        evaluation = preset.evaluation_for(key.dataset, key.model)
        response, longest = self.length(key.model, key.dataset, training.max_response, end)
        tests = list(self._tests(key, evaluation.samples, end))
        answers = sum(count for count, _, _ in tests)
        tokens = sum(count * mean for count, mean, _ in tests)
        return Work(
            steps=training.steps,
            prompts=training.prompts,
            rollouts=training.rollouts,
            response=response,
            longest=longest,
            kl=training.kl > 0,
            critic=algorithms.named(preset.methods[key.method].algorithm).critic,
            epochs_per_batch=training.epochs,
            evaluation_every=evaluation.every,
            evaluation_samples=answers,
            evaluation_response=tokens / answers if answers else 1.0,
            evaluation_longest=max((most for _, _, most in tests), default=1.0),
            save_every=training.save_every,
            gpus=self.backend(key).resources(preset).gpus,
            job_hours=self.job_hours,
        )

    def _tests(self, key: RunKey, samples: int, end: int) -> Iterator[tuple[int, float, float]]:
        """Answers, their mean and their longest, of each benchmark of a known size."""
        preset = self.preset
        for name in plan.benchmarks_of(preset, key.model, key.dataset, key.method):
            if problems := plan.known_rows(preset, name, "eval"):
                limit = preset.evaluation_for(name, key.model).max_response
                limit = limit or preset.training_for(name, key.model).max_response
                yield problems * samples, *self.length(key.model, name, limit, end)

    # --- speeds ----------------------------------------------------------------------------------

    def speeds(self, model: str, end: int) -> Speeds:
        """How fast a model's runs are at an end: measured seconds win over assumed ones."""
        how = self.preset.cost
        save = self.measured("save", model)
        sync = self.measured("weight sync", model)
        test = self.measured("tests of a step", model)
        start = self.measured("start", model)
        overhead, tests = _ends(how.overhead_seconds), _ends(how.test_seconds)
        rate = _ends(how.save_gb_per_s)[1 - end] * 1e9
        written = memory.CHECKPOINT * self.shape(model).parameters
        return Speeds(
            peak_tflops=how.peak_tflops,
            memory_gb_per_s=how.memory_gb_per_s,
            train_mfu=_ends(how.train_mfu)[1 - end],
            forward_mfu=_ends(how.forward_mfu)[1 - end],
            decode_efficiency=_ends(how.decode_efficiency)[1 - end],
            decode_batch=how.decode_batch,
            prompt_tokens=how.prompt_tokens,
            recompute=how.recompute,
            # rewards and scheduling are what is assumed above the sync alone
            overhead_seconds=overhead[end] - overhead[LOW] + sync if sync else overhead[end],
            test_seconds=(min(tests[LOW], test), test)[end] if test else tests[end],
            start_seconds=start or _ends(how.start_seconds)[end],
            save_seconds=save or written / rate,
        )

    def measured(self, quantity: str, model: str) -> float | None:
        """The median over the kinds of runs that a rehearsal had of a model."""
        found = [
            row.value
            for row in self.responses.rehearsed
            if (row.quantity, row.model) == (quantity, model)
        ]
        return median(found) if found else None


def _ends(value: float | tuple[float, float]) -> tuple[float, float]:
    """A number is both of its ends."""
    return value if isinstance(value, tuple) else (value, value)
