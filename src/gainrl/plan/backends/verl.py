"""The verl backend: verl and vLLM on the GPUs that the section `verl` gives a run."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gainrl.config.preset import Preset
from gainrl.errors import ConfigError
from gainrl.models.known import known
from gainrl.plan.backends.base import Backend, Resources
from gainrl.plan.layout import Layout, RunKey
from gainrl.plan.runs import benchmarks_of, keeps_model, snapshots
from gainrl.training import algorithms
from gainrl.training.verl import memory
from gainrl.training.verl.settings import overrides, place_of

HEADER = """\
# What `gainrl train` asks of verl in this run, to read and to compare; the job script trains.
# It starts gainrl.training.verl.entry, which is main_ppo with these overrides and gainrl's trainer
# ('gainrl'), the one that draws batches from a curriculum; verl alone does not know it. If the chat
# template shows today's date, one more override holds it fixed.
"""


class VerlBackend(Backend):
    """gainrl.training.verl; its keys are the preset's section `verl`."""

    name = "verl"
    trainer = "gainrl.stages.train_verl:VerlRun"
    options = frozenset({"downsample", "extra", "format_weight", "lora", "templates"})
    several_draws = True
    engine = "vllm"
    distributed = True

    def refusals(self, preset: Preset, run: RunKey) -> Iterator[str]:
        """What its checkpoints and its tests cannot do."""
        training = preset.training_for(run.dataset, run.model, run.method)
        extra = training.extra
        if extra and training.save_every % extra.rl:
            yield (
                f"training.save_every {training.save_every} is no multiple of training.extra.rl "
                f"{extra.rl}, and a run can go on only from where the policy jumped"
            )
        kept = snapshots(preset, run.model, run.dataset, run.method)
        between = [step for step in kept if extra and step % extra.rl]
        if extra and between:
            yield (
                f"studies.dynamics.every asks for a snapshot at step {between[0]}, a checkpoint, "
                f"and these have to be at multiples of training.extra.rl ({extra.rl})"
            )
        yield from self._too_large(preset, run)

    def _too_large(self, preset: Preset, run: RunKey) -> Iterator[str]:
        """A model that does not fit on the run's GPUs, as far as its size is known by now."""
        model = known(preset.models[run.model])
        training = preset.training_for(run.dataset, run.model, run.method)
        critic = algorithms.named(preset.methods[run.method].algorithm).critic
        if model and preset.verl.environment != "cpu":
            try:
                memory.settings(model, training, preset.verl, critic)
            except ConfigError as error:
                yield str(error)

    def environment(self, preset: Preset) -> list[str]:
        """verl's, unless the preset names its own."""
        return [] if preset.verl.python else [str(environment_file(preset))]

    def resources(self, preset: Preset) -> Resources:
        """What verl is told it has."""
        return Resources(preset.verl.nodes, preset.verl.gpus_per_node)

    def fingerprint(self, preset: Preset) -> dict[str, Any]:
        """verl's own keys; where and how patiently it runs changes no result."""
        return {"verl": {"keys": preset.verl.keys}}

    def command(self, preset: Preset, layout: Layout, run: RunKey) -> str:
        """main_ppo with one override a line."""
        training = preset.training_for(run.dataset, run.model, run.method)
        benchmarks = benchmarks_of(preset, run.model, run.dataset, run.method)
        kept = snapshots(preset, run.model, run.dataset, run.method)
        start = layout.model(preset.start_of(run.model, run.seed))
        given = overrides(
            preset.verl,
            training,
            preset.evaluation_for(run.dataset, run.model),
            place_of(layout.run(run), start, benchmarks),
            algorithms.named(preset.methods[run.method].algorithm),
            preset.ppo,
            run.seed,
            export=keeps_model(preset, run.model, run.dataset, run.method) or bool(kept),
            arguments=preset.models[run.model].template_arguments,
            architecture=known(preset.models[run.model]),
            context=getattr(preset.models[run.model], "context", None),  # not of a packaged one
        )
        lines = ["python -m verl.trainer.main_ppo", *map(shlex.quote, given)]
        return HEADER + " \\\n    ".join(lines) + "\n"


def environment_file(preset: Preset) -> Path:
    """What rules/verl.smk makes when the preset's environment, with verl and vLLM, is built."""
    return Path(".environments") / f"verl-{preset.verl.environment}" / "ready"


def package_list(preset: Preset) -> Path | None:
    """The pinned packages of that environment; None where 'auto' has not been decided yet."""
    kind: str = preset.verl.environment
    if kind == "auto":
        decided = environment_file(preset).with_name("kind")
        if not decided.is_file():
            return None
        kind = decided.read_text(encoding="utf-8").strip()
    return Path("envs") / f"verl-{kind}.txt"
