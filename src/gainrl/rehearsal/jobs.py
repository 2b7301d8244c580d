"""What became of the jobs of a rehearsal: passed, failed or skipped, and why. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from gainrl.errors import DataError
from gainrl.processes import error_of
from gainrl.records import read_json

State = Literal["passed", "failed", "skipped"]
STATES: tuple[State, ...] = ("failed", "skipped", "passed")
"""In the order of the table: what needs a look comes first."""
TAIL = 40
"""Lines of a log on the page."""


@dataclass(frozen=True)
class Job:
    """A job of the workflow, as Snakemake left it.

    rule, of: its rule and its wildcards. logs, benchmark: files that it may have written.
    """

    rule: str
    of: Mapping[str, str]
    state: State
    logs: tuple[Path, ...]
    benchmark: Path | None
    inputs: frozenset[str]
    outputs: frozenset[str]

    @property
    def name(self) -> str:
        """The rule's wildcards, one after another."""
        return " ".join(self.of.values())

    @property
    def usage(self) -> tuple[float | None, float | None]:
        """Seconds, and the most host memory in MiB, by Snakemake's own measurement."""
        if self.benchmark is None or not self.benchmark.exists():
            return None, None
        row = pd.read_csv(self.benchmark, sep="\t", na_values="-").iloc[-1]
        seconds, memory = float(row["s"]), row["max_rss"]
        return seconds, None if pd.isna(memory) else float(memory)

    @property
    def tail(self) -> str:
        """The last lines of its log."""
        found = [path.read_text(errors="replace").splitlines() for path in self._written]
        return "\n".join(line for lines in found for line in lines[-TAIL:])

    @property
    def error(self) -> str:
        """What a failed job's log says, in a line."""
        if not self._written:
            return "it left no log: see Snakemake's own, and the scheduler's"
        return f"{self._written[0]}: {error_of(self._written[0], 0)}"

    @property
    def _written(self) -> list[Path]:
        return [path for path in self.logs if path.exists() and path.stat().st_size]


def read_jobs(path: Path) -> list[Job]:
    """The jobs that the workflow wrote down, failed ones first, in the order of their rules.

    Raises:
        DataError: the file is missing or no list of jobs.
    """
    try:
        found = [
            Job(
                each["rule"],
                each["of"],
                each["state"],
                tuple(map(Path, each["log"])),
                Path(each["benchmark"]) if each["benchmark"] else None,
                frozenset(each["inputs"]),
                frozenset(each["outputs"]),
            )
            for each in read_json(path)
        ]
    except (KeyError, TypeError) as error:
        raise DataError(f"{path}: no list of jobs ({error})") from error
    return sorted(found, key=lambda job: (STATES.index(job.state), job.rule, job.name))


def table(jobs: Sequence[Job]) -> pd.DataFrame:
    """A row a job: stage, of, state, seconds, host_mib, why."""
    blocked = {path: job for job in jobs if job.state != "passed" for path in job.outputs}
    rows: list[dict[str, Any]] = []
    for job in jobs:
        seconds, memory = job.usage
        why = {"passed": "", "failed": job.error, "skipped": _waits(job, blocked)}[job.state]
        row = {"stage": job.rule, "of": job.name, "state": job.state}
        rows.append({**row, "seconds": seconds, "host_mib": memory, "why": why})
    return pd.DataFrame(rows)


def _waits(job: Job, blocked: Mapping[str, Job]) -> str:
    """The failed job that a skipped one would have needed, however far up."""
    seen: set[str] = set()
    waiting = [job]
    while waiting:
        for path in sorted(waiting.pop().inputs - seen):
            seen.add(path)
            before = blocked.get(path)
            if before is None:
                continue
            if before.state == "failed":
                return f"needs what {before.rule} {before.name}".rstrip() + " has not made"
            waiting.append(before)
    return "the rehearsal ended before its turn"


def summary(jobs: Sequence[Job]) -> str:
    """How many jobs, of how many rules, are in each state that there is."""
    rules = {state: [job.rule for job in jobs if job.state == state] for state in STATES}
    parts = [
        f"{len(found)} {state} (of {len(set(found))} rules)"
        for state, found in rules.items()
        if found
    ]
    return f"{len(jobs)} jobs: {', '.join(parts)}"
