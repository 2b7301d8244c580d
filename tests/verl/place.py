"""What a run on verl starts from: a folder with a nano model, an easy task and its scores."""

from __future__ import annotations

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
SHIMS = Path(__file__).parent
PYTHON = REPOSITORY / ".environments" / "verl-cpu" / "bin" / "python"
METHODS = {
    "grpo": {"curriculum": "uniform"},
    "gain": {"curriculum": {"name": "gain", "step": 0.3, "sigma": 0.2}, "order": "angle"},
    "adarft": {"curriculum": "adarft", "difficulty": "measured"},
    "gain-ppo": {
        "algorithm": "ppo",
        "curriculum": {"name": "gain", "step": 0.3, "sigma": 0.2},
        "order": "angle",
    },
}


def sevens(folder: Path) -> dict[str, Any]:
    """Sums near seven whose right answer is always 7: what RL can learn in a few steps."""
    pairs = [(a, b) for a in range(1, 9) for b in range(1, 9) if 4 <= a + b <= 10]
    rows = [{"question": f"{a} + {b} = ?", "answer": "7"} for a, b in pairs]
    for name, part in (("train", rows[:32]), ("eval", rows[32:44])):
        text = "".join(json.dumps(row) + "\n" for row in part)
        (folder / f"{name}.jsonl").write_text(text)
    paths = {f"{name}_file": str(folder / f"{name}.jsonl") for name in ("train", "eval")}
    return {"source": "file", **paths}


def cpu_keys() -> dict[str, Any]:
    """verl's keys for a CPU; from the shim's source, which imports verl."""
    tree = ast.parse((SHIMS / "cpu_platform.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "OVERRIDES":  # type: ignore[attr-defined]
            return ast.literal_eval(node.value)
    raise LookupError("OVERRIDES")


def preset(folder: Path, **training: Any) -> dict[str, Any]:
    """A preset for verl on this machine's CPU, in fp32."""
    warmup = {"phases": [{"datasets": ["chain"], "steps": 250, "lr": 3e-3, "warmup_steps": 30}]}
    nano = {"hidden": 64, "layers": 2, "heads": 2, "feed_forward": 128, "warmup": warmup}
    variables = {
        "VERL_PLATFORM": "cpu",
        "VERL_USE_EXTERNAL_MODULES": "cpu_platform,probe",
        "VERL_ENGINE_DEVICE": "cuda",
        "PYTHONPATH": f"{SHIMS}{os.pathsep}{REPOSITORY / 'src'}",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": "1",
        "GAINRL_PROBE": str(folder / "probe"),
        "GAINRL_TIME_SIGNAL": "1",
        "GAINRL_EXPORTS": json.dumps(list(range(1, 100))),  # what tests compare with
    }
    return {
        "preset": "verl-cpu",
        "seeds": [0, 1, 2],
        "models": {"nano": {"source": "nano", **nano}},
        "datasets": {
            "chain": {
                "source": "generate", "task": "chain", "train": 8, "eval": 8, "warmup": 4000,
                "levels": [1], "corrupt": 0.3,
            },
            "sevens": sevens(folder),
        },
        "scoring": {"dtype": "float32"},
        "training": {
            "backend": "verl", "steps": 12, "prompts": 8, "rollouts": 8, "lr": 1e-3,
            "max_prompt": 96, "max_response": 24, "micro_batch_tokens": 2048, "save_every": 4,
            **training,
        },
        "ppo": {"critic_lr": 1e-3},
        "evaluation": {"every": 6, "temperature": 1.0, "samples": 4},
        "methods": METHODS,
        "experiments": {
            "table1": {"models": ["nano"], "datasets": ["sevens"], "methods": list(METHODS)}
        },
        "verl": {
            "python": str(PYTHON),
            "gpus_per_node": 1,
            "patience": 900,  # the machine may have other work
            "variables": variables,
            "keys": cpu_keys(),
        },
    }  # fmt: skip


class Place:
    """Runs the command line on a preset in a folder of its own."""

    def __init__(self, folder: Path, content: dict[str, Any]) -> None:
        self.folder, self.content = folder, content
        self.home = folder / "results" / content["preset"]
        self.preset = folder / "preset.json"
        self.preset.write_text(json.dumps(content))

    def command(self, *arguments: str) -> list[str]:
        """A command of the command line."""
        name, *rest = arguments
        program = [sys.executable, "-m", "gainrl.cli", name]
        if name == "tracking":
            program.append(rest.pop(0))
        return [*program, "--preset", str(self.preset), *rest]

    def environment(self) -> dict[str, str]:
        """Variables of a user who has set none of ours."""
        return {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "GAINRL_"))}

    def gainrl(self, *arguments: str, seconds: float = 900) -> str:
        """Run a command that has to succeed; returns what it printed."""
        with self.start(*arguments) as process:
            try:
                output = process.communicate(timeout=seconds)[0]
            except BaseException:
                process.terminate()  # the launcher ends verl when it is terminated
                process.wait(60)
                raise
        assert process.returncode == 0, output[-4000:]
        return output

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def here(self, *arguments: str) -> None:
        """Run a command that has to succeed in this process, which has imported most of it."""
        import pytest  # not there for verl's Python, which imports this file too

        from gainrl import cli

        with pytest.MonkeyPatch.context() as patch:
            for name in set(os.environ) - set(self.environment()):
                patch.delenv(name)
            patch.chdir(self.folder)
            assert cli.main(self.command(*arguments)[3:]) == 0

    def prepare(self) -> None:
        """Everything before training."""
        where = ("--model", "nano", "--dataset", "sevens")
        self.here("tracking", "init")
        for name in ("chain", "sevens"):
            self.here("data", "--dataset", name)
        self.here("model", "--model", "nano")
        for stage in ("prompts", "score", "difficulty"):
            self.here(stage, *where)
        self.here("order", *where, "--order", "angle")
        self.here("evaluate", "--model", "nano", "--benchmark", "sevens")

    @classmethod
    def like(cls, prepared: Place, folder: Path, content: dict[str, Any]) -> Place:
        """A place for runs of a preset that differs from the prepared one's in what comes after."""
        made = cls(folder, content)
        shutil.copytree(prepared.folder / "results", folder / "results")
        made.here("tracking", "init")
        return made

    def train(self, method: str, seed: int = 0) -> tuple[str, ...]:
        """The arguments that train a method."""
        where = ("--model", "nano", "--dataset", "sevens")
        return ("train", *where, "--method", method, "--seed", str(seed))

    def run(self, method: str, seed: int = 0) -> Path:
        """A run's folder."""
        return self.home / "runs" / "nano" / "sevens" / method / f"seed{seed}"


def processes_of(run: Path) -> list[str]:
    """Command lines of live processes that a run's launcher has started."""
    mark, found = f"GAINRL_RUN={run.resolve()}".encode(), []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in path.read_bytes().split(b"\0"):
                command = (path.parent / "cmdline").read_bytes().replace(b"\0", b" ")
                found.append(command.decode(errors="replace"))
        except OSError:  # it has ended
            continue
    return found


def kill_when(process: subprocess.Popen[str], reached: Any, seconds: float) -> None:
    """SIGKILL a launcher as soon as `reached()`; fail if it ends or takes too long."""
    deadline = time.monotonic() + seconds
    while not reached():
        if process.poll() is not None:
            raise AssertionError(f"ended early:\n{process.stdout.read()[-4000:]}")
        if time.monotonic() > deadline:
            process.terminate()
            raise AssertionError("nothing to kill in time")
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
