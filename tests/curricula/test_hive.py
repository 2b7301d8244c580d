"""HIVE: a shortlist by history, of it the upper half by the entropy of the prompts."""

import numpy as np
import pytest
from outcomes import outcome
from presets import changed, error_of
from scipy.stats import chisquare

from gainrl import curricula
from gainrl.curricula import Curriculum, Groups, Prefilled, Request, Setting
from gainrl.curricula.hive import Hive
from gainrl.errors import ConfigError, DataError
from gainrl.training.verl.section import Plugin
from gainrl.training.verl.section import build as built_for_verl


def drawn(curriculum, entropy):
    """The rows of a step, and the shortlist that they are of."""
    asked = curriculum.draw(Groups.none(), None)
    assert (asked.purpose, set(asked.rollouts.tolist())) == ("prefill", {0})
    found = Prefilled(asked.rows, np.asarray(entropy, dtype=float)[asked.rows])
    request = curriculum.draw(Groups.none(), found)
    assert request.purpose == "group"
    return request.rows.tolist(), asked.rows.tolist()


def test_the_half_of_the_shortlist_that_the_model_is_least_sure_of_is_drawn():
    curriculum = curricula.build("hive", Setting(40, 3, 0))
    entropy = np.random.default_rng(0).permutation(40) / 10
    for _ in range(5):
        rows, shortlist = drawn(curriculum, entropy)
        assert len(set(shortlist)) == 6
        assert rows == sorted(shortlist, key=lambda row: -entropy[row])[:3]
        assert curriculum.metrics()["entropy"] == pytest.approx(entropy[rows].mean())
        assert curriculum.metrics()["entropy_of_shortlist"] == pytest.approx(
            entropy[shortlist].mean()
        )
        curriculum.observe(outcome(rows, 0.5))


def test_the_shortlist_goes_by_the_last_group_and_leaves_nothing_out():
    curriculum = curricula.build({"name": "hive", "explore": 0.1}, Setting(4, 1, 0))
    curriculum.observe(outcome([0, 1, 2], [1.0, 0.5, 0.25]))
    # Weights .1, 1, .75 and 1 (never seen), of which two are drawn one after the other.
    first = np.zeros(4)
    for _ in range(4000):
        first[curriculum.draw(Groups.none(), None).rows[0]] += 1
    expected = np.array([0.1, 1, 0.75, 1]) / 2.85 * 4000
    assert chisquare(first, expected).pvalue > 0.01


def test_a_table_that_the_shortlist_would_exceed_is_the_shortlist():
    curriculum = curricula.build("hive", Setting(5, 4, 0))
    rows, shortlist = drawn(curriculum, np.arange(5))
    assert sorted(shortlist) == [0, 1, 2, 3, 4]
    assert rows == [4, 3, 2, 1]


def test_an_entropy_that_is_no_number_is_refused_by_its_row():
    curriculum = curricula.build("hive", Setting(8, 2, 0))
    rows = curriculum.draw(Groups.none(), None).rows
    found = Prefilled(rows, np.array([1.0, np.nan, 1.0, 1.0]))
    with pytest.raises(
        DataError, match=f"the entropy of row {rows[1]} of the training table is nan"
    ):
        curriculum.draw(Groups.none(), found)


class Undeclared(Hive):
    reads_entropy = False


def test_a_sampler_that_reads_prompts_says_so():
    curriculum = Curriculum(Undeclared())
    curriculum.start(Setting(8, 2, 0))
    with pytest.raises(ConfigError, match="curriculum 'Undeclared' reads prompts: set reads_ent"):
        curriculum.draw(Groups.none(), None)
    with pytest.raises(ConfigError, match="asks for responses to prompts that are only read"):
        Request(np.array([1]), np.array([2]), "prefill")


def test_who_does_not_read_prompts_cannot_have_it():
    with pytest.raises(ConfigError, match="goes by the entropy of prompts under the policy, which"):
        curricula.make("hive", size=40, batch=4)
    with pytest.raises(ConfigError, match="'hive' goes by the entropy of prompts"):
        built_for_verl(Plugin(curriculum="hive"), 40, 4, 8, 0, {}.__getitem__)
    data = changed("methods", "grpo", to={"curriculum": "hive"})
    data["training"]["backend"] = "verl"
    assert error_of(data).endswith("'hive' goes by the entropy of prompts, which is not measured")
