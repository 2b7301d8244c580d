"""A data source with the methods of slime's `DataSource` (docs/any-loop.md). No slime.

It was written against slime as of August 2026 and is tested against the calls that its rollout
manager and its rollout functions make; slime itself was not run.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gainrl import files
from gainrl.curricula.batches import make
from gainrl.curricula.registry import Spec
from gainrl.errors import CheckpointError, ConfigError, DataError
from gainrl.integrations.asynchronous import Asynchronous

ROW = "gainrl_row"
"""Where a sample's metadata say which prompt it is of."""


class CurriculumSource:
    """Gives out groups of samples by a policy. A subclass is what `--data-source-path` names:

        class Source(CurriculumSource, RolloutDataSource):
            spec = {"name": "mopps"}

    RolloutDataSource (slime.rollout.data_source), which reads the prompts into `self.dataset`, is
    what stands behind it; `report` of this module is `--rollout-all-samples-process-path`.

    spec, settings: as for `gainrl.curricula.make`; the step's prompts, the group's size and the
    seed are slime's `rollout_batch_size`, `n_samples_per_prompt` and `rollout_seed`.

    Raises:
        ConfigError: as `make`; slime would shuffle the prompts itself; or the policy draws again
            within a step, or reads C.
    """

    spec: Spec | Mapping[str, Spec | None] = "uniform"
    settings: Mapping[str, Any] = {}
    dataset: Any

    def __init__(self, args: Any) -> None:
        super().__init__(args)  # type: ignore[call-arg]
        self.args = args
        if args.rollout_shuffle:
            raise ConfigError("the curriculum orders the prompts: leave --rollout-shuffle out")
        self.prompts: Sequence[Any] = self.dataset.samples
        curriculum = make(
            self.spec,
            size=len(self.prompts),
            batch=args.rollout_batch_size,
            seed=args.rollout_seed,
            rollouts=args.n_samples_per_prompt,
            **self.settings,
        )
        for wrong, why in (
            (curriculum.several_draws, "draws again within a step; predicted has adaptive=False"),
            (curriculum.reads_signal, "reads C, which is not known here; use_signal=False"),
        ):
            if wrong:
                raise ConfigError(f"curriculum '{curriculum.name}' {why}")
        self.work = Asynchronous(curriculum)
        self.buffer: list[list[Any]] = []
        """Unfinished groups that came back, which go out again first; not saved, as slime's."""
        self.groups = self.samples = 0

    def get_samples(self, num_samples: int) -> list[list[Any]]:
        """Groups of samples to roll out; fewer if almost every prompt is in flight."""
        found, self.buffer = self.buffer[:num_samples], self.buffer[num_samples:]
        while len(found) < num_samples:
            given = self.work.next_group(self.work.version)
            if given is None:
                break
            found.append(self._group(*given))
        if not found and num_samples:
            raise DataError(
                f"{len(self.work.in_flight)} of {len(self.prompts)} prompts are in flight, and a "
                "batch takes more than are left"
            )
        return found

    def _group(self, row: int, size: int) -> list[Any]:
        group = [copy.deepcopy(self.prompts[row]) for _ in range(size)]
        for sample in group:
            sample.group_index, sample.index = self.groups, self.samples
            sample.metadata = {**(sample.metadata or {}), ROW: row}
            self.samples += 1
        self.groups += 1
        return group

    def add_samples(self, samples: Sequence[list[Any]]) -> None:
        """Take unfinished groups back: they go out again first."""
        self.buffer += [group for group in samples if self._row(group) in self.work.in_flight]

    def observe(self, groups: Sequence[Any], version: int | None = None) -> None:
        """Take finished groups, with the rewards that slime trains on.

        Args:
            version: rollout that made them, if it is known.

        Raises:
            DataError: a reward is no number, or a prompt is not in flight.
        """
        for group in groups:
            samples = _flat(group)
            rewards = [self._reward(each) for each in samples]
            self.work.observe(
                self._row(group), [r for r in rewards if r is not None], version=version
            )

    def end_of_rollout(self) -> None:
        """Give out again what slime has aborted, unless it hands partial groups back itself."""
        if not getattr(self.args, "partial_rollout", False):
            for row in reversed(self.work.in_flight):
                self.work.again(row)

    def _reward(self, sample: Any) -> float | None:
        key = getattr(self.args, "reward_key", None)
        return sample.reward[key] if key and sample.reward is not None else sample.reward

    @staticmethod
    def _row(group: Any) -> int:
        row = (_flat(group)[0].metadata or {}).get(ROW)
        if row is None:
            raise DataError(f"a sample has no metadata['{ROW}']: it is not of this data source")
        return int(row)

    def save(self, rollout_id: int) -> None:
        """Write the state beside slime's checkpoint of a rollout."""
        counts = {"groups": self.groups, "samples": self.samples}
        files.write_json(
            self._file(self.args.save, rollout_id), {**counts, "work": self.work.state_dict()}
        )

    def load(self, rollout_id: int | None = None) -> None:
        """Go on after a rollout; before the first one there is nothing to load.

        Raises:
            CheckpointError: the checkpoint has no state of a curriculum.
        """
        if self.args.load is None or rollout_id is None or rollout_id < 0:
            return
        file = self._file(self.args.load, rollout_id)
        if not file.exists():
            raise CheckpointError(
                f"{file}: not there: the checkpoint was made without a curriculum"
            )
        state = files.read_json(file)
        self.groups, self.samples, self.buffer = state["groups"], state["samples"], []
        self.work.load_state_dict(state["work"], in_flight="again")

    @staticmethod
    def _file(folder: str, rollout_id: int) -> Path:
        return Path(folder) / "rollout" / f"gainrl_curriculum_{rollout_id}.json"

    def __len__(self) -> int:
        return len(self.prompts)


def report(args: Any, samples: Sequence[Any], data_source: Any) -> None:
    """slime's `--rollout-all-samples-process-path`: tell the policy of every finished group.

    Args:
        samples: the rollout's groups, those that a dynamic filter left out too.
        data_source: the data source, or its method `get_samples`, which is what slime hands over.
    """
    source = getattr(data_source, "__self__", data_source)
    source.observe(samples)
    source.end_of_rollout()


def _flat(group: Any) -> list[Any]:
    """The samples of a group; one rollout may have become several, in lists of their own."""
    return [s for each in group for s in (_flat(each) if isinstance(each, list) else [each])]
