"""The contract of curricula, on all that are there and on such as break it."""

from dataclasses import dataclass

import numpy as np
import pytest

from gainrl.curricula import REGISTRY, Sampler, register
from gainrl.curricula.contract import (
    CHECKS,
    check_counts,
    check_draws,
    check_generator,
    check_needs,
    check_poison,
    check_seeds,
    check_state,
)
from gainrl.errors import ConfigError

SPECS = [
    *({"name": name} for name in sorted(REGISTRY)),
    {"name": "predicted", "features": "all", "adaptive": False},
    {"name": "gain", "variant": "released"},
    {"name": "adcl", "rollouts": 0},
    {"name": "oracle", "pool": 3, "every": 2},
    *({"sampler": name, "filter": "mixed"} for name in ("adarft", "gain", "greso", "mopps", "sec")),
    *({"sampler": name, "filter": "unsolved"} for name in ("adarft", "gain", "mopps", "sec")),
    {"sampler": "greso", "filter": "unsolved"},
    {"sampler": "mopps", "filter": "mixed", "rollouts": "adaptive"},
    {"sampler": "uniform", "filter": "unsolved", "rollouts": {"name": "adaptive", "first": 2}},
    {"sampler": "adcl", "rollouts": "adaptive"},
    {"sampler": {"name": "oracle", "pool": 1}, "rollouts": "adaptive"},
    {"sampler": "predicted", "rollouts": "fixed"},
    {"sampler": "thompson_bins", "filter": "mixed"},
    {"sampler": {"name": "predicted", "features": "all"}, "rollouts": "vip"},
    {"sampler": "predicted", "rollouts": "noise_batch"},
    {"sampler": "uniform", "rollouts": {"name": "noise_batch", "adaptive": False}},
    {"sampler": "gaussian", "filter": "mixed"},
    {"sampler": "uniform", "filter": "no_positive_resampling"},
    {"sampler": "dps", "filter": "no_positive_resampling", "rollouts": "screened"},
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: " ".join(map(str, spec.values())))
@pytest.mark.parametrize("check", CHECKS)
def test_every_curriculum_keeps_the_contract(check, spec):
    check(spec)


def test_old_streams_are_each_of_one_family():
    """A sampler that shares a stream is of the family that draws by it."""
    first = {}
    for policy in REGISTRY.values():
        if policy.stream is not None:
            root = first.setdefault(policy.stream, policy)
            assert issubclass(policy, root) or issubclass(root, policy)


@pytest.fixture
def broken():
    """Registers a sampler for the time of a test."""
    before = dict(REGISTRY)
    yield register("broken")
    REGISTRY.clear()
    REGISTRY.update(before)


def any_rows(self, count):
    return self.rng.permutation(self.setting.size)[:count]


@pytest.mark.parametrize(
    ("check", "members", "said"),
    [
        (
            check_draws,
            {"draw": lambda self, count: np.arange(count + 1)},
            "of a table of|drew 7 rows, not 6",
        ),
        (check_draws, {"draw": lambda self, count: np.zeros(count, dtype=int)}, "row 0 twice"),
        (check_counts, {"draw": lambda self, count: np.arange(6)}, "6 rows in place of 1"),
        (
            check_seeds,
            {"draw": lambda self, count: np.random.permutation(self.setting.size)[:count]},
            "two runs of a seed differ",
        ),
        (
            check_state,
            {
                "start": lambda self: setattr(self, "now", 0),
                "observe": lambda self, outcome: setattr(self, "now", self.now + 1),
                "draw": lambda self, count: (np.arange(count) + self.now) % self.setting.size,
            },
            "another course after a restart",
        ),
        (
            check_generator,
            {"start": lambda self: setattr(self, "rng", np.random.default_rng(99))},
            "the generator was replaced",
        ),
        (check_needs, {"needs": frozenset({"ordre"})}, "needs \\['ordre'\\]"),
    ],
)
def test_what_breaks_the_contract_is_named(broken, check, members, said):
    broken(dataclass(type("Broken", (Sampler,), {"draw": any_rows, **members})))
    with pytest.raises((AssertionError, ConfigError), match=said):
        check("broken")


def test_a_bad_reward_that_nobody_refuses_breaks_it(monkeypatch):
    monkeypatch.setattr("gainrl.curricula.curriculum.check_outcome", lambda *given: None)
    with pytest.raises(AssertionError, match="an accuracy that is no number was observed"):
        check_poison("mopps")
