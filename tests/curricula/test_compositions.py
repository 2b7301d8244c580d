"""Sampler, filter and allocation in a preset: what composes, what not, and parts of one's own."""

import sys
from importlib.metadata import EntryPoint

import numpy as np
import pytest
from outcomes import build, next_batch, outcome, setting
from presets import changed, error_of

from gainrl import curricula, plan
from gainrl.curricula import Groups, compose, registry
from gainrl.curricula.contract import example, run
from gainrl.curricula.parts import generator
from gainrl.errors import CheckpointError, ConfigError

PLAIN = "plain_backend:PlainBackend"


def course(spec, seed=3):
    """Rows, rollouts and kept groups of some steps, and the metrics after each."""
    curriculum = curricula.build(spec, example(seed=seed))
    shown = []
    for _ in range(20):
        (step,) = run(curriculum, np.random.default_rng(len(shown)), 1)
        asked = [(each.rows.tolist(), each.rollouts.tolist()) for each in step.asked]
        shown.append((asked, step.kept.tolist(), curriculum.metrics()))
    return shown


# --- compositions --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("dapo", {"sampler": "uniform", "filter": "mixed"}),
        (
            {"name": "dapo", "limit": 2},
            {"sampler": "uniform", "filter": {"name": "mixed", "limit": 2}},
        ),
        ("accuracy_filter", {"sampler": "uniform", "filter": "unsolved"}),
        ("adaptive_uniform", {"sampler": "uniform", "rollouts": "adaptive"}),
        (
            {"name": "predicted", "first": 3},
            {"sampler": "predicted", "rollouts": {"name": "adaptive", "first": 3}},
        ),
        (
            {"name": "predicted", "adaptive": False},
            {"sampler": "predicted", "rollouts": "fixed"},
        ),
        ("uniform", {"sampler": "dapo", "filter": "all"}),
        ("mopps", {"sampler": "mopps"}),
    ],
)
def test_shorthands_draw_what_their_compositions_draw(short, long):
    assert course(short) == course(long)


def test_all_three_parts_work_together():
    """Pools of MoPPS; two rollouts, two more where they are mixed; until six groups are."""
    spec = {"sampler": "mopps", "filter": "mixed", "rollouts": {"name": "adaptive", "first": 2}}
    curriculum = curricula.build(spec, example())
    assert curriculum.name == "mopps + mixed + adaptive"
    steps = run(curriculum, np.random.default_rng(1), 9)
    for step in steps:
        trained = step.groups.mixed[step.kept]
        assert trained.all() or not step.groups.mixed.any()
        assert len(step.kept) <= 6
        assert (step.groups.rollouts == np.where(step.groups.mixed, 4, 2)).mean() > 0.5
    assert max(len(step.asked) for step in steps) > 2
    assert {"expected_accuracy", "batches", "mixed_share"} <= set(curriculum.metrics())
    assert set(curriculum.state_dict()) == {"sampler", "filter", "rollouts"}


def test_a_sampler_that_repeats_itself_goes_on_to_what_is_left():
    """ADARFT takes the nearest to its target of what is not solved yet."""
    curriculum = curricula.build({"sampler": "adarft", "filter": "unsolved"}, setting(8, 2))
    curriculum.sampler.eta = 0.0  # the target stands at 0
    seen = []
    for _ in range(3):
        rows = next_batch(curriculum)
        seen.append(rows.tolist())
        curriculum.observe(outcome(rows, 1.0))
    assert seen == [[0, 1], [2, 3], [4, 5]]
    assert sorted(next_batch(curriculum).tolist()) == [6, 7]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (
            {"sampler": "uniform", "filter": "mixd"},
            "curriculum.filter: unknown filter 'mixd'; did you mean 'mixed'?",
        ),
        (
            {"sampler": "uniform", "rollouts": "mixed"},
            "curriculum.rollouts: unknown allocation 'mixed'; did you mean 'fixed'?",
        ),
        (
            {"sampler": "mixed"},
            "curriculum.sampler: unknown curriculum 'mixed'; known: accuracy_filter, ",
        ),
        (
            {"sampler": "uniform", "filter": {"name": "mixed", "limt": 3}},
            "curriculum.filter: filter 'mixed' has no parameter 'limt'; did you mean 'limit'?",
        ),
        (
            {"sampler": "uniform", "filter": {"name": "mixed", "limit": 0}},
            "curriculum.filter: filter 'mixed': limit is 0, not at least 1",
        ),
        (
            {"sampler": "uniform", "rollouts": {"name": "adaptive", "first": 1}},
            "curriculum.rollouts: allocation 'adaptive': first is 1, not at least 2",
        ),
        (
            {"sampler": "oracle", "filter": "mixed"},
            "curriculum: curriculum 'oracle': the filter 'mixed' draws again where 'oracle' would "
            "have to ask first",
        ),
    ],
)
def test_a_composition_that_cannot_be_is_refused(spec, said):
    with pytest.raises(ConfigError) as caught:
        compose(spec)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_a_state_of_other_parts_is_refused():
    policy = build("uniform", {}, setting())
    state = build("mopps", {}, setting()).state_dict()
    with pytest.raises(
        CheckpointError, match=r"'uniform': its saved state has no 'sampler\.epoch'"
    ):
        policy.load_state_dict(state)


# --- in a preset ---------------------------------------------------------------------------------

COMPOSED = {"sampler": {"name": "mopps", "pool": 4}, "filter": "mixed", "rollouts": "adaptive"}


def test_a_preset_composes_a_method():
    data = changed("methods", "own", to={"curriculum": COMPOSED})
    data["curricula"] = {"mopps": {"pool": 9, "decay": 0.2}, "mixed": {"limit": 3}}
    preset = plan.load(data)
    policy = plan.policy_of(preset.methods["own"])
    assert (policy.sampler.pool, policy.sampler.decay) == (4, 0.2)
    assert (policy.filter.limit, policy.allocation.first) == (3, 4)
    assert plan.load(preset.model_dump(mode="json")) == preset


def test_the_old_forms_have_the_slices_of_old():
    """Null keys of compositions would rerun what was trained before there were any."""
    methods = plan.load(changed("methods", "own", to={"curriculum": "mopps"})).methods
    assert methods["own"].model_dump()["curriculum"] == {"name": "mopps"}


@pytest.mark.parametrize(
    ("curriculum", "said"),
    [
        (
            {"sampler": "mopps", "filtre": "mixed"},
            "unknown key 'methods.own.curriculum.filtre'; did you mean 'filter'?",
        ),
        ({"filter": "mixed"}, "methods.own.curriculum.sampler: is missing"),
        (
            {"sampler": "mopps", "filter": "mixt"},
            "methods.own.curriculum.filter: unknown filter 'mixt'; did you mean 'mixed'?",
        ),
        (
            {"sampler": "gain", "filter": "mixed"},
            "methods.own: curriculum 'gain + mixed' needs the key 'order'",
        ),
        (
            {"name": "mopps", "filter": "mixed"},
            "methods.own.curriculum: curriculum 'mopps' has no parameter 'filter'",
        ),
    ],
)
def test_a_mistake_in_a_composition_is_named(curriculum, said):
    assert said in error_of(changed("methods", "own", to={"curriculum": curriculum}))


def test_a_backend_may_draw_once_a_step():
    data = changed("methods", "grpo", to={"curriculum": COMPOSED})
    data["overrides"] = {"other": {"training": {"backend": PLAIN}}}
    assert error_of(data) == (
        "config: methods.grpo: training.backend 'plain' cannot train it (other on chain): "
        "curriculum 'mopps + mixed + adaptive' draws several times in a step"
    )
    data["methods"]["grpo"] = {"curriculum": {"sampler": "mopps", "filter": "unsolved"}}
    plan.load(data)


# --- parts of one's own --------------------------------------------------------------------------

OWN = '''
from dataclasses import dataclass

from gainrl.curricula import Filter, Sampler


@dataclass
class Late(Sampler):
    """The last rows first."""

    skip: int = 0

    def draw(self, count):
        return self.rng.permutation(count) + self.setting.size - count - self.skip


class Few(Filter):
    def keep(self, seen):
        return super().keep(seen)[:1]


number = 3
'''


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module of the working folder, which is not on the path."""
    (tmp_path / "own_policies.py").write_text(OWN)
    (tmp_path / "own_broken.py").write_text("def nothing(:\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield "own_policies"
    sys.modules.pop("own_policies", None)


def test_a_policy_of_ones_own_by_import_path(module):
    for spec in (
        {"name": f"{module}:Late", "skip": 2},
        {"sampler": {"name": f"{module}:Late", "skip": 2}, "filter": f"{module}:Few"},
    ):
        policy = curricula.build(spec, setting(seed=4))
        rows = next_batch(policy)
        assert sorted(rows.tolist()) == list(range(32, 38))
        assert rows.tolist() == (generator(4, "Late").permutation(6) + 32).tolist()
        seen = Groups(rows, rows, np.full(6, 0.5), rows > 0, rows)
        assert len(policy.keep(seen)) == (1 if "sampler" in spec else 6)
    whole = compose({"sampler": f"{module}:Late", "filter": "unsolved"})
    some = compose({"sampler": f"{module}:Late", "filter": f"{module}:Few"})
    assert (whole.whole_batches, some.whole_batches, some.several_draws) == (True, False, False)
    data = changed("methods", "own", to={"curriculum": f"{module}:Late"})
    assert plan.policy_of(plan.load(data).methods["own"]).name == "Late"
    few = {"sampler": "uniform", "filter": f"{module}:Few"}
    data = changed("methods", "grpo", to={"curriculum": few})
    data["overrides"] = {"other": {"training": {"backend": PLAIN}}}
    assert error_of(data) == (
        "config: methods.grpo: training.backend 'plain' cannot train it (other on chain): "
        "curriculum 'uniform + Few' chooses groups or numbers of rollouts"
    )


def test_a_policy_of_another_package(module, monkeypatch):
    def installed(group, name):
        assert group == "gainrl.curricula"
        return [EntryPoint(name, f"{module}:Late", group)] if name == "late" else []

    monkeypatch.setattr(registry, "entry_points", installed)
    assert compose({"name": "late", "skip": 1}).sampler.skip == 1
    with pytest.raises(ConfigError, match="curriculum: unknown curriculum 'lat'"):
        compose("lat")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("own_polices:Late", "curriculum: cannot import 'own_polices': No module named"),
        ("own_broken:Late", "curriculum: cannot import 'own_broken': invalid syntax"),
        ("own_policies:Latte", "'own_policies' has no 'Latte'; did you mean 'Late'?"),
        ("own_policies:Few", "'own_policies:Few' is no gainrl.curricula.Sampler"),
        ("own_policies:number", "'own_policies:number' is no gainrl.curricula.Sampler"),
        (":Late", "curriculum: cannot import ''"),
        (
            {"sampler": "uniform", "filter": "own_policies:Late"},
            "curriculum.filter: 'own_policies:Late' is no gainrl.curricula.Filter",
        ),
        (
            {"name": "own_policies:Late", "skp": 1},
            "curriculum 'own_policies:Late' has no parameter 'skp'; did you mean 'skip'?",
        ),
    ],
)
@pytest.mark.usefixtures("module")
def test_what_cannot_be_found_is_named(spec, said):
    with pytest.raises(ConfigError) as caught:
        compose(spec)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
