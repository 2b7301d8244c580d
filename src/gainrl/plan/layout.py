"""Where files live: every path of a preset is written down here, once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


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

    def split(self, dataset: str, split: str) -> Path:
        """A prompt table: train, eval or warmup."""
        return self.home / "data" / dataset / f"{split}.parquet"

    def model(self, model: str) -> Path:
        """A Hugging Face folder; `gainrl.json` in it is written last."""
        return self.home / "models" / model

    def signals(self, model: str, dataset: str) -> Path:
        """Scores, difficulties and orders of a data set under a model."""
        return self.home / "signals" / model / dataset

    def shard(self, model: str, dataset: str, shard: int | str, shards: int) -> Path:
        """One scoring job's part of the scores."""
        return self.signals(model, dataset) / "shards" / f"{shard}-of-{shards}.npz"

    def study(self, model: str, dataset: str, name: str) -> Path:
        """What a study measured: layers, answers, gradients (tables) or maps (.npz)."""
        suffix = "npz" if name == "maps" else "parquet"
        return self.signals(model, dataset) / "studies" / f"{name}.{suffix}"

    def probe(self, key: RunKey, name: str = "probe.parquet") -> Path:
        """What the probe of a run's snapshots measured; neurons.npz beside the table."""
        return self.run(key) / name

    def linearity(self, key: RunKey, name: str = "linearity.parquet") -> Path:
        """How straight a run moved; linearity.json, what extrapolating it gives, beside it."""
        return self.run(key) / name

    def order(self, model: str, dataset: str, order: str) -> Path:
        """An order table."""
        return self.signals(model, dataset) / "order" / f"{order}.parquet"

    def snapshot(self, key: RunKey, step: int) -> Path:
        """A run's weights after some step, as a Hugging Face folder."""
        return self.run(key) / "snapshots" / f"step{step:06d}"

    def start(self, model: str, benchmark: str) -> Path:
        """Accuracy of the model before RL."""
        return self.home / "evals" / model / f"{benchmark}.json"

    def run(self, key: RunKey) -> Path:
        """A training run's folder."""
        return self.home / "runs" / key.model / key.dataset / key.method / f"seed{key.seed}"
