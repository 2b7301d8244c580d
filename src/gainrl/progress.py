"""How far a call of Snakemake is: a line for each job that ends, and once a minute what runs.

Without Snakemake: `snakemake_logger_plugin_gainrl` tells it what happens.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from gainrl.records import read_json, read_lines
from gainrl.training import files


@dataclass(frozen=True)
class Job:
    """A job that runs. of: its wildcards; outputs: files; began: of the clock, seconds."""

    rule: str
    of: Mapping[str, str]
    outputs: tuple[Path, ...]
    began: float


class Progress:
    """Jobs of one call.

    write: gets each line. clock: seconds.
    """

    def __init__(
        self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.write, self.clock, self.began = write, clock, clock()
        self.wanted: Counter[str] = Counter()
        self.running: dict[int, Job] = {}
        self.ended: dict[str, list[float]] = {}

    def planned(self, jobs: Mapping[str, int]) -> None:
        """How many jobs of each rule the call has."""
        self.wanted = Counter({rule: n for rule, n in jobs.items() if rule != "total"})

    def starts(self, number: int, rule: str, of: Mapping[str, str], outputs: Iterable[str]) -> None:
        """A job begins."""
        self.running[number] = Job(rule, dict(of), tuple(map(Path, outputs)), self.clock())

    def ends(self, number: int) -> None:
        """A job has ended well."""
        if (job := self.running.pop(number, None)) is None:
            return
        took = self.clock() - job.began
        self.ended.setdefault(job.rule, []).append(took)
        done = sum(map(len, self.ended.values()))
        self.write(f"{done} of {self.wanted.total()}: {titled(job)}, {_spell(took)}{self.left()}")

    def fails(self, number: int) -> None:
        """A job has failed; the call's last lines say why."""
        if job := self.running.pop(number, None):
            self.write(f"failed: {titled(job)}")

    def status(self) -> None:
        """What runs now, if anything does."""
        if not self.running:
            return
        now = self.clock()
        shown = [f"{titled(job)}, {_spell(now - job.began)}" for job in self.running.values()]
        self.write(f"running: {'; '.join(shown)}{self.left()}")

    def left(self) -> str:
        """How long the rest takes, if what there is of each rule takes what its like has taken.

        Jobs of rules of which none has ended yet count as the mean job: the time is then a guess
        from below or above, and says so.
        """
        now, took = self.clock(), [each for jobs in self.ended.values() for each in jobs]
        if not took or now <= self.began:
            return ""
        ahead, known = 0.0, True
        for rule, count in self.wanted.items():
            mine = self.ended.get(rule, [])
            rest = count - len(mine)
            known = known and (rest == 0 or bool(mine))
            ahead += rest * fmean(mine or took)
        gone = [(job.rule, now - job.began) for job in self.running.values()]
        for rule, seconds in gone:
            ahead -= min(seconds, fmean(self.ended.get(rule, took)))
        spent = sum(took) + sum(seconds for _, seconds in gone)
        at_once = max(spent / (now - self.began), 0.1)
        if ahead <= 0:
            return ""
        return f"; {'about' if known else 'roughly'} {_spell(ahead / at_once)} left"


def titled(job: Job) -> str:
    """A job in words; of a training run how far it is."""
    of = dict(job.of)
    if not {"model", "dataset", "method"} <= of.keys() or job.outputs[0].name != files.DONE:
        return " ".join([job.rule, *of.values()])
    return f"{job.rule} {of['method']} of {of['model']} on {of['dataset']}{_step(job.outputs)}"


def _step(outputs: Iterable[Path]) -> str:
    """Seed, step and last test of the run that was written to last."""
    written = {}
    for path in outputs:
        with suppress(FileNotFoundError):  # a run that begins anew removes it
            written[path.parent] = (path.parent / files.STEPS).stat().st_mtime
    if not written:
        return ""
    run = max(written, key=lambda folder: written[folder])
    text = f", {run.name.replace('seed', 'seed ')}"
    if steps := read_lines(run / files.STEPS):
        whole = read_json(run / files.CONFIG)["training"]["steps"]
        text += f", step {steps[-1]['step']} of {whole}"
    tests = read_lines(run / files.TESTS)
    last = [row["accuracy"] for row in tests if row["step"] == tests[-1]["step"]]
    return f"{text}, {fmean(last):.1%}" if last else text


def _spell(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
