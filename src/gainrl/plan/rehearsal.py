"""A preset's rehearsal: every rule and shape of job, with only the amounts replaced. No torch.

`snakemake rehearse` runs what `snakemake all` would run, on the same models, data, engines and
cluster, a thousandth as long. The rehearsed preset is derived here from the real one and never
written by hand, so it cannot grow apart from it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gainrl.config.evaluation import PROTOCOLS
from gainrl.config.experiments import Experiment
from gainrl.config.methods import Method
from gainrl.config.preset import Preset, load_preset
from gainrl.plan.backends import used
from gainrl.plan.tuning import expanded, is_tried

TARGET = "rehearse"
MARK = "GAINRL_REHEARSAL"
"""Environment variable: the jobs of a rehearsal parse the workflow again and know it by this."""

STEPS = 4
"""RL steps of a run; enough for a line through its snapshots (config.linearity.FEWEST)."""
ROLLOUTS = 2
UNITS = 4
"""Prompts a step, in multiples of the GPUs of a run: a batch of 3/4 and of 1/2 stay different."""
RESPONSE = 32
"""Tokens of a rollout. Tests keep their own limit: mean response lengths are measured there."""
PROBLEMS = 4
FEW = 8
"""Of prompts or draws in studies and simulations."""
FOLLOWED = 17
"""Prompts of the probe: however they lie, one of Figure 5's 8 bins holds the 3 that it needs."""
RESAMPLES = 200
SHARDS = 2


def requested(arguments: Sequence[str]) -> bool:
    """Whether a call of Snakemake is a rehearsal, or a job of one; tells its own jobs so.

    Args:
        arguments: of the command line.
    """
    if TARGET in arguments:
        os.environ[MARK] = "1"
    return os.environ.get(MARK) == "1"


def root_of(preset: str, root: Path = Path("results")) -> Path:
    """Where a preset's rehearsal has its results."""
    return root / f"{preset}-rehearsal"


def rehearsed(preset: Preset) -> Preset:
    """The same models, data sets, algorithms, engines and results, with small amounts.

    Of an experiment's methods those are left out that are another one's with other numbers
    (`families`). One seed, a few steps with a checkpoint after each and a test after every other,
    short rollouts; tests keep their lengths and have a few problems. Real runs and a rehearsal do
    not share a tracking experiment.

    Raises:
        ValueError: as for any preset; a rehearsed one breaks no rule that the real one keeps.
    """
    given = preset.model_dump(mode="json", by_alias=True)
    gpus = max((each.resources(preset).gpus for each in used(preset)), default=1)
    seed = preset.studies.dynamics.seed if preset.studies and preset.studies.dynamics else None
    given["seeds"] = [preset.seeds[0] if seed is None else seed]
    _training(preset, given, gpus)
    for name, spec in given["datasets"].items():
        given["datasets"][name] = _dataset(spec, max(32, 4 * UNITS * gpus))
    for model in given["models"].values():
        for phase in (model.get("warmup") or {}).get("phases", ()):
            phase["steps"] = min(phase["steps"], STEPS)
    given["scoring"]["shards"] = min(preset.scoring.shards, SHARDS)
    given["scoring"]["difficulty_samples"] = ROLLOUTS
    given["testing"]["shards"] = min(preset.testing.shards, SHARDS)
    given["statistics"]["resamples"] = min(preset.statistics.resamples, RESAMPLES)
    given["tracking"]["experiment"] += "-rehearsal"
    given["protocols"] = {name: _protocol(each) for name, each in _protocols(preset).items()}
    for name, experiment in preset.experiments.items():
        _experiment(preset, given["experiments"][name], families(preset, name), experiment)
    _tuning(preset, given)
    _studies(given)
    _linearity(preset, given)
    for regime in (given["simulation"] or {}).get("regimes", {}).values():
        regime["steps"], regime["seeds"] = min(regime["steps"], STEPS), 2
    return expanded(load_preset(given))


def _tuning(preset: Preset, given: dict[str, Any]) -> None:
    """One setting of each method that is left, with the preset's rate, for a few tokens."""
    if preset.tuning is None:
        return
    given["methods"] = {k: v for k, v in given["methods"].items() if not is_tried(preset, k)}
    left = {name for each in given["experiments"].values() for name in each["methods"]}
    borrowed = {k: v for k, v in given["tuning"]["borrowed"].items() if k in left}
    left |= {*borrowed.values()}
    own = {name: each for name, each in given["tuning"]["methods"].items() if name in left}
    given["tuning"] |= {
        "grid": {"lr": [preset.training.lr]},
        "methods": {
            name: {key: values[:1] for key, values in each.items()} for name, each in own.items()
        },
        "borrowed": borrowed,
        "tries": None,
        "seeds": given["tuning"]["seeds"][:1],
        "budget": ROLLOUTS * STEPS,
        "tokens": None,
    }


def families(preset: Preset, experiment: str) -> tuple[str, ...]:
    """The methods of an experiment that a rehearsal trains, in its order.

    Of those that differ by numbers alone the first; and whatever a claim, a study or the baseline
    needs by name.
    """
    chosen = preset.experiments[experiment]
    named = {chosen.baseline, *_named(preset, experiment)}
    first: dict[Any, str] = {}
    for name in chosen.methods:
        first.setdefault(_family(preset.methods[name]), name)
    return tuple(name for name in chosen.methods if name in named or name in first.values())


def _named(preset: Preset, experiment: str) -> Iterator[str]:
    for claim in preset.claims.values():
        if claim.experiment == experiment:
            yield from (*claim.methods, *claim.against)
    if preset.linearity:
        yield from preset.linearity.methods
    if preset.studies and preset.studies.dynamics:
        yield preset.studies.dynamics.method
    if preset.simulation and experiment in preset.simulation.checks:
        yield from preset.experiments[experiment].methods


def _family(method: Method) -> Any:
    """Everything of a method but its numbers and its label."""
    return repr(_names(method.model_dump(exclude={"label"}, exclude_none=True)))


def _names(value: Any) -> Any:
    """The same with numbers replaced by their kind; how many there are is not of interest."""
    if isinstance(value, dict):
        return {key: _names(each) for key, each in sorted(value.items())}
    if isinstance(value, bool | str):
        return value
    if isinstance(value, list | tuple):
        return sorted({repr(_names(each)) for each in value})
    return "number"


def _training(preset: Preset, given: dict[str, Any], gpus: int) -> None:
    """`training` itself, its overrides, and what methods set."""

    def small(section: dict[str, Any]) -> None:
        for key, most in (("steps", STEPS), ("rollouts", ROLLOUTS), ("max_response", RESPONSE)):
            if section.get(key) is not None:
                section[key] = min(section[key], most)
        if section.get("save_every") is not None:
            section["save_every"] = 1
        if section.get("prompts") is not None:
            section["prompts"] = gpus * max(
                1, round(UNITS * section["prompts"] / preset.training.prompts)
            )
        if section.get("mini_batch") is not None:
            section["mini_batch"] = gpus
        if section.get("extra"):
            section["extra"]["rl"] = 1

    _keep_lengths(preset, given)
    small(given["training"])
    for changes in given["overrides"].values():
        small(changes.get("training", {}))
        if "every" in changes.get("evaluation", {}):
            changes["evaluation"]["every"] = 2
    for method in given["methods"].values():
        small(method["training"])
    given["evaluation"]["every"] = 2
    given["evaluation"]["samples"] = min(preset.evaluation.samples, ROLLOUTS)


def _keep_lengths(preset: Preset, given: dict[str, Any]) -> None:
    """Say of tests how long they are where they had it from training."""
    if preset.evaluation.max_response is not None:
        return
    given["evaluation"]["max_response"] = preset.training.max_response
    for changes in given["overrides"].values():
        length = (changes.get("training") or {}).get("max_response")
        if length is not None:
            changes.setdefault("evaluation", {}).setdefault("max_response", length)


def _dataset(spec: dict[str, Any], most: int) -> dict[str, Any]:
    """A few prompts and problems, the longest among them; a mix has those of its parts."""
    sizes = {"train": most, "eval": PROBLEMS, "warmup": most}
    if spec["source"] in ("generate", "reasoning_gym"):
        known = {key: size for key, size in sizes.items() if key in spec}
        return {**spec, **{key: min(spec[key], size) for key, size in known.items()}}
    return spec if spec["source"] == "mix" else {**spec, "few": sizes}


def _protocols(preset: Preset) -> dict[str, dict[str, Any]]:
    """Those of the preset, and the known ones that it names, which its own may replace."""
    final = (name for each in preset.experiments.values() for name in each.final)
    asked = [*final, *(preset.benchmarks.protocols if preset.benchmarks else ())]
    found = {**{name: PROTOCOLS[name] for name in asked if name in PROTOCOLS}, **preset.protocols}
    return {name: each.model_dump(mode="json") for name, each in found.items()}


def _protocol(given: dict[str, Any]) -> dict[str, Any]:
    """As many samples as the pass@k that is shown needs."""

    def few(values: dict[str, Any], pass_at: Sequence[int]) -> dict[str, Any]:
        if values.get("samples", 1) > 1:
            values["samples"] = min(values["samples"], max(ROLLOUTS, *pass_at))
        return values

    for changes in given["benchmarks"].values():
        few(changes, changes.get("pass_at", given["pass_at"]))
    return few(given, given["pass_at"])


def _experiment(
    preset: Preset, given: dict[str, Any], methods: Sequence[str], experiment: Experiment
) -> None:
    """Fewer methods, and nothing that names others."""
    given["methods"] = list(methods)
    if experiment.published:
        shown = experiment.published.methods
        given["published"]["methods"] = {k: v for k, v in shown.items() if k in methods}


def _studies(given: dict[str, Any]) -> None:
    studies = given["studies"] or {}
    small = {
        "signal": {"gradient_prompts": FEW, "gradient_rollouts": ROLLOUTS, "resamples": RESAMPLES},
        "layers": {"prompts": FEW, "maps": 2},
        "answers": {"prompts": FEW, "samples": ROLLOUTS},
        "dynamics": {"prompts": FOLLOWED, "samples": ROLLOUTS, "every": 2},
    }
    for part, amounts in small.items():
        if studies.get(part):
            studies[part] |= {key: min(studies[part][key], most) for key, most in amounts.items()}


def _linearity(preset: Preset, given: dict[str, Any]) -> None:
    """Lines through the snapshots that a rehearsed run keeps, at about the same parts of it."""
    if preset.linearity is None:
        return
    chosen = given["linearity"]
    chosen |= {"every": 1, "prompts": 2, "samples": ROLLOUTS, "walks": 500}
    if chosen["seeds"] is not None:
        chosen["seeds"] = given["seeds"]
    if chosen["answers"] is not None:
        chosen["answers"] = min(chosen["answers"], ROLLOUTS)
    if chosen["extrapolate"]:
        chosen["extrapolate"] = [{"from": 0, "to": STEPS // 2, "target": STEPS}]


def left(workflow: Any) -> list[dict[str, Any]]:
    """What became of every job of a workflow that has ended, as `gainrl rehearsal` reads it.

    Args:
        workflow: Snakemake's object; its DAG and its scheduler alone know.
    """
    dag, failed = workflow.dag, workflow.scheduler.failed

    def state(job: Any) -> str:
        if job in failed:
            return "failed"
        return "passed" if dag.finished(job) or not dag.needrun(job) else "skipped"

    return [
        {
            "rule": job.rule.name,
            "of": dict(job.wildcards_dict),
            "log": list(map(str, job.log)),
            "benchmark": str(job.benchmark) if job.benchmark else None,
            "inputs": list(map(str, job.input)),
            "outputs": list(map(str, job.output)),
            "state": state(job),
        }
        for job in dag.jobs
        if job.output or job.log
    ]
