"""Commands that end at a moment that a test chooses, in forks of one process."""

import json
import multiprocessing
import os
import signal
import sys
from pathlib import Path

from gainrl import cli
from gainrl.records import append_lines
from gainrl.training.local import checkpoint


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def arm(moment):
    """Have this process kill itself at a moment."""
    from gainrl.stages import runs
    from gainrl.stages.train_local import LocalRun

    kind, _, number = moment.partition(" ")
    if kind in ("line", "second"):  # a line of steps.jsonl is on the disk; of the second run

        def append(path, rows):
            append_lines(path, rows)
            wanted = Path(path).name == "steps.jsonl" and list(rows)[-1]["step"] == int(number)
            if wanted and (kind == "line" or Path(path).parent.name == "seed1"):
                die()

        runs.append_lines = append
    elif kind == "testing":  # all is written down but a step's test

        def no_test(path, rows):
            if Path(path).name == "eval.jsonl" and list(rows)[-1]["step"] == int(number):
                die()
            append_lines(path, rows)

        runs.append_lines = no_test
    elif kind == "taken":  # a step is made and not yet written down

        def never_append(path, rows):
            if Path(path).name == "steps.jsonl" and list(rows)[-1]["step"] == int(number):
                die()
            append_lines(path, rows)

        runs.append_lines = never_append
    elif kind == "writing":  # half of a checkpoint is on the disk
        import torch

        save = torch.save

        def half(state, file):
            if state["step"] != int(number):
                return save(state, file)
            save(state, file)
            file.flush()
            os.truncate(file.name, os.path.getsize(file.name) // 2)
            die()

        torch.save = half
    elif kind == "renaming":  # a checkpoint is written but not yet named
        replace = os.replace

        def never(source, target):
            if Path(target).name == f"step-{int(number):06d}":
                die()
            replace(source, target)

        checkpoint.os.replace = never
    elif kind == "exporting":  # all steps are done, the trained model is written half
        LocalRun._export = lambda run, target, like: (target.mkdir(), die())
    elif kind == "recorded":  # MLflow has it all, and only done.json is missing
        written = runs.write_json
        runs.write_json = lambda path, value: (
            die() if Path(path).name == "done.json" else written(path, value)
        )
    else:
        raise ValueError(moment)


def command(argv, log, moment):
    """The command line in a process of its own."""
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    with open(log, "wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    if moment:
        arm(moment)
    sys.exit(cli.main(argv))


class Runner:
    """Runs commands of a preset below a root."""

    def __init__(self, folder, content):
        self.folder = folder
        self.processes = multiprocessing.get_context("forkserver")
        self.processes.set_forkserver_preload(
            [
                "gainrl.stages.train_local",
                "gainrl.stages.prepare",
                "gainrl.stages.tracking",
                "mlflow",
            ]
        )
        self.preset = self.write_preset("preset.json", content)
        self.log = folder / "log"

    def write_preset(self, name, content):
        path = self.folder / name
        path.write_text(json.dumps(content))
        return path

    def start(self, root, *argv, moment=None, preset=None):
        full = [*argv, "--preset", str(preset or self.preset), "--root", str(root)]
        process = self.processes.Process(target=command, args=(full, self.log, moment))
        process.start()
        return process

    def __call__(self, root, *argv, **options):
        """The exit code; what was printed is in `said`."""
        process = self.start(root, *argv, **options)
        process.join(300)
        assert process.exitcode is not None
        return process.exitcode

    @property
    def said(self):
        return self.log.read_text()
