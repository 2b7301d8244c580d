"""The command of docs/verl-plugin.md as it is written, on a CPU: killed, resumed, row by row."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import place as places
import pytest
import torch
from outcomes import outcome

from gainrl.config.models import Nano
from gainrl.curricula import Groups, Setting, build
from gainrl.models.nano import build_model, build_tokenizer
from gainrl.processes import MARK, end_marked
from gainrl.records import read_lines
from gainrl.training.verl.settings import hydra_value

pytestmark = [pytest.mark.verl, pytest.mark.timeout(1800)]
ROWS, BATCH, GROUP, SAVE, STEPS = 32, 4, 4, 2, 4
DOCUMENT = places.REPOSITORY / "docs" / "verl-plugin.md"
REWARD = """
def compute_score(data_source, solution_str, ground_truth, extra_info=None, **_):
    return float(sum(map(ord, solution_str)) % 2)
"""
SMALL = {
    "data.train_batch_size": BATCH,
    "data.max_prompt_length": 96,
    "data.max_response_length": 12,
    "actor_rollout_ref.actor.ppo_mini_batch_size": BATCH,
    "actor_rollout_ref.actor.ppo_max_token_len_per_gpu": 1024,
    "actor_rollout_ref.rollout.log_prob_max_token_len_per_gpu": 1024,
    "actor_rollout_ref.rollout.n": GROUP,
    "actor_rollout_ref.rollout.max_model_len": 128,
    "trainer.n_gpus_per_node": 1,
    "trainer.save_freq": SAVE,
    "trainer.test_freq": -1,
    "trainer.val_before_train": False,
    "trainer.total_training_steps": STEPS,
    "trainer.logger": ["console", "file"],
    "trainer.default_local_dir": "checkpoints",
    "++trainer.rollout_data_dir": "rollouts",
}
"""What is smaller than in the document, and where this test looks."""


def command(place: int = 0) -> str:
    """One of the document's blocks, for the model here; verl's processes are told of the CPU."""
    text = DOCUMENT.read_text(encoding="utf-8")
    block = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)[place]
    assert "trainer.v1.trainer_mode=gainrl +gainrl.curriculum=" in block
    block = block.replace("=gainrl.integrations.verl", "=cpu_platform,gainrl.integrations.verl")
    return block.replace("Qwen/Qwen2.5-0.5B-Instruct", "model")


def prepare(folder: Path) -> None:
    """Their model, data and reward: whether a response's characters add up to an odd number."""
    tokenizer = build_tokenizer()
    spec = Nano(
        source="nano", hidden=64, layers=1, heads=2, feed_forward=64
    )  # vLLM wants heads of 32
    build_model(spec, len(tokenizer)).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    (folder / "reward.py").write_text(REWARD)
    prompts = [[{"role": "user", "content": f"{row} + 1 = ?"}] for row in range(ROWS)]
    golds = [{"style": "rule", "ground_truth": str(row)} for row in range(ROWS)]
    frame = pd.DataFrame({"data_source": "theirs", "prompt": prompts, "reward_model": golds})
    for name in ("train", "test"):
        frame.to_parquet(folder / f"{name}.parquet")


def start(
    folder: Path, attempt: int, block: int = 0, more: Mapping[str, object] | None = None
) -> subprocess.Popen[bytes]:
    """Their command, in their folder."""
    changed = {**SMALL, **places.cpu_keys(), **(more or {})}
    shown = [f"{key}={hydra_value(value)}" for key, value in changed.items()]
    variables = {
        **os.environ,
        "PATH": f"{places.PYTHON.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{places.SHIMS}{os.pathsep}{places.REPOSITORY / 'src'}",
        "VERL_PLATFORM": "cpu",
        "VERL_ENGINE_DEVICE": "cuda",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": "1",
        "VERL_FILE_LOGGER_PATH": str(folder / f"metrics-{attempt}.jsonl"),
        MARK: str(folder),
    }
    variables.pop("RAY_ADDRESS", None)
    with open(folder / f"verl-{attempt}.log", "wb") as log:
        return subprocess.Popen(
            ["bash", "-ec", command(block), "run.sh", *shown],
            cwd=folder,
            env=variables,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def rows_of(path: Path) -> dict[int, list[float]]:
    """Row -> rewards of its group, as verl wrote a step's rollouts down."""
    found: dict[int, list[float]] = {}
    for line in read_lines(path):
        found.setdefault(int(line["gts"]), []).append(line["score"])
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of a run that was killed after its first checkpoint, when a further step was made."""
    if not places.PYTHON.exists():
        pytest.skip(f"{places.PYTHON} is not there; `make test-verl` builds it")
    folder = tmp_path_factory.mktemp("theirs")
    prepare(folder)
    try:
        process = start(folder, 0)
        deadline = time.monotonic() + 900
        while not (folder / "rollouts" / f"{SAVE + 1}.jsonl").exists():
            assert process.poll() is None, (folder / "verl-0.log").read_text()[-6000:]
            assert time.monotonic() < deadline, (folder / "verl-0.log").read_text()[-6000:]
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)
        end_marked(f"{MARK}={folder}")
        shutil.copytree(folder / "rollouts", folder / "rollouts-0")
        assert start(folder, 1).wait(900) == 0, (folder / "verl-1.log").read_text()[-6000:]
    finally:
        end_marked(f"{MARK}={folder}")
    return folder


def test_the_rows_of_every_step_are_the_policys_also_behind_a_kill(folder):
    policy = build("mopps", Setting(ROWS, BATCH, 0, rollouts=GROUP))
    saved = torch.load(
        folder / "checkpoints" / f"global_step_{SAVE}" / "data.pt", weights_only=False
    )
    rewards = []
    for step in range(1, STEPS + 1):
        drawn = policy.draw(Groups.none(), None).rows
        found = rows_of(folder / "rollouts" / f"{step}.jsonl")
        assert sorted(found) == sorted(drawn.tolist()), step
        assert {len(group) for group in found.values()} == {GROUP}
        means = np.array([np.mean(found[row]) for row in drawn.tolist()])
        policy.observe(outcome(drawn, means, rollouts=GROUP))
        rewards += [value for group in found.values() for value in group]
        if step == SAVE:
            assert json.loads(saved["curriculum"]) == policy.state_dict()
    assert set(rewards) == {0.0, 1.0}  # else the policy had nothing to learn
    before, after = (
        rows_of(folder / name / f"{SAVE + 1}.jsonl") for name in ("rollouts-0", "rollouts")
    )
    assert sorted(before) == sorted(after)


def test_their_loggers_get_the_policys_metrics_and_c_is_not_measured(folder):
    lines = [*read_lines(folder / "metrics-0.jsonl"), *read_lines(folder / "metrics-1.jsonl")]
    steps = {line["step"]: line["data"] for line in lines}
    assert {1, 2, 3, 4} <= set(steps)
    for step in range(1, STEPS + 1):
        assert steps[step]["gainrl/groups"] == BATCH
        assert steps[step]["gainrl/curriculum/seen_share"] > 0
        assert "critic/rewards/mean" in steps[step]
        assert "gainrl/signal" not in steps[step]
    log = (folder / "verl-1.log").read_text()
    assert f"setting global step to {SAVE}" in log or "global_step_2" in log
