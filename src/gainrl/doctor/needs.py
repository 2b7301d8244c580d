"""What a preset asks of a machine: GPUs, an environment, memory, disk."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from gainrl import plan
from gainrl.config.models import Nano
from gainrl.config.preset import Preset
from gainrl.config.training import Training
from gainrl.models import memory
from gainrl.models.shapes import Architecture, architecture
from gainrl.plan import RunKey
from gainrl.plan.backends.verl import package_list
from gainrl.training import algorithms

CHECKPOINTS = 3
"""Of a run on disk at most: the two that are kept, and the one that is being written."""


@dataclass(frozen=True)
class Job:
    """The largest of a preset's distributed runs of one model: that of the longest sequences."""

    model: str
    shape: Architecture
    critic: bool
    training: Training

    @property
    def context(self) -> int:
        """Its longest sequence, tokens."""
        return self.training.max_prompt + self.training.max_response


@dataclass(frozen=True)
class Needs:
    """Of a preset; `gpus` is 0 where all runs are local, and then `jobs` is empty."""

    preset: Preset
    nodes: int
    gpus: int
    jobs: tuple[Job, ...]

    @property
    def distributed(self) -> bool:
        """Whether any run is trained on several GPUs, with vLLM and Ray."""
        return bool(self.jobs)

    @property
    def list(self) -> Path:
        """The pinned packages of the environment that runs get; before 'auto' has been decided,
        those that older drivers do for."""
        return package_list(self.preset) or Path("envs/verl-cu129.txt")

    @property
    def cuda(self) -> bool:
        """Whether that environment is one for NVIDIA's GPUs."""
        return self.distributed and self.preset.verl.environment != "cpu"

    @property
    def host_bytes(self) -> float:
        """Of a node's memory for a training job: what is loaded and offloaded, and processes.

        The weights in fp32 while they are read, those of the reference, which wait in host memory
        and are shared out over the nodes, and 8 GiB a GPU for a trainer and a vLLM process.
        """
        weights = max((4 * job.shape.parameters for job in self.jobs), default=0)
        return weights + weights / self.nodes + 8 * memory.GIB * self.gpus

    @property
    def disk(self) -> tuple[float, float]:
        """Bytes of results: to train one run at a time, and with every model that is kept."""
        weights = {job.model: job.shape.parameters for job in self.jobs}
        starts = {name: len(self.preset.starts(name)) for name in weights}
        start = sum(memory.HALF * count * starts[name] for name, count in weights.items())
        one = CHECKPOINTS * memory.CHECKPOINT * max(weights.values(), default=0)
        kept = sum(
            memory.HALF * weights[run.model]
            for run in plan.runs(self.preset)
            if run.model in weights
            and plan.keeps_model(self.preset, run.model, run.dataset, run.method)
        )
        return start + one, start + one + kept


def needs_of(preset: Preset) -> Needs:
    """What a preset asks for.

    Raises:
        ModelError: the size of a model that is trained on GPUs cannot be known.
    """
    jobs: dict[str, Job] = {}
    nodes = gpus = 0
    for run in plan.runs(preset):
        backend = plan.backend_of(preset, run.dataset, run.model)
        if not backend.distributed:
            continue
        asked = backend.resources(preset)
        nodes, gpus = max(nodes, asked.nodes), max(gpus, asked.gpus_per_node)
        jobs[run.model] = _larger(jobs.get(run.model), _job(preset, run))
    return Needs(preset, nodes, gpus, tuple(jobs.values()))


def _job(preset: Preset, run: RunKey) -> Job:
    return Job(
        model=run.model,
        shape=architecture(preset.models[run.model], run.model),
        critic=algorithms.named(preset.methods[run.method].algorithm).critic,
        training=preset.training_for(run.dataset, run.model, run.method),
    )


def _larger(one: Job | None, other: Job) -> Job:
    if one is None:
        return other
    longer = max(one, other, key=lambda job: job.context)
    return replace(longer, critic=one.critic or other.critic)


def only_small(preset: Preset) -> bool:
    """Whether all models are nano models, which a CPU trains."""
    return all(isinstance(model, Nano) for model in preset.models.values())


def cuda_of(packages: Path) -> tuple[int, int] | None:
    """The CUDA version (major, minor) that a list of pinned packages is built for.

    None if the list names no CUDA runtime. Raises OSError.
    """
    text = packages.read_text(encoding="utf-8")
    # A list for CUDA 12 has a runtime of 13 too, of packages that compile.
    names = (r"nvidia-cuda-runtime-cu\d+", "nvidia-cuda-runtime")
    found = next(filter(None, (re.search(rf"(?m)^{n}==(\d+)\.(\d+)", text) for n in names)), None)
    return (int(found[1]), int(found[2])) if found else None
