"""Finished run folders that tests write themselves, and the rows of the tables over them."""

import json

TRAINING = {"steps": 4, "lr": 1e-4, "backend": "local", "prompts": 2, "rollouts": 8}
TRAINING |= {"mini_batch": None, "kl": 0.0}
GRPO = [[0.2, 0.3, 0.4], [0.2, 0.4, 0.6]]  # final mean 0.5; seed 0 ends below it
GAIN = [[0.2, 0.5, 0.6], [0.2, 0.5, 0.9]]


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_run(root, method, seed, curves, *, tokens=None, seconds=2.0, **changes):
    """A finished run of 4 steps, tested at 0, 2 and 4; curves: benchmark -> accuracies.

    tokens: of the rollouts of a step; changes: of run.json; algorithm: of the method.
    """
    curves = curves if isinstance(curves, dict) else {"chain": curves}
    folder = root / "nano/runs/tiny" / changes.get("dataset", "chain") / method / f"seed{seed}"
    folder.mkdir(parents=True)
    run = {
        "preset": "nano",
        "model": "tiny",
        "dataset": "chain",
        "method": method,
        "seed": seed,
        "config_hash": method,
        "commit": "c",
        "versions": {},
        "training": TRAINING,
        "slice": {"method": {"algorithm": changes.pop("algorithm", "grpo")}},
        "evaluation": {"temperature": 0.0, "samples": 1},
        "label": {"grpo": "GRPO", "gain": "GAIN-RL", "ppo": "PPO"}.get(method),
    }
    (folder / "run.json").write_text(json.dumps({**run, **changes}))
    steps = [
        {"step": step, "accuracy": 0.1 * step, "reward": 0.1, "signal": 0.5, "zero_variance": 0.25}
        | {"rollout_tokens": tokens or 100 + seed, "prompt_tokens": 20}
        | ({"curriculum/mu": 3.0 * step} if method == "gain" else {})
        for step in range(1, 5)
    ]
    write_lines(folder / "steps.jsonl", steps)
    time = {"seconds_rollout": 1.0, "seconds_train": 1.0, "seconds_step": seconds}
    write_lines(folder / "timing.jsonl", [{"step": step, **time} for step in range(1, 5)])
    tests = [
        {"step": 2 * i, "benchmark": name, "accuracy": value, "problems": 100, "samples": 1}
        for name, curve in curves.items()
        for i, value in enumerate(curve)
    ]
    write_lines(folder / "eval.jsonl", tests)
    done = {"final": {}, "steps": 4, "zero_variance_steps": 0, "config_hash": method}
    (folder / "done.json").write_text(json.dumps(done))
    return folder


def two_methods(root):
    """The runs of GRPO and GAIN-RL, a folder a seed."""
    return [
        write_run(root, method, seed, curve)
        for method, curves in (("grpo", GRPO), ("gain", GAIN))
        for seed, curve in enumerate(curves)
    ]


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def cell(table, method, metric):
    found = table[(table["method"] == method) & (table["metric"] == metric)]
    assert len(found) == 1
    return found.iloc[0]
