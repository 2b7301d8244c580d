"""The other command of docs/verl-plugin.md: an ordered file, PPO, and a policy that is told C."""

from __future__ import annotations

import numpy as np
import pandas as pd
import place as places
import pytest
from outcomes import outcome
from test_verl_plugin import BATCH, GROUP, ROWS, STEPS, prepare, rows_of, start

from gainrl.compare.reading import read_curves, read_log
from gainrl.curricula import Groups, Setting, build
from gainrl.processes import MARK, end_marked
from gainrl.records import read_lines

pytestmark = [pytest.mark.verl, pytest.mark.slow, pytest.mark.timeout(1200)]
MORE = {
    "critic.ppo_mini_batch_size": BATCH,
    "critic.ppo_max_token_len_per_gpu": 1024,
    "+critic.ppo_infer_max_token_len_per_gpu": 1024,
    "critic.fsdp.model_dtype": "fp32",
    "trainer.test_freq": 2,
}
LOG = "gain-seed0.jsonl"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of a run that has ended."""
    if not places.PYTHON.exists():
        pytest.skip(f"{places.PYTHON} is not there; `make test-verl` builds it")
    folder = tmp_path_factory.mktemp("theirs")
    prepare(folder)
    try:
        assert start(folder, 0, block=2, more=MORE).wait(900) == 0, (
            folder / "verl-0.log"
        ).read_text()[-6000:]
    finally:
        end_marked(f"{MARK}={folder}")
    (folder / "metrics-0.jsonl").rename(folder / LOG)
    return folder


def test_ppo_trains_on_the_rows_of_a_policy_that_is_told_c(folder):
    ordered = pd.read_parquet(folder / "ordered.parquet")
    order = np.argsort(ordered["gainrl_rank"].to_numpy(), kind="stable")
    assert order.tolist() == list(range(ROWS))
    golds = [int(each["ground_truth"]) for each in ordered["reward_model"]]
    assert golds != sorted(golds)  # the file's rows are not where they stood
    policy = build("gain", Setting(ROWS, BATCH, 0, order, rollouts=GROUP))
    logged = {line["step"]: line["data"] for line in read_lines(folder / LOG)}
    for step in range(1, STEPS + 1):
        drawn = policy.draw(Groups.none(), None).rows
        rollouts = rows_of(folder / "rollouts" / f"{step}.jsonl")
        found = {golds.index(gold): rewards for gold, rewards in rollouts.items()}
        assert sorted(found) == sorted(drawn.tolist()), step
        signal = logged[step]["gainrl/signal"]
        assert 0 < signal < 2
        means = np.array([np.mean(found[row]) for row in drawn.tolist()])
        policy.observe(outcome(drawn, means, signal, rollouts=GROUP))
        assert logged[step]["gainrl/curriculum/mu"] == pytest.approx(policy.metrics()["mu"])
        assert "critic/vf_loss" in logged[step]
    assert policy.metrics()["mu"] > 0


def test_the_log_that_verl_wrote_is_a_curve(folder):
    log = read_log(folder / LOG)
    (metric,) = [name for name in log.metrics if name.startswith("val-core/")]
    (curve,) = read_curves([folder / LOG], metric=metric)
    assert (curve.method, curve.seed) == ("gain", 0)
    assert curve.steps.tolist() == [2, 4]
    assert curve.tokens is not None
    assert (np.diff(curve.tokens) > 0).all()
    assert ((curve.accuracies >= 0) & (curve.accuracies <= 1)).all()
