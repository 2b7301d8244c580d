"""The registry of policies: what it refuses by name, and what a new policy takes."""

from dataclasses import dataclass

import numpy as np
import pytest
from outcomes import BATCH, SIZE, build, play, setting

from gainrl.curricula import REGISTRY, Sampler, Setting, compose, register
from gainrl.curricula.registry import NEEDS
from gainrl.errors import ConfigError


def test_the_three_policies_are_registered():
    assert {"uniform", "gain", "adarft"} <= set(REGISTRY)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("gian", {}, r"methods\.x: unknown curriculum 'gian'; did you mean 'gain'\?"),
        ("gain", {"sgima": 1}, r"methods\.x: .*no parameter 'sgima'; did you mean 'sigma'\?"),
        ("gain", {"mu": 1}, r"no parameter 'mu'"),
        ("gain", {"needs": 1}, r"no parameter 'needs'"),
        ("uniform", {"sigma": 1}, r"no parameter 'sigma'; it takes no parameters"),
        ("gain", {"sigma": 0.0}, "sigma must be above 0"),
        ("gain", {"step": -1.0}, "step must be above 0"),
        ("gain", {"variant": "relesed"}, "'relesed'"),
        ("gain", {"gamma": "5e-1"}, r"methods\.x: .*'gamma'.*number"),
        ("gain", {"alpha": None}, "'alpha'"),
        ("gain", {"use_signal": "no"}, "'use_signal'"),
        ("adarft", {"eta": float("nan")}, "'eta'.*finite"),
    ],
)
def test_a_mistake_in_a_curriculum_is_named(name, parameters, message):
    with pytest.raises(ConfigError, match=message) as caught:
        compose({"name": name, **parameters}, "methods.x")
    assert "\n" not in str(caught.value)


def test_whole_numbers_are_numbers():
    assert build("gain", {"alpha": 2, "sigma": None}, setting()).sampler.alpha == 2


@pytest.mark.parametrize(
    ("name", "need"),
    [(name, need) for name in sorted(REGISTRY) for need in sorted(REGISTRY[name]().needs)],
)
def test_what_a_policy_needs_and_lacks_is_named(name, need):
    with pytest.raises(ConfigError, match=f"curriculum '{name}' needs {NEEDS[need]}"):
        build(name, {}, Setting(SIZE, BATCH, 0))


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_a_batch_larger_than_the_table_is_refused(name):
    with pytest.raises(ConfigError, match=r"training\.prompts is 7, but .* has 6 prompts"):
        build(name, {}, setting(size=6, batch=7))


@pytest.fixture
def restored():
    """The registry, put back afterwards."""
    before = dict(REGISTRY)
    yield
    REGISTRY.clear()
    REGISTRY.update(before)


@pytest.mark.usefixtures("restored")
def test_a_new_policy_takes_ten_lines():
    @register("stride")
    @dataclass
    class Stride(Sampler):
        every: int = 2
        state = ("now",)

        def start(self):
            self.now = 0

        def draw(self, count):
            return (self.now + self.every * np.arange(count)) % self.setting.size

        def observe(self, outcome):
            self.now += 1

    policy = build("stride", {"every": 3}, setting(size=20, batch=4))
    assert [rows for rows, _ in play(policy, 2)] == [[0, 3, 6, 9], [1, 4, 7, 10]]
    with pytest.raises(ConfigError, match="did you mean 'every'"):
        compose({"name": "stride", "evry": 3}, "key")
    with pytest.raises(ConfigError, match="did you mean 'stride'"):
        compose("strid", "key")


def test_a_name_is_registered_once():
    with pytest.raises(ValueError, match="registered twice"):
        register("gain")(type("Again", (Sampler,), {}))
