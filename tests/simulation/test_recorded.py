"""Recorded runs as learners: their clock, their rates, and tables that are no record."""

import numpy as np
import pandas as pd
import pytest
from worlds import policy_for, probe, recorded

from gainrl.errors import DataError
from gainrl.records import PROBE, SCORES, write_table
from gainrl.simulation.recorded import denoised, read_recorded
from gainrl.simulation.run import simulate


def test_recorded_rates_are_linear_in_the_clock():
    world = recorded([[0.2, 0.8, 0.0], [0.6, 1.0, 0.0], [0.8, 1.0, 0.2]])
    rows = np.arange(3)
    for share, expected in [(0.0, [0.2, 0.8, 0]), (0.5, [0.4, 0.9, 0]), (1.0, [0.6, 1, 0])]:
        world.now = share * world.clock[1]
        assert world.rates(rows) == pytest.approx(expected)
        assert world.test_accuracy() == pytest.approx(np.mean(expected))
    world.now = 2 * world.clock[-1]
    assert world.rates(rows) == pytest.approx([0.8, 1, 0.2])  # the record is over
    assert world.ability == 1


def test_the_clock_of_a_record_that_stands_still_counts_its_signal():
    """All p = .5 for 10 steps: a uniform batch of 8 rollouts adds .25 * 7 / 8 a step."""
    world = recorded([[0.5, 0.5], [0.5, 0.5]])
    assert world.clock[-1] == pytest.approx(10 * 0.25 * 7 / 8)
    assert world.learn(np.array([0]), np.array([0.5]), np.array([8])) == 0.25


def test_uniform_sampling_retraces_the_record():
    rng = np.random.default_rng(3)
    start = rng.random(400) ** 2
    rates = [start, start + 0.3 * (1 - start), start + 0.8 * (1 - start)]
    world = recorded(rates, steps=[0, 20, 60])
    found = simulate(world, policy_for(world, "uniform", 100), 60, seed=1)
    accuracy = [found.start, *(row["test_accuracy"] for row in found.steps)]
    means = world.means
    assert accuracy[0] == pytest.approx(means[0])
    assert accuracy[20] == pytest.approx(means[1], abs=0.01)
    assert accuracy[60] == pytest.approx(means[2], abs=0.01)
    assert abs(accuracy[10] - means[1]) > 0.05  # else this would hold of any clock


def test_what_four_samples_say_of_a_snapshot_is_shrunk_and_its_mean_kept():
    """True rates are .1, .5 and .9 throughout: nothing but noise lies between the snapshots."""
    truth = np.repeat([0.1, 0.5, 0.9], 100)
    correct = np.random.default_rng(0).binomial(4, truth, size=(5, 300))
    correct[:, 0] = 0
    raw, found = correct / 4, denoised(correct, np.full(correct.shape, 4.0))
    error = {name: np.abs(each - truth).mean() for name, each in [("raw", raw), ("found", found)]}
    assert error["found"] < 0.6 * error["raw"]
    assert found.mean(axis=1) == pytest.approx(raw.mean(axis=1), abs=0.01)
    assert found[:, 0] == pytest.approx(0, abs=0.03)  # what is never right stays dead


def test_where_samples_are_many_rates_stay_what_they_were():
    rates = np.random.default_rng(1).random((3, 50))
    found = denoised(1000 * rates, np.full(rates.shape, 1000.0))
    assert found == pytest.approx(rates, abs=0.01)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (probe([[2, 1]]), "1 snapshot; a record has at least two"),
        (probe([[0, 4], [0, 4]]), "every prompt is solved or failed throughout the record"),
        (probe([[0, 1], [1, 1]], samples=1), "fewer than two samples of a prompt"),
        (probe([[2, 1], [1, 1]]).drop(index=0), "step 10 has other prompts than step 0"),
    ],
)
def test_tables_that_are_no_record_are_refused(table, message, tmp_path):
    path = tmp_path / "probe.parquet"
    write_table(path, table, PROBE)
    with pytest.raises(DataError, match=rf"probe.parquet: {message}"):
        read_recorded(str(path), None, rollouts=8, tokens=50, prompt_tokens=10)


def test_a_record_knows_its_prompts(tmp_path):
    paths = [tmp_path / f"{name}.parquet" for name in ("probe", "scores")]
    write_table(paths[0], probe([[2, 1], [3, 1]], signal=0.7), PROBE)
    scores = {"id": ["p1", "p0"], "n_prefix": 1, "n_question": [7, 9], "c_intra": 0.1}
    write_table(paths[1], pd.DataFrame({**scores, "c_inter": 0.2}), SCORES)
    given = {"rollouts": 8, "tokens": 50, "prompt_tokens": 10}
    pool = read_recorded(str(paths[0]), str(paths[1]), **given).pool
    assert pool.prompt_tokens.tolist() == [9, 7]
    assert pool.signal.tolist() == [0.7, 0.7]
    assert read_recorded(str(paths[0]), None, **given).pool.prompt_tokens.tolist() == [10, 10]
