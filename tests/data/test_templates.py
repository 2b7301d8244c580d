"""Prompt augmentation: templates drawn by step, their segments, the reward for format."""

import dataclasses

import numpy as np
import pytest
from presets import BASE, changed, error_of
from trainers import (
    Fixed,
    network,
    nudge,
    odd,
    same,
    through_a_file,
    trainer_for,
    weights,
)

from gainrl import plan
from gainrl.config.ppo import PPO
from gainrl.data.prompts import check_words, encode
from gainrl.errors import DataError
from gainrl.grading.maths import marks_once
from gainrl.plan.backends import REGISTRY
from gainrl.signals import prefill
from gainrl.stages.common import Context, render_templates
from gainrl.training.templates import Templates

pytestmark = pytest.mark.usefixtures("one_thread")
TEMPLATES = (
    "{question}",
    "Work step by step . {question}",
    "{question} Work step by step .",
    "How many ? {question} Work by step . #### ?",
)


@pytest.fixture(scope="module")
def renderings(tokenizer, table):
    asked = list(table["id"]), list(table["question"])
    return [encode(tokenizer, *asked, template=template) for template in TEMPLATES]


@pytest.fixture
def make(tokenizer, prompts, table, renderings):
    def made(**options):
        trainer = trainer_for(tokenizer, prompts, table, templates=TEMPLATES, **options)
        trainer.templates = Templates(renderings, options.get("seed", 5))
        return trainer

    return made


# --- drawing -------------------------------------------------------------------------------------


def test_every_prompt_is_one_of_its_renderings_with_the_segments_of_that(renderings):
    templates, seen = Templates(renderings, 3), set()
    for _ in range(4):
        drawn = templates.draw()
        assert drawn.ids == renderings[0].ids
        for row, tokens in enumerate(drawn.tokens):
            (k,) = (k for k, each in enumerate(renderings) if each.tokens[row] == tokens)
            assert drawn.n_question[row] == renderings[k].n_question[row]
            assert drawn.prefixes[row] == renderings[k].n_prefix
            assert drawn.n_suffix[row] == renderings[k].n_suffix[row]
            seen.add(k)
    assert seen == {0, 1, 2, 3}
    assert len({each.n_prefix for each in renderings}) > 1


def test_words_before_the_question_belong_to_the_prefix_and_those_after_it_to_the_question(
    renderings,
):
    plain, before, after, _ = renderings
    assert before.n_prefix == plain.n_prefix + 5
    assert (before.n_question == plain.n_question).all()
    assert after.n_prefix == plain.n_prefix
    assert (after.n_question == plain.n_question + 5).all()


def test_the_seed_decides_what_is_drawn_and_a_state_goes_on(renderings):
    one, twin, other = (Templates(renderings, seed) for seed in (1, 1, 2))
    first = [one.draw().tokens for _ in range(3)]
    assert [twin.draw().tokens for _ in range(3)] == first
    assert [other.draw().tokens for _ in range(3)] != first
    state, expected = one.state_dict(), one.draw().tokens
    other.load_state_dict(state)
    assert other.draw().tokens == expected


# --- in the trainer ------------------------------------------------------------------------------


def test_a_group_is_rolled_out_and_trained_with_one_template(make, renderings):
    policy = Fixed([[0, 1, 2, 3]] * 3)
    trainer = make(curriculum=policy, micro_batch_tokens=2000)
    nudge(trainer.model)
    for _ in range(3):
        frames = [prefill.score(trainer.model, each, 500) for each in renderings]
        record, _ = trainer.step()
        tokens = trainer.prompts.tokens
        drawn = [[each.tokens[row] for each in renderings].index(tokens[row]) for row in range(4)]
        wanted = [(frames[k]["c_intra"] + frames[k]["c_inter"])[row] for row, k in enumerate(drawn)]
        np.testing.assert_allclose(policy.outcome.signal, wanted, atol=1e-5, rtol=0)
        assert record["prompt_tokens"] == sum(map(len, tokens[:4]))


@pytest.mark.parametrize(
    "changes",
    [
        {"mini_batch": 2},
        {"ppo": PPO(critic_lr=1e-2)},
        {"downsample": {"rollouts": [0.5, 1.0], "tokens": [0.5, 1.0]}, "format_weight": 0.5},
    ],
    ids=["grpo", "ppo", "d3s"],
)
def test_a_state_in_the_middle_continues_bit_for_bit(make, changes):
    trainer = make(**changes)
    for _ in range(2):
        trainer.step()
    state = through_a_file(trainer.state_dict())
    expected = [trainer.step()[0] for _ in range(2)]
    again = make(**changes)
    again.load_state_dict(state)
    assert [again.step()[0] for _ in range(2)] == expected
    assert same(weights(trainer), weights(again))


# --- the reward for format -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response", "found"),
    [
        ("9 + 4 = 13 . #### 13", True),
        (r"so \boxed{13}", True),
        ("13", False),
        ("#### 13 #### 14", False),
        (r"\boxed{13} #### 13", False),
    ],
)
def test_one_marked_answer_is_the_format(response, found):
    assert marks_once(response) == found


def test_the_format_is_part_of_the_reward_and_not_of_the_accuracy(make, tokenizer):
    policy = Fixed([[0, 1, 2, 3]])
    trainer = make(curriculum=policy, format_weight=0.5)
    mark, nine = (tokenizer.convert_tokens_to_ids(word) for word in ("####", "9"))
    answers = [[mark, nine], [nine], [mark, mark], [nine, mark]] * 4
    right = [1.0, 1.0, 0.0, 0.0] * 4
    trainer._respond = lambda rows, rollouts: (answers, right)
    rollouts = trainer._roll_out()
    assert rollouts.rewards.tolist() == [1.5, 1.0, 0.0, 0.5] * 4
    assert rollouts.accuracy.tolist() == [0.5] * 4
    # mean 0.75, standard deviation (0.75^2 + 0.25^2 + 0.75^2 + 0.25^2) / 3, rooted
    expected = np.array([0.75, 0.25, -0.75, -0.25]) / (1.25 / 3) ** 0.5
    np.testing.assert_allclose(rollouts.advantages[:4], expected, rtol=1e-4)
    record, _ = make(curriculum=policy, format_weight=0.5).step()
    assert record["reward"] == pytest.approx(record["accuracy"] + 0.5 * record["format"])
    assert policy.outcome.accuracy.mean() == pytest.approx(record["accuracy"])


def test_a_group_that_only_differs_in_format_has_variance(make, tokenizer):
    trainer = make(curriculum=Fixed([[0, 1, 2, 3]]), format_weight=0.1)
    mark = tokenizer.convert_tokens_to_ids("####")
    answers = [[mark], [9], [mark], [9]] * 4
    trainer._respond = lambda rows, rollouts: (answers, [1.0] * 16)
    rollouts = trainer._roll_out()
    assert not rollouts.zero_variance.any()
    assert rollouts.groups().accuracy.tolist() == [1.0] * 4
    assert rollouts.take(np.array([1])).correct.tolist() == [1.0] * 4


def test_without_a_weight_the_reward_is_the_accuracy(make):
    record, _ = make(reward=odd).step()
    assert record["reward"] == record["accuracy"]
    assert "format" not in record


# --- templates that cannot be used ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "word"),
    [
        ("Solve {question}", "Solve"),
        ("{question} Work carefully .", "carefully"),
        ("{question}.", "?."),  # the pre-tokeniser takes runs of symbols for a word
    ],
)
def test_a_word_that_the_tokenizer_lacks_is_named(tokenizer, table, template, word):
    with pytest.raises(DataError) as caught:
        check_words(tokenizer, template, list(table["question"]))
    assert str(caught.value) == f"the tokenizer has no word '{word}'"


def test_unknown_words_of_the_question_itself_are_not_the_templates_fault(tokenizer):
    check_words(tokenizer, "{question} Work .", ["What is 9 + 4 ?"])


@pytest.fixture
def rendered(tokenizer, table):
    def found(templates, **training):
        data = changed("training", to={**BASE["training"], "max_response": 12, **training})
        context = Context(plan.load(data), root=None)
        asked = (context, tokenizer, "nano", "chain", table, network(tokenizer))
        return render_templates(*asked, templates, 12)

    return found


def test_a_template_is_rendered_like_the_data_sets_own(rendered, renderings):
    for ours, theirs in zip(rendered(TEMPLATES), renderings, strict=True):
        assert dataclasses.replace(ours, n_suffix=None) == dataclasses.replace(
            theirs, n_suffix=None
        )
        assert (ours.n_suffix == theirs.n_suffix).all()


def test_every_template_must_leave_prompts_within_max_prompt(rendered, renderings, prompts):
    longest = int(prompts.lengths.max())
    assert len(rendered(TEMPLATES[:1], max_prompt=longest)) == 1
    with pytest.raises(DataError) as caught:
        rendered(TEMPLATES[:2], max_prompt=longest)
    message = str(caught.value)
    assert message.startswith(f"training.templates: '{TEMPLATES[1]}': prompt '")
    assert message.endswith(f"more than {longest} (max_prompt)")


def test_the_message_of_a_refused_template_names_it(rendered):
    with pytest.raises(DataError) as caught:
        rendered(["{question}", "Solve {question}"])
    expected = "training.templates: 'Solve {question}': the tokenizer has no word 'Solve'"
    assert str(caught.value) == expected


# --- in a preset ---------------------------------------------------------------------------------


def test_a_template_holds_the_question_once():
    for wrong in ("Solve", "{question} {question}"):
        message = error_of(changed("training", "templates", to=["{question}", wrong]))
        assert message.endswith("training.templates.1: must contain {question} exactly once")


@pytest.mark.parametrize(("key", "value"), [("templates", ["{question}"]), ("format_weight", 0.5)])
def test_not_every_backend_has_templates_and_a_reward_for_format(key, value):
    plan.load(changed("overrides", to={"nano": {"training": {"backend": "verl", key: value}}}))
    plain = {"backend": "plain_backend:PlainBackend", key: value}
    message = error_of(changed("overrides", to={"nano": {"training": plain}}))
    assert "training.backend 'plain' cannot train it (nano on chain)" in message
    assert f"training.{key} is an option of backend 'local'" in message


def test_programs_have_no_format_to_reward():
    data = changed("training", "format_weight", to=0.2)
    data["datasets"]["word"]["grader"] = "code"
    assert error_of(data) == (
        "config: training.format_weight: method 'grpo' is trained on 'word', whose grader 'code' "
        "checks no format"
    )


def test_options_that_are_off_are_no_part_of_what_a_run_depends_on():
    """So that an upgrade does not train everything again."""
    place = ("nano", "chain", "gain")
    before = plan.run_slice(plan.load(BASE), *place)
    assert not REGISTRY["local"].options & {*before["training"], *before["method"]["training"]}
    preset = plan.load(changed("training", "templates", to=list(TEMPLATES)))
    assert plan.run_slice(preset, *place)["training"]["templates"] == list(TEMPLATES)
    own = changed("methods", "gain", "training", to={"format_weight": 0.2})
    after = plan.run_slice(plan.load(own), *place)
    assert after["training"]["format_weight"] == 0.2
    assert plan.score_slice(preset, "nano", "chain") == plan.score_slice(
        plan.load(BASE), "nano", "chain"
    )
