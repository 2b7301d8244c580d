"""Curricula without a model: learners by hand, a step's bookkeeping, presets and the command."""

import numpy as np
import pandas as pd
import pytest
import yaml
from presets import changed, error_of
from worlds import learner, policy_for

from gainrl import cli, plan
from gainrl.config.simulation import Learner
from gainrl.curricula.base import Request
from gainrl.simulation import plan as simulation_plan
from gainrl.simulation.learner import IMPOSSIBLE, LIVE, TRIVIAL, UNLUCKY
from gainrl.simulation.run import simulate
from gainrl.simulation.setting import order_of

# --- the parametric learner ----------------------------------------------------------------------


def test_abilities_move_as_in_a_hand_worked_example():
    """Weights 4/16 and 12/16, s = .25 and .1875: direct .0625 and .140625, sum .203125; with
    tau = .5 growth .1328125 and .171875, times rate .1 and K / (1 + (K - 1) tau) = 4/3."""
    world = learner(transfer=0.5, rate=0.1, ability=-1.0)
    rows = np.array([np.flatnonzero(world.skill == k)[0] for k in (0, 1)])
    gained = world.learn(rows, np.array([0.5, 0.25]), np.array([4, 12]))
    assert gained == pytest.approx(0.203125)
    assert world.theta == pytest.approx([-1 + 0.1328125 * 0.4 / 3, -1 + 0.171875 * 0.4 / 3])
    assert world.ability == pytest.approx(world.theta.mean())


def test_a_batch_over_all_skills_moves_them_alike_whatever_the_transfer():
    for transfer in (0.0, 0.3, 1.0):
        world = learner(transfer=transfer, rate=0.1, ability=0.0)
        rows = np.concatenate([np.flatnonzero(world.skill == k)[:5] for k in (0, 1)])
        world.learn(rows, np.full(10, 0.5), np.full(10, 8))
        assert world.theta == pytest.approx([0.025, 0.025])


def test_without_transfer_a_skill_learns_from_its_own_prompts_alone():
    world = learner(transfer=0.0, ability=0.0)
    world.learn(np.flatnonzero(world.skill == 1)[:4], np.full(4, 0.5), np.full(4, 8))
    assert world.theta[0] == 0
    assert world.theta[1] > 0


def test_each_kind_of_prompt_has_its_pass_rate():
    world = learner(pool=400, impossible=0.25, trivial=0.25, unlucky=0.25, luck=0.3, ability=0.5)
    rates = world.rates(np.arange(400))
    assert [int((world.kind == kind).sum()) for kind in range(4)] == [100] * 4
    assert (rates[world.kind == IMPOSSIBLE] == 0).all()
    assert (rates[world.kind == TRIVIAL] == 1).all()
    assert (rates[world.kind == UNLUCKY] == 0.3).all()
    row = np.flatnonzero(world.kind == LIVE)[:1]
    logit = 1.5 * (0.5 - world.difficulty[row])
    assert world.rates(row) == pytest.approx(1 / (1 + np.exp(-logit)))


def test_an_unlucky_prompt_is_mixed_and_teaches_nothing():
    world = learner(unlucky=0.5, luck=0.5)
    rows = np.flatnonzero(world.kind == UNLUCKY)[:8]
    assert world.learn(rows, np.full(8, 0.5), np.full(8, 8)) == 0
    assert (world.theta == -1).all()


def test_lengths_and_c_go_with_difficulty_as_asked():
    keys = {"length": 0.6, "signal": -0.5, "signal_length": -0.7}
    world = learner(pool=20_000, impossible=0.2, skills=5, **keys)
    pool = world.pool
    lengths = np.log(pool.prompt_tokens)
    found = np.corrcoef([pool.difficulty, lengths, pool.signal])
    assert found[0, 1] == pytest.approx(0.6, abs=0.02)
    assert found[0, 2] == pytest.approx(-0.5, abs=0.02)
    assert found[1, 2] == pytest.approx(-0.7, abs=0.02)
    assert pool.tokens.mean() == pytest.approx(400, rel=0.02)
    assert world.difficulty.std() == pytest.approx(1, abs=0.02)


def test_orders_are_those_of_the_signal_stage():
    pool = learner(pool=500).pool
    assert (np.diff(pool.signal[order_of("angle", pool, 0)]) <= 0).all()
    assert (np.diff(pool.signal[order_of("reversed", pool, 0)]) >= 0).all()
    assert (np.diff(pool.prompt_tokens[order_of("length", pool, 0)]) >= 0).all()
    residual, ranks = order_of("residual", pool, 0), pd.Series(pool.prompt_tokens).rank()
    place = np.empty(500)
    place[residual] = np.arange(500)
    assert abs(np.corrcoef(place, ranks)[0, 1]) < 0.1
    assert sorted(order_of("shuffled", pool, 0)) == list(range(500))


# --- a run ---------------------------------------------------------------------------------------

POOL = {"pool": 400, "impossible": 0.4, "trivial": 0.2, "skills": 4}


class Oracle:
    """Draws what is nearest to p = 1/2, which it looks up."""

    whole_batches, goes_by = True, ""

    def __init__(self, world, batch, rollouts=8):
        self.world, self.batch, self.rollouts = world, batch, rollouts

    def draw(self, seen, estimates):
        distance = np.abs(self.world.rates(np.arange(self.world.pool.size)) - 0.5)
        rows = np.argsort(distance, kind="stable")[: self.batch]
        return None if len(seen.rows) else Request(rows, np.full(self.batch, self.rollouts))

    def keep(self, seen):
        return np.arange(len(seen.rows))

    def observe(self, outcome):
        self.last = outcome

    def metrics(self):
        return {}


def test_an_oracle_beats_uniform_where_many_prompts_are_dead():
    final = {}
    for name in ("uniform", "oracle"):
        world = learner(**POOL)
        policy = Oracle(world, 32) if name == "oracle" else policy_for(world, name, 32)
        steps = simulate(world, policy, 80, seed=0).steps
        final[name] = steps[-1]["test_accuracy"]
        dead = np.mean([row["zero_variance"] for row in steps])
        assert (dead > 0.6) == (name == "uniform")
    assert final["oracle"] > final["uniform"] + 0.1


def test_a_run_is_the_same_every_time_and_another_with_another_seed():
    def steps(seed):
        world = learner(seed, noise=0.5, **POOL)
        return simulate(world, policy_for(world, "gain", 32, seed), 20, seed).steps

    assert steps(3) == steps(3)
    assert steps(3) != steps(4)


def test_a_step_of_several_draws_counts_every_rollout_and_trains_on_what_is_kept():
    world = learner(**POOL)
    policy, told = policy_for(world, "dapo", 32), []
    observe = policy.observe
    policy.observe = lambda outcome: (told.append(outcome), observe(outcome))
    (row,) = simulate(world, policy, 1, seed=0).steps
    (outcome,) = told
    assert row["groups"] == len(outcome.rows) > 64
    assert row["trained_groups"] == outcome.trained.sum() == 32
    assert row["rollout_tokens"] == 8 * world.pool.tokens[outcome.rows].sum()
    assert outcome.mixed[outcome.trained].all()
    for told_of_trained in (outcome.signal, outcome.advantage):
        assert np.isnan(told_of_trained).tolist() == (~outcome.trained).tolist()
    assert row["curriculum/batches"] == -(-row["groups"] // 32)
    assert row["zero_variance"] == pytest.approx(1 - outcome.mixed.mean())


class Scripted(Oracle):
    """Four responses each, four more where they were mixed, estimates of others, a free look."""

    whole_batches = False

    def draw(self, seen, estimates):
        self.asked = getattr(self, "asked", -1) + 1
        self.heard = getattr(self, "heard", [])
        self.heard.append(estimates)
        some = np.arange(10, 30)
        if self.asked == 0:
            return Request(some, np.full(20, 4))
        if self.asked == 1:
            self.first = seen
            more = seen.rows[seen.mixed][::-1]
            return Request(more, np.full(len(more), 4))
        if self.asked == 2:
            return Request(np.arange(5), np.full(5, 2), "estimate")
        return Request(np.arange(50), np.full(50, 9), "free") if self.asked == 3 else None

    def keep(self, seen):
        return np.flatnonzero(seen.rollouts == 8)


def test_groups_grow_estimates_are_paid_for_and_free_looks_are_not():
    world = learner(ability=0.0)
    policy = Scripted(world, 4)
    (row,) = simulate(world, policy, 1, seed=2).steps
    outcome, mixed = policy.last, policy.first.mixed
    assert 0 < mixed.sum() < 20
    assert outcome.rows.tolist() == list(range(10, 30))  # in the order of their first request
    assert outcome.rollouts.tolist() == [8 if each else 4 for each in mixed]
    assert (policy.first.rollouts == 4).all()  # what a policy was told does not change
    assert outcome.trained.tolist() == mixed.tolist()
    right = outcome.accuracy * outcome.rollouts
    assert right == pytest.approx(np.rint(right))
    assert row["accuracy"] == pytest.approx(outcome.accuracy.mean())
    tokens = world.pool.tokens
    assert row["rollout_tokens"] == outcome.tokens.sum() + 2 * tokens[:5].sum()
    assert row["free_tokens"] == 9 * tokens[:50].sum()
    heard = [each if each is None else each.rows.tolist() for each in policy.heard]
    assert heard == [None, None, None, list(range(5)), list(range(50))]


def test_advantages_are_those_of_grpo():
    """Rewards 1, 0, 0, 0: deviations .75 and .25, standard deviation .5: mean |A| = .75."""
    policy = Oracle(learner(pool=2000, ability=0.0), 500, rollouts=4)
    simulate(policy.world, policy, 1, seed=0)
    one = policy.last.accuracy == 0.25
    assert one.any()
    assert policy.last.advantage[one] == pytest.approx(0.75, abs=1e-5)
    assert (policy.last.advantage[~policy.last.mixed] == 0).all()


# --- presets -------------------------------------------------------------------------------------

REGIME = {"pool": 60, "batch": 8, "rollouts": 4, "steps": 6, "seeds": 3}
SMALL = {"regimes": {"dead": {**REGIME, "impossible": 0.5, "methods": ["grpo", "gain", "adarft"]}}}


def with_simulation(regime=None, **keys):
    spec = {**SMALL["regimes"]["dead"], **(regime or {})}
    return changed("simulation", to={"regimes": {"dead": spec}, **keys})


@pytest.mark.parametrize(
    ("regime", "message"),
    [
        ({"imposible": 0.1}, "unknown key 'simulation.regimes.dead.imposible'; did you mean 'imp"),
        ({"methods": ["grpo", "gian"]}, "dead.methods: unknown name 'gian'; did you mean 'gain'?"),
        ({"methods": ["gain"]}, "the baseline 'grpo' is not among them"),
        ({"batch": 61}, "batch is 61, but the pool has 60 prompts"),
        ({"pool": None}, "needs the key 'pool'"),
        ({"impossible": 0.7, "trivial": 0.3}, "leave no prompt to learn from"),
        ({"signal": -0.9, "signal_length": 0.9}, "no C has these correlations"),
        ({"recorded": {"probe": "x"}}, "'pool' is of a parametric learner"),
        ({"transfer": 2}, "simulation.regimes.dead.transfer"),
    ],
)
def test_regimes_that_do_not_fit_are_refused(regime, message):
    assert message in error_of(with_simulation(regime))


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ({"algorithm": "ppo"}, "its algorithm is ppo"),
        ({"order": "released"}, "a simulated pool has no order 'released'"),
        ({"inter_weight": 2}, "it has a weight of C_inter of its own"),
        ({"selection": {"share": 0.5}}, "it trains on a selection"),
        ({"training": {"lr": 0.1}}, "it sets training.lr"),
    ],
)
def test_methods_that_cannot_be_simulated_are_refused(method, message):
    data = with_simulation()
    data["methods"]["gain"] = {**data["methods"]["gain"], **method}
    assert f"'gain' cannot be simulated: {message}" in error_of(data)


def test_checks_name_an_experiment_and_a_regime_with_enough_methods():
    assert "unknown experiment" in error_of(with_simulation(checks={"table9": "dead"}))
    assert "unknown name 'dad'; did you mean 'dead'?" in error_of(
        with_simulation(checks={"table1": "dad"})
    )
    assert "share 2 methods" in error_of(with_simulation(checks={"table1": "dead"}))
    assert "checks.table1.chain: unknown name 'dad'" in error_of(
        with_simulation(checks={"table1": {"chain": "dad"}})
    )
    assert "the experiment has no data set 'chian'; did you mean 'chain'?" in error_of(
        with_simulation(checks={"table1": {"chian": "dead"}})
    )


def test_a_regime_depends_on_its_methods_and_not_on_others():
    slices = []
    for name in ("gain", "spare"):
        data = with_simulation()
        data["methods"]["spare"] = {"curriculum": "uniform"}
        data["methods"][name]["label"] = "New"
        slices.append(simulation_plan.slice_of(plan.load(data)))
    assert slices[0] != slices[1] == simulation_plan.slice_of(plan.load(with_simulation()))


def test_the_learners_keys_have_defaults_that_fit():
    weights = Learner(pool=10).weights
    assert weights[2] > 0


# --- the command ---------------------------------------------------------------------------------


@pytest.fixture
def command(tmp_path, capsys):
    """Runs `gainrl simulate` on the tiny preset; exit code, and the table's path."""

    def run(*arguments, out="simulation.csv", **keys):
        preset = tmp_path / "preset.yaml"
        data = with_simulation(**keys)
        data["statistics"] = {"resamples": 200}
        preset.write_text(yaml.safe_dump(data))
        given = ["--preset", str(preset), "--root", str(tmp_path / "results")]
        code = cli.main(["simulate", *given, "--out", str(tmp_path / out), *arguments])
        return code, tmp_path / out, capsys.readouterr()

    return run


def test_the_command_writes_its_table_and_figure(command, tmp_path):
    figure = tmp_path / "simulation.png"
    code, path, said = command("--figure", str(figure))
    assert code == 0, said.err
    table = pd.read_csv(path).set_index(["method", "metric"])
    assert set(table["regime"]) == {"dead"}
    assert table.loc[("gain", "final_accuracy"), "n"] == 3
    assert table.loc[("grpo", "steps_to_baseline"), "mean"] == 6
    assert table.loc[("adarft", "preparation_tokens"), "mean"] > 0
    assert table.loc[("gain", "preparation_tokens"), "mean"] == 0
    assert 0 < table.loc[("gain", "overhead_ms"), "mean"] < 1000
    assert ("grpo", "speedup") not in table.index
    assert "60 prompts: 50% impossible" in path.with_suffix(".md").read_text()
    assert "\\begin{tabular}" in path.with_suffix(".tex").read_text()
    assert figure.stat().st_size > 5000
    left = {each.name for each in tmp_path.iterdir()}
    made = {f"simulation.{end}" for end in ("csv", "json", "md", "tex", "png", "pdf")}
    assert left == {*made, "preset.yaml"}  # no temporary files, no store
    assert path.with_suffix(".md").read_text() in said.out


def test_the_same_seeds_give_the_same_table_but_for_the_clock(command):
    tables = []
    for name in ("one.csv", "two.csv"):
        frame = pd.read_csv(command(out=name)[1])
        tables.append(frame[frame["metric"] != "overhead_ms"])
    pd.testing.assert_frame_equal(*tables)


def test_a_table_that_cannot_be_written_leaves_nothing(command, tmp_path):
    (tmp_path / "taken").write_text("a file")
    code, _, said = command(out="taken/simulation.csv")
    assert code == 2
    assert said.err.count("\n") == 1
    assert {each.name for each in tmp_path.iterdir()} == {"taken", "preset.yaml"}


def test_a_recorded_regime_names_the_table_that_is_missing(command):
    given = {"pool": None, "impossible": 0.0, "recorded": {"probe": "nowhere/probe.parquet"}}
    code, _, said = command(regime=given)
    assert code == 2
    assert "nowhere/probe.parquet: no such probe table" in said.err
