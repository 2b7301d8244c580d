"""PPO on two ranks, algorithms and learning curves beside the local ones (`make test-slow`)."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import place as places
import pytest
import torch
from replay import replayed

from gainrl.models.loading import load_model
from gainrl.records import read_lines
from gainrl.training.algorithms.ppo import gae, whiten
from gainrl.training.local.critic import Estimates

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]
SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def place(prepared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("verl-slow")
    return places.Place.like(prepared, folder, places.preset(folder, kl=0.001, mini_batch=4))


def beside(place, preset, content):
    """A place of a preset that has what was prepared, in a folder of another name than its own."""
    folder = place.folder / f"of-{preset}"
    folder.mkdir()
    content["preset"] = preset
    content["verl"]["variables"]["GAINRL_PROBE"] = str(folder / "probe")
    one = places.Place(folder, content)
    one.home.mkdir(parents=True)
    for name in ("data", "models", "signals", "evals"):
        (one.home / name).symlink_to(place.home / name)
    one.gainrl("tracking", "init")
    return one


def test_ppo_with_a_critic_on_two_ranks(place):
    content = copy.deepcopy(place.content)
    content["verl"]["gpus_per_node"] = 2
    content["verl"]["keys"]["+ray_kwargs.ray_init.num_gpus"] = 2
    two = places.Place(place.folder, content)
    two.gainrl(*two.train("gain-ppo"), seconds=900)
    folder = two.run("gain-ppo")
    steps, tests = read_lines(folder / "steps.jsonl"), read_lines(folder / "eval.jsonl")
    assert len(steps) == content["training"]["steps"]
    assert tests[-1]["accuracy"] > tests[0]["accuracy"] + 0.3
    assert {"value_loss", "explained_variance"} <= set(steps[0])
    batch = torch.load(two.folder / "probe" / "batch.pt", weights_only=True)
    lengths = torch.tensor([len(row) for row in batch["responses"]])
    known = Estimates.of(torch.stack([row.sum() for row in batch["rm_scores"]]), lengths)
    known.values[known.mask] = torch.cat(batch["values"]).float()
    known.advantages = gae(known.values, known.rewards, discount=1.0, gae_lambda=1.0)
    for name, ours in (
        ("advantages", whiten(known.advantages, known.mask)),
        ("returns", known.returns),
    ):
        theirs = torch.cat(batch[name])
        torch.testing.assert_close(ours[known.mask], theirs, atol=1e-5, rtol=0, msg=name)
    # The signal of the first step, whose samples were spread over both ranks.
    scores = pd.read_parquet(two.home / "signals/nano/sevens/scores.parquet")
    table = pd.read_parquet(two.home / "data/sevens/train.parquet")
    start = scores.set_index("id").loc[table["id"], "c"].to_numpy()
    observed = read_lines(two.folder / "probe" / "curriculum.jsonl")
    first = next(event for event in observed if event["event"] == "observed")
    np.testing.assert_allclose(first["signal"], start[first["rows"]], atol=1e-5)


def test_adapters_learn_and_a_plain_model_is_kept(place):
    content = copy.deepcopy(place.content)
    content["training"] |= {"lora": {"rank": 16, "alpha": 32}, "lr": 1e-2}
    one = beside(place, "lora", content)
    one.gainrl(*one.train("gain"), seconds=900)
    steps = read_lines(one.run("gain") / "steps.jsonl")
    tests = read_lines(one.run("gain") / "eval.jsonl")
    assert steps[-1]["kl"] > steps[0]["kl"]  # to the policy without its adapters
    assert tests[-1]["accuracy"] > tests[0]["accuracy"] + 0.3
    start, kept = (
        load_model(each) for each in (one.home / "models/nano", one.run("gain") / "model")
    )
    moved = {
        name
        for name, weight in kept.state_dict().items()
        if not torch.equal(weight, start.state_dict()[name])
    }
    assert moved == {name for name in start.state_dict() if "_proj" in name}


@pytest.mark.parametrize("algorithm", ["dr_grpo", "gspo", "rloo"])
def test_an_algorithm_makes_the_same_step_on_both_backends(place, algorithm):
    """The rollouts of verl's first step give the local trainer the same update."""
    content = copy.deepcopy(place.content)
    content["training"] |= {"mini_batch": None, "steps": 2, "kl": 0.0}
    content["evaluation"]["every"] = 2
    content["methods"]["grpo"]["algorithm"] = algorithm
    one = beside(place, algorithm, content)
    one.gainrl(*one.train("grpo"), seconds=900)
    steps = read_lines(one.run("grpo") / "steps.jsonl")
    record, _ = replayed(one, name=algorithm)
    for key in ("loss", "entropy", "grad_norm", "signal", "accuracy"):
        assert record[key] == pytest.approx(steps[0][key], abs=1e-5, rel=1e-4), key


def test_the_backends_learn_alike(place):
    """Accuracy by step, mean over seeds: as far apart as seeds are, and no farther.

    With one update a step: of several, verl's mini-batches mix the groups and ours do not.
    """
    curves = {}
    for backend in ("local", "verl"):
        content = copy.deepcopy(place.content)
        content["preset"] = f"parity-{backend}"
        content["training"] |= {"backend": backend, "mini_batch": None}
        for method in [name for name in content["methods"] if name != "grpo"]:
            content["methods"].pop(method)
        content["experiments"]["table1"]["methods"] = ["grpo"]
        one = places.Place(place.folder, content)
        one.home.mkdir(exist_ok=True)
        for name in ("data", "models", "signals", "evals"):
            if not (one.home / name).exists():
                (one.home / name).symlink_to(place.home / name)
        one.gainrl("tracking", "init")
        for seed in SEEDS:
            one.gainrl(*one.train("grpo", seed), seconds=600)
        rows = [read_lines(one.run("grpo", seed) / "steps.jsonl") for seed in SEEDS]
        curves[backend] = np.array([[row["accuracy"] for row in run] for run in rows])
    for backend, curve in curves.items():
        print(backend, np.round(curve.mean(0), 3).tolist(), "sd", np.round(curve.std(0, ddof=1), 3))
    mean = {backend: curve.mean(0) for backend, curve in curves.items()}
    spread = np.sqrt(sum(curve.var(0, ddof=1) / len(SEEDS) for curve in curves.values()))
    # A binomial floor: three runs can agree by chance where accuracy is near 0 or 1.
    p, n = (mean["local"] + mean["verl"]) / 2, len(SEEDS) * 64
    floor = np.sqrt(2 * p * (1 - p) / n)
    gap = np.abs(mean["local"] - mean["verl"]) / np.maximum(spread, floor).clip(1e-3)
    assert gap.max() < 4
    assert gap.mean() < 2
