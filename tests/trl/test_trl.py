"""`GRPOTrainer` of TRL under a policy, on a CPU: the prompts are the policy's."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from gainrl.curricula import make

pytestmark = pytest.mark.trl

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".environments" / "trl-cpu" / "bin" / "python"
SIZE, GROUP = 24, 4  # as in tiny.py
SMALL = {"per_device_train_batch_size": 16, "num_generations": GROUP}


def run(*arguments, cwd):
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "src"),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    command = [str(PYTHON), *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=240
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    assert PYTHON.exists(), "make test-trl builds TRL's environment"
    folder = tmp_path_factory.mktemp("model")
    done = run(Path(__file__).with_name("tiny.py"), "model", folder, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def trained(model, *runs):
    """What runs drew and rewarded, one after another in a process, and how that ended.

    runs: (folder, policy, settings). A run that was refused is its error.
    """
    files = []
    for out, policy, settings in runs:
        out.mkdir(exist_ok=True)
        settings = {"config": SMALL, **settings}
        settings |= {"out": str(out), "model": str(model), "curriculum": policy}
        files.append(out / "settings.json")
        files[-1].write_text(json.dumps(settings), encoding="utf-8")
    done = run(Path(__file__).with_name("tiny.py"), "train", *files, cwd=model)
    return [_seen(file.parent, done) for file in files], done.returncode


def _seen(out, done):
    if (out / "error").exists():
        return (out / "error").read_text()
    assert (out / "seen.jsonl").exists(), done.stderr
    seen = [json.loads(line) for line in (out / "seen.jsonl").read_text().splitlines()]
    return [each for each in seen if "rows" in each]


POLICIES = {
    "mopps": {"name": "mopps", "pool": 3},
    "gain": {"name": "gain"},
    "predicted": {"name": "predicted", "adaptive": False},
}


def by_the_policy(policy, batch, seen):
    """What the policy draws if it is told these rewards."""
    rows = np.arange(SIZE)
    features = {"tokens": rows % 7.0, "c_intra": rows / SIZE, "c_inter": np.cos(rows)}
    given = {"gain": {"order": rows[::-1]}, "predicted": {"features": features}}
    more = given.get(policy["name"], {})
    curriculum = make(policy, size=SIZE, batch=batch, rollouts=GROUP, seed=3, **more)
    drawn = []
    for step in seen:
        chosen = curriculum.next_batch()
        drawn.append(np.repeat(chosen, GROUP).tolist())
        signal = chosen / SIZE if policy["name"] == "gain" else None
        curriculum.observe(chosen, np.reshape(step["rewards"], (batch, GROUP)), signal=signal)
    return drawn


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_the_prompts_are_the_policys_killed_and_resumed(name, model, tmp_path):
    policy, out, steps = POLICIES[name], tmp_path / "run", 8  # 6 an epoch
    [before], code = trained(model, (out, policy, {"steps": steps, "save": 2, "kill": 5}))
    assert code == 9
    checkpoint = str(out / "run" / "checkpoint-4")
    [after], _ = trained(model, (out, policy, {"steps": steps, "resume": checkpoint}))
    assert (len(before), len(after)) == (5, 4)
    assert before[4] == after[0]  # the step that was lost, its completions too
    drawn = [step["rows"] for step in before[:4] + after]
    assert drawn == by_the_policy(policy, 4, before[:4] + after)
    assert len({tuple(sorted(set(rows))) for rows in drawn}) > 3
    if name == "mopps":
        [whole], _ = trained(model, (tmp_path / "whole", policy, {"steps": steps}))
        assert whole == before[:4] + after


def test_several_updates_a_generation_and_several_generations_an_update(model, tmp_path):
    policy = POLICIES["mopps"]
    configs = (
        {"steps_per_generation": 2, "num_iterations": 2},
        {"steps_per_generation": 1, "gradient_accumulation_steps": 2},
    )
    runs = [
        (tmp_path / str(i), policy, {"steps": 6, "config": {**SMALL, **config}})
        for i, config in enumerate(configs)
    ]
    found, _ = trained(model, *runs)
    assert [len(seen) for seen in found] == [2, 12]
    for config, seen in zip(configs, found, strict=True):
        batch = 4 * config["steps_per_generation"]
        assert [step["rows"] for step in seen] == by_the_policy(policy, batch, seen)


def test_two_processes_learn_the_same_and_share_a_batch(model, tmp_path):
    settings = {
        "out": str(tmp_path),
        "model": str(model),
        "curriculum": POLICIES["mopps"],
        "steps": 5,
        "config": {**SMALL, "per_device_train_batch_size": 8},
    }
    (tmp_path / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", 2)
    script = Path(__file__).with_name("tiny.py")
    done = run(*launcher, script, "train", tmp_path / "settings.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    both = [(tmp_path / f"seen{rank}.jsonl").read_text().splitlines()[:5] for rank in (0, 1)]
    steps = [[json.loads(line) for line in pair] for pair in zip(*both, strict=True)]
    seen = [{"rewards": a["rewards"] + b["rewards"]} for a, b in steps]
    drawn = [a["rows"] + b["rows"] for a, b in steps]
    assert drawn == by_the_policy(POLICIES["mopps"], 4, seen)


def test_what_cannot_be_is_one_line(model, tmp_path):
    mopps = {"name": "mopps"}
    resumed = {"steps": 2, "resume": str(tmp_path / "without" / "run" / "checkpoint-1")}
    cases = (
        ({"name": "dapo"}, {}, "curriculum 'dapo' draws several times a step, TRL once"),
        ({"name": "predicted"}, {}, "predicted has adaptive=False"),
        ({"name": "adarft"}, {}, "curriculum 'adarft' needs difficulty="),
        (mopps, {"config": {**SMALL, "shuffle_dataset": True}}, "set shuffle_dataset=False"),
        (mopps, {"unwrapped": True}, "a step ended without a reward"),
        (mopps, resumed, "the checkpoint of step 1 was made without a curriculum"),
    )
    without = (tmp_path / "without", None, {"steps": 2, "save": 1})
    runs = [
        (tmp_path / str(i), policy, {"steps": 1, **more})
        for i, (policy, more, _) in enumerate(cases)
    ]
    found, _ = trained(model, without, *runs)
    assert len(found[0]) == 2
    for (_, _, said), error in zip(cases, found[1:], strict=True):
        assert said in error


def test_the_documents_script_runs_as_it_is_written(model, tmp_path):
    text = (ROOT / "docs" / "trl.md").read_text(encoding="utf-8")
    script = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
    (tmp_path / "train.py").write_text(script, encoding="utf-8")
    name = re.search(r'"(Qwen/[^"]+)"', script)[1]
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).symlink_to(model)  # the hub is not asked for a folder that is there
    lines = [{"prompt": f"{n} + 1 = ?", "answer": str(n + 1)} for n in range(30)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    done = run("train.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "curriculum/seen_share" in done.stdout


def test_our_trainer_runs_in_trls_environment_and_decodes_with_a_cache(tmp_path):
    """Its transformers are newer than ours: layers of a cache are made of other arguments there."""
    small = ["--rounds", "1", "--steps", "4", "--prompts", "2", "--rollouts", "2", "--tokens", "6"]
    done = run(ROOT / "benchmarks" / "trainer.py", *small, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^TRL / ours: median [\d.]+", done.stdout, re.MULTILINE)
    assert "without a cache" not in done.stdout + done.stderr
