"""The contract of a training backend (docs/backends.md). No torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from gainrl.config.evaluation import EngineName
from gainrl.config.preset import Preset
from gainrl.plan.layout import Layout, RunKey


@dataclass(frozen=True)
class Resources:
    """What one run gets."""

    nodes: int = 1
    gpus_per_node: int = 1

    @property
    def gpus(self) -> int:
        """On all nodes."""
        return self.nodes * self.gpus_per_node


class Backend:
    """A trainer as the pipeline sees it: what it can do, needs and adds to what a run depends on.

    Asked while the DAG is built, so its module imports no torch; what trains is named by import
    path and loaded in the job alone. The defaults are those of a trainer on one device, in the
    process of the job. Every method is pure: it reads the preset and touches no file.
    """

    name: ClassVar[str]
    """In messages and names of files. Presets say it too, or the class's import path."""
    trainer: ClassVar[str]
    """Import path of a subclass of `gainrl.stages.runs.TrainingRun`, as `module:Class`."""
    options: ClassVar[frozenset[str]] = frozenset()
    """Keys of `training` that not every backend knows and this one does."""
    several_draws: ClassVar[bool] = False
    """Whether it asks a curriculum that draws several times in a step for further batches."""
    measures_noise: ClassVar[bool] = False
    """Whether it tells a curriculum the moments of the policy's gradient, and takes the rate of a
    step from it."""
    measures_entropy: ClassVar[bool] = False
    """Whether it tells a curriculum the entropy of prompts under the current model."""
    seeds_together: ClassVar[bool] = False
    """Whether one job may train all seeds of a method (`seeds_together`): runs take seconds."""
    engine: ClassVar[EngineName] = "transformers"
    """Which engine answers tests of its models where the preset says 'auto'."""
    distributed: ClassVar[bool] = False
    """Whether it trains data parallel on all its GPUs with vLLM, in processes of its own.

    `gainrl plan` estimates its GPU-hours, job scripts get the site's cores and memory of a training
    job, and `threads` does not limit it.
    """
    shares_prompts: ClassVar[bool] = False
    """Whether the update runs a prompt once for its group of rollouts (FLOP)."""
    recomputes: ClassVar[bool] = True
    """Whether old log-probabilities always have a forward pass of their own (FLOP)."""

    def refusals(self, preset: Preset, run: RunKey) -> Iterable[str]:
        """Why it cannot train a run, one line each, beside what its declarations say.

        Args:
            run: one of the preset's; `preset.training_for(run.dataset, run.model, run.method)` is
                its section `training`. The seed is the first: runs of others are refused alike.
        """
        return ()

    def environment(self, preset: Preset) -> list[str]:
        """Files, outputs of rules, that have to be there before a run starts."""
        return []

    def resources(self, preset: Preset) -> Resources:
        """What the scheduler is asked for."""
        return Resources()

    def fingerprint(self, preset: Preset) -> dict[str, Any]:
        """JSON-able; what its runs depend on beside `training`: a change of it reruns them."""
        return {}

    def command(self, preset: Preset, layout: Layout, run: RunKey) -> str | None:
        """A command line that starts the same training without gainrl, to read along, or None.

        `gainrl plan` writes it beside the run's job script; paths need not exist.
        """
        return None
