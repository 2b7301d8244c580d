"""A rehearsed preset has everything of the real one but its amounts."""

from __future__ import annotations

import inspect
from itertools import product
from pathlib import Path

import pytest

from gainrl import plan
from gainrl.config.preset import Preset
from gainrl.plan import backends, rehearsal
from gainrl.plan import benchmarks as benchmark_plan
from gainrl.report import plan as report_plan
from gainrl.study.figures import FEWEST, figure_bins

REPOSITORY = Path(__file__).resolve().parents[2]
PRESETS = [
    "config.yaml",
    *sorted(f"experiments/{p.name}" for p in REPOSITORY.glob("experiments/*")),
]


@pytest.fixture(params=PRESETS)
def real(request, monkeypatch) -> Preset:
    monkeypatch.chdir(REPOSITORY)
    return plan.load(request.param)


def places(preset: Preset) -> set[tuple[str, str]]:
    return {(run.model, run.dataset) for run in plan.runs(preset)}


def algorithms(preset: Preset) -> set[tuple[str, str, str]]:
    return {
        (run.model, run.dataset, preset.methods[run.method].algorithm) for run in plan.runs(preset)
    }


def sampled(preset: Preset) -> set[tuple[str, str, str, str]]:
    """Model, whichever seed's, benchmark, protocol and engine of tests under a protocol."""
    found = benchmark_plan.final_tests(preset, list(preset.experiments))
    found = [*found, *(benchmark_plan.start_tests(preset) if preset.benchmarks else ())]
    return {
        (preset.family(each.model), each.benchmark, each.protocol, each.engine) for each in found
    }


def test_nothing_is_left_out_but_amounts(real) -> None:
    small = rehearsal.rehearsed(real)
    assert plan.load(small.model_dump(mode="json", by_alias=True)) == small
    assert small.models.keys() == real.models.keys()
    assert places(small) == places(real)
    assert algorithms(small) == algorithms(real)
    assert sampled(small) == sampled(real)
    assert small.verl == real.verl
    assert [each.name for each in backends.used(small)] == [
        each.name for each in backends.used(real)
    ]
    made = [set(report_plan.results(each, plan.Layout(each.preset))) for each in (small, real)]
    assert made[0] == made[1]


def test_a_rehearsal_trains_every_curriculum_order_and_option_somewhere(real) -> None:
    small = rehearsal.rehearsed(real)

    def shapes(preset: Preset) -> set[str]:
        found = (preset.methods[run.method] for run in plan.runs(preset))
        options = ("algorithm", "curriculum", "order", "difficulty", "selection")
        return {
            repr([rehearsal._names(each.model_dump(mode="json")[name]) for name in options])
            for each in found
        }

    assert shapes(small) == shapes(real)


def test_it_is_small(real) -> None:
    small = rehearsal.rehearsed(real)
    gpus = max((each.resources(real).gpus for each in backends.used(real)), default=1)
    assert len(small.seeds) == 1
    for run in plan.runs(small):
        training = small.training_for(run.dataset, run.model, run.method)
        # A step of as many prompts spends such a budget at once.
        least = training.prompts * training.rollouts
        most = training.steps if training.tokens is None else -(-training.tokens // least)
        assert min(training.steps, most) <= rehearsal.STEPS
        assert training.save_every == 1
        assert training.prompts <= 4 * gpus
        assert training.prompts % gpus == 0
        assert (training.mini_batch or training.prompts) % gpus == 0
        assert training.rollouts == 2
        assert training.max_response <= rehearsal.RESPONSE
        assert training.max_prompt == real.training_for(run.dataset, run.model).max_prompt
        assert small.evaluation_for(run.dataset, run.model).every == 2


def test_tests_keep_their_length(real) -> None:
    """So that a rehearsal measures how long responses are."""
    small = rehearsal.rehearsed(real)

    def length(preset: Preset, model: str, dataset: str) -> int:
        asked = preset.evaluation_for(dataset, model).max_response
        return asked or preset.training_for(dataset, model).max_response

    for model, dataset in product(real.models, real.datasets):
        assert length(small, model, dataset) == length(real, model, dataset)


def test_smaller_batches_stay_smaller() -> None:
    real = plan.load(str(REPOSITORY / "config.yaml"))
    small = rehearsal.rehearsed(real)
    sizes = [
        small.training_for("chain", "nano", name).prompts
        for name in ("grpo", "gain-batch-3-4", "gain-batch-1-2")
    ]
    assert sizes == [4, 3, 2]


def test_methods_that_differ_in_numbers_are_rehearsed_once() -> None:
    real = plan.load(str(REPOSITORY / "config.yaml"))
    assert rehearsal.families(real, "table4") == ("grpo", "gain-c0.25", "gain")
    assert "gain-half-low" not in rehearsal.families(real, "halves")
    kept = rehearsal.families(real, "controls")
    assert {"gain-length", "gain-residual", "gain-reversed", "gain-shuffled"} <= set(kept)


def test_the_probe_has_prompts_for_figure_5_however_they_lie() -> None:
    """The rehearsal on a CPU failed there with 8 prompts in 8 bins."""
    bins = inspect.signature(figure_bins).parameters["bins"].default
    assert bins * (FEWEST - 1) < rehearsal.FOLLOWED
    small = rehearsal.rehearsed(plan.load(REPOSITORY / "experiments/paper.yaml"))
    assert small.studies
    assert small.studies.dynamics
    assert small.studies.dynamics.prompts == rehearsal.FOLLOWED
