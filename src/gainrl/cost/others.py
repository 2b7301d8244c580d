"""Work beside the runs: scores, measured difficulties, and tests that are no part of a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gainrl import plan
from gainrl.cost.estimate import HOUR, Other, answer_hours, prefill_seconds
from gainrl.cost.rows import HIGH, LOW, Costs, Row
from gainrl.plan import RunKey
from gainrl.plan.benchmarks import Test, final_tests, start_tests


@dataclass(frozen=True)
class Answers:
    """Responses of a model to a data set, on one GPU; limit: of a response, tokens."""

    model: str
    dataset: str
    count: int
    limit: int

    def hours(self, costs: Costs, end: int) -> float:
        """GPU-hours at an end."""
        lengths = costs.length(self.model, self.dataset, self.limit, end)
        how = costs.speeds(self.model, end)
        return answer_hours(costs.shape(self.model), self.count, *lengths, 1, how)


def others(costs: Costs, rows: Iterable[Row]) -> list[Other]:
    """GPU-hours of what runs on GPUs beside training, for the models that are estimated."""
    keys = [key for row in rows if row.cost for key in row.keys]
    scores = [_scores(costs, keys, end) for end in (LOW, HIGH)]
    found = [
        Other("scores of the training prompts", *scores),
        _answered("measured difficulties", costs, _difficulties(costs, keys)),
        _answered("tests of the start models", costs, _starts(costs, keys)),
        _answered("tests under protocols", costs, _protocols(costs, keys)),
    ]
    return [each for each in found if each.high]


def _answered(name: str, costs: Costs, parts: Iterable[Answers]) -> Other:
    parts = list(parts)
    low, high = (sum(part.hours(costs, end) for part in parts) for end in (LOW, HIGH))
    return Other(name, low, high)


def _scores(costs: Costs, keys: Sequence[RunKey], end: int) -> float:
    """One prefill of every prompt that some method's order or features come from."""
    places = {
        (costs.preset.start_of(key.model, key.seed), key.dataset)
        for key in keys
        if "scores" in plan.inputs_of(costs.preset, costs.layout, key).costly
    }
    seconds = 0.0
    for start, dataset in sorted(places):
        model = costs.preset.family(start)
        prompts = plan.known_rows(costs.preset, dataset, "train") or 0
        seconds += prefill_seconds(costs.shape(model), prompts, 1, costs.speeds(model, end))
    return seconds / HOUR


def _difficulties(costs: Costs, keys: Sequence[RunKey]) -> Iterator[Answers]:
    preset = costs.preset
    places = {
        (preset.start_of(key.model, key.seed), key.dataset): None
        for key in keys
        if plan.inputs_of(preset, costs.layout, key).difficulty is not None
    }
    for start, dataset in places:
        model = preset.family(start)
        count = (plan.known_rows(preset, dataset, "train") or 0) * preset.scoring.difficulty_samples
        if count:
            limit = preset.training_for(dataset, model).max_response
            yield Answers(model, dataset, count, limit)


def _starts(costs: Costs, keys: Sequence[RunKey]) -> Iterator[Answers]:
    """Step 0 of the runs: each start model once on each benchmark."""
    preset = costs.preset
    tested = {
        (preset.start_of(key.model, key.seed), name): None
        for key in keys
        for name in plan.benchmarks_of(preset, key.model, key.dataset, key.method)
    }
    for start, name in tested:
        model = preset.family(start)
        evaluation = preset.evaluation_for(name, model)
        limit = evaluation.max_response or preset.training_for(name, model).max_response
        if problems := plan.known_rows(preset, name, "eval"):
            yield Answers(model, name, problems * evaluation.samples, limit)


def _protocols(costs: Costs, keys: Sequence[RunKey]) -> Iterator[Answers]:
    """Tests of trained models and of models as they are, under protocols."""
    preset, models = costs.preset, {key.model for key in keys}
    tests: dict[Test, None] = dict.fromkeys(final_tests(preset, preset.experiments))
    tests |= dict.fromkeys(start_tests(preset))
    for test in tests:
        problems = plan.known_rows(preset, test.benchmark, "eval")
        model = preset.family(test.model)
        if model in models and problems:
            sampled = preset.sampled(test.protocol, test.benchmark)
            limit = sampled.max_response
            limit = limit or preset.training_for(test.benchmark, model).max_response
            yield Answers(model, test.benchmark, problems * sampled.samples, limit)
