"""What a user says below `gainrl` in verl's configuration, and where prompts' questions lie."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from gainrl.curricula import Groups
from gainrl.data.prompts import encode
from gainrl.data.templates import TODAY
from gainrl.errors import ConfigError, DataError
from gainrl.models.nano import build_tokenizer
from gainrl.training.verl import section
from gainrl.training.verl.segments import rendered, segments_of

REPOSITORY = Path(__file__).resolve().parents[2]
COLUMNS = {
    "gainrl_rank": [3, 0, 2, 1, 5, 4],
    "difficulty": [10.0, "20", 30, 40, 50, 60],
    "data_source": ["b", "a", "b", "c", "a", "a"],
    "bad": [1, 2, None, 4, 5, 6],
}


def column(name):
    if name not in COLUMNS:
        raise KeyError(list(COLUMNS))
    return COLUMNS[name]


def built(curriculum, data_seed=None, **keys):
    asked = section.section_of({"gainrl": {"curriculum": curriculum, **keys}})
    return section.build(asked, 6, 2, 4, data_seed, column)


def drawn(policy, steps=20):
    return [policy.draw(Groups.none(), None).rows.tolist() for _ in range(steps)]


def test_a_policy_reads_the_columns_that_it_needs():
    assert built("gain").setting.order.tolist() == [1, 3, 2, 0, 5, 4]
    assert built("adarft").setting.difficulty.tolist() == [10, 20, 30, 40, 50, 60]
    assert built("sec").setting.categories.tolist() == [1, 0, 1, 2, 0, 0]
    plain = built("uniform").setting
    assert (plain.order, plain.difficulty, plain.categories) == (None, None, None)
    other = built("gain", order_column="difficulty").setting
    assert other.order.tolist() == [0, 1, 2, 3, 4, 5]


def test_the_policies_of_the_document_are_built():
    text = (REPOSITORY / "docs" / "verl-plugin.md").read_text(encoding="utf-8")
    asked = re.findall(r"\+gainrl\.curriculum=(\{.*?\})'", text)
    assert len(asked) >= 2
    for each in asked:
        assert built(yaml.safe_load(each)).draw(Groups.none(), None).rows.size


def test_c_is_read_by_gain_alone():
    assert built("gain").reads_signal
    assert not built({"name": "gain", "use_signal": False}).reads_signal
    assert not built("mopps").reads_signal


def test_the_seed_is_gainrls_or_that_of_the_data_or_0():
    assert built("uniform").setting.seed == 0
    assert built("uniform", 7).setting.seed == 7
    assert built("uniform", 7, seed=3).setting.seed == 3
    assert drawn(built("uniform", 7)) != drawn(built("uniform", 8))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, r"no curriculum is named: add \+gainrl.curriculum=NAME; NAME is one of .*mopps"),
        ({"curriculum": "mops"}, r"'mops'; did you mean 'mopps'\?"),
        ({"curriculum": "gain", "oder_column": "x"}, "unknown key 'oder_column'; did you mean 'or"),
        ({"curriculum": {"name": "mopps", "pol": 3}}, "pol"),
        (
            {"curriculum": "gain", "order_column": "rank"},
            "gainrl.order_column: data.train_files has no column 'rank'",
        ),
        ({"curriculum": "gain", "order_column": "bad"}, r"row 2 \(from 0\): 'bad' is None"),
        ({"curriculum": "predicted"}, "only gainrl's own pipeline"),
    ],
)
def test_what_is_wrong_is_named(given, said):
    with pytest.raises((ConfigError, DataError), match=said) as caught:
        section.build(section.section_of({"gainrl": given}), 6, 2, 4, None, column)
    assert "\n" not in str(caught.value)


def theirs(**changes):
    """verl's configuration, as far as it is looked at."""
    values = {
        "sampler": {"custom_sampler": {"path": None, "name": None}},
        "filter_groups": {"enable": False},
        "gen_batch_size": None,
        "critic": 4,
        **changes,
    }
    custom = values["sampler"]

    class Sampler(dict):
        custom_sampler = custom["custom_sampler"]

    return SimpleNamespace(
        trainer=SimpleNamespace(v1=SimpleNamespace(sampler=Sampler(custom))),
        algorithm=_Keys(filter_groups=values["filter_groups"], adv_estimator="gae"),
        data={"gen_batch_size": values["gen_batch_size"]},
        actor_rollout_ref=SimpleNamespace(actor=SimpleNamespace(ppo_mini_batch_size=4)),
        critic=SimpleNamespace(ppo_mini_batch_size=values["critic"]),
    )


class _Keys(dict):
    """A mapping whose keys are attributes too, as OmegaConf's are."""

    __getattr__ = dict.__getitem__


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"filter_groups": {"enable": True}}, "algorithm.filter_groups.enable=True"),
        ({"gen_batch_size": 8}, "data.gen_batch_size=8"),
        ({"sampler": {"custom_sampler": {"name": "Mine"}}}, "custom_sampler.name=Mine"),
        ({"critic": 8}, "critic.ppo_mini_batch_size is 8 and the actor's 4"),
    ],
)
def test_what_a_curriculum_takes_the_place_of_is_refused_by_its_key(changes, key):
    section.check_settings(theirs())
    with pytest.raises(ConfigError) as caught:
        section.check_settings(theirs(**changes))
    assert key in str(caught.value)


def test_questions_lie_where_the_scorer_has_them():
    tokenizer = build_tokenizer()
    questions = ["1 + 2 = ?", "30 + 4 + 5 = ?", "6 + 7 = ?"]
    prompts = encode(tokenizer, list("abc"), questions)
    chats = [[{"role": "user", "content": text}] for text in questions]
    found = rendered(tokenizer, chats, {}, TODAY)
    np.testing.assert_array_equal(found, segments_of([prompts]))
    np.testing.assert_array_equal(found[:, 2], prompts.lengths)
    with pytest.raises(DataError, match=r"the prompt of row 1 \(from 0\) is no list of chat"):
        rendered(tokenizer, [chats[0], "1 + 1"], {}, TODAY)
