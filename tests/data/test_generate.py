"""Generated problems: balanced, disjoint, in range, right by an independent solver, repeatable."""

import hashlib
import re

import numpy as np
import pytest

from gainrl.config.data import Generated
from gainrl.data.generate import LARGEST, NAMES, TASKS, THINGS, generate_splits
from gainrl.errors import ConfigError, DataError
from gainrl.grading import maths
from gainrl.records import PROMPTS, check_table

GAINS = ("buys", "finds", "wins")
ARITHMETIC = ("chain", "word", "story")


def spec(task, **changes):
    sizes = {"train": 100, "eval": 50, "warmup": 400}
    return Generated(source="generate", task=task, **{**sizes, **changes})


@pytest.fixture(scope="module", params=ARITHMETIC)
def splits(request):
    return request.param, generate_splits(spec(request.param, corrupt=0.2, direct=0.3), "d")


def solve_chain(question):
    start, *steps = re.findall(r"[+-]? ?\d+", question.removesuffix(" = ?"))
    return int(start), [int(step.replace(" ", "")) for step in steps]


def solve_word(question):
    *story, asked = re.findall(r"[^.?]+[.?]", question)
    thing, hero = re.fullmatch(r" How many (\w+) does (\w+) have\?", asked).groups()
    start, steps = None, []
    for sentence in story:
        who, verb, number, what = sentence.strip(" .").split()
        if (who, what) == (hero, thing):
            if verb == "has":
                assert start is None
                start = int(number)
            else:
                steps.append(int(number) if verb in GAINS else -int(number))
    return start, steps


SOLVERS = {"chain": solve_chain, "word": solve_word, "story": solve_word}


def test_tables_have_the_prompt_schema_and_the_sizes_asked_for(splits):
    _, tables = splits
    assert {name: len(table) for name, table in tables.items()} == {
        "eval": 50,
        "train": 100,
        "warmup": 400,
    }
    for table in tables.values():
        check_table(table, PROMPTS, "test")
        assert table["id"].is_unique


def test_levels_are_balanced_and_count_the_operations(splits):
    task, tables = splits
    for table in tables.values():
        counts = table["difficulty"].value_counts()
        assert set(counts.index) == {1.0, 2.0, 3.0, 4.0, 5.0}
        assert counts.nunique() == 1
        for row in table.itertuples():
            assert len(SOLVERS[task](row.question)[1]) == row.difficulty


def test_questions_of_train_and_eval_appear_nowhere_else(splits):
    _, tables = splits
    train, held = set(tables["train"]["question"]), set(tables["eval"]["question"])
    assert len(train) == 100
    assert len(held) == 50
    assert not train & held
    assert not (train | held) & set(tables["warmup"]["question"])


def test_answers_and_worked_steps_agree_with_an_independent_solver(splits):
    task, tables = splits
    for table in tables.values():
        for row in table.itertuples():
            start, steps = SOLVERS[task](row.question)
            totals = [int(total) for total in np.cumsum([start, *steps])]
            assert all(0 <= total <= 49 for total in totals)
            assert row.answer == str(totals[-1])
            worked = re.findall(r"(\d+) ([+-]) (\d+) = (\d+)\.", row.solution)
            assert [int(line[0]) for line in worked] == totals[:-1]
            assert [int(line[3]) for line in worked] == totals[1:]
            assert int(re.findall(r"\d+", row.solution)[-1]) == totals[-1]
            assert row.solution.endswith(f"#### {totals[-1]}")


def test_noise_has_about_the_shares_asked_for(splits):
    _, tables = splits
    warmup = tables["warmup"]
    direct = warmup["noisy_solution"].str.startswith("####")
    assert direct.mean() == pytest.approx(0.3, abs=0.08)
    assert (warmup["noisy_solution"] == "#### " + warmup["answer"])[direct].all()
    slips = steps = 0
    for text in warmup["noisy_solution"][~direct]:
        lines = re.findall(r"(\d+) ([+-]) (\d+) = (\d+)\.", text)
        for left, sign, right, reached in lines:
            slips += int(left) + int(sign + right) != int(reached)
        steps += len(lines)
        assert int(text.split()[-1]) == int(lines[-1][3])
        assert all(0 <= int(number) <= LARGEST for number in re.findall(r"\d+", text))
    assert slips / steps == pytest.approx(0.2, abs=0.05)


def test_without_noise_the_solutions_are_clean():
    warmup = generate_splits(spec("chain"), "d")["warmup"]
    assert (warmup["noisy_solution"] == warmup["solution"]).all()


def test_up_to_the_careful_level_noisy_solutions_are_clean_and_the_others_as_they_were():
    plain, careful = (
        generate_splits(spec("chain", corrupt=0.5, direct=0.3, careful=n), "d")["warmup"]
        for n in (0, 2)
    )
    low = careful["difficulty"] <= 2
    assert (careful["noisy_solution"] == careful["solution"])[low].all()
    assert (plain["noisy_solution"] != plain["solution"])[low].any()
    assert careful[~low].equals(plain[~low])


def test_word_stories_hold_distractors():
    rng = np.random.default_rng(0)
    for level in (1, 5):
        for _ in range(50):
            problem = TASKS["word"](rng, level)
            assert problem.question.count(".") > level + 1
            assert sum(name in problem.question for name in NAMES) <= 2
            assert sum(thing in problem.question for thing in THINGS) <= 2


def test_in_a_story_every_sentence_counts():
    rng = np.random.default_rng(0)
    for level in (1, 5):
        for _ in range(50):
            question = TASKS["story"](rng, level).question
            assert question.count(".") == level + 1
            assert sum(name in question for name in NAMES) == 1
            assert sum(thing in question for thing in THINGS) == 1


def test_the_same_seed_gives_the_same_tables_and_another_seed_others():
    first, again, other = (
        generate_splits(spec("word", direct=0.5, seed=seed), "d") for seed in (3, 3, 4)
    )
    for split in first:
        assert first[split].equals(again[split])
        assert not first[split]["question"].equals(other[split]["question"])


def test_the_tables_of_these_tasks_are_those_that_results_were_published_for():
    digests = {
        task: [
            hashlib.sha256(table.to_json().encode()).hexdigest()[:8]
            for table in generate_splits(spec(task, corrupt=0.2, direct=0.3), "d").values()
        ]
        for task in ARITHMETIC
    }
    assert digests == {
        "chain": ["1b31d9aa", "d58f8e2a", "725d0fc9"],
        "word": ["952b6706", "aacc8f6e", "e763a100"],
        "story": ["56eff44f", "bea4105f", "448f3b7f"],
    }


def test_more_warm_up_examples_leave_train_and_eval_as_they_were():
    small, large = (generate_splits(spec("chain", warmup=n), "d") for n in (0, 50))
    assert small["train"].equals(large["train"])
    assert small["eval"].equals(large["eval"])


def test_direct_always_states_the_answer_alone():
    rng = np.random.default_rng(0)
    problem = TASKS["chain"](rng, 3)
    assert problem.noisy_solution(rng, corrupt=1.0, direct=1.0) == f"#### {problem.answer}"


def test_too_few_questions_is_an_error_that_names_the_data_set():
    with pytest.raises(DataError, match="data set 'tiny': fewer than 600 distinct train"):
        generate_splits(spec("chain", levels=(1,), train=600, eval=10, warmup=0), "tiny")


def test_an_unknown_task_is_an_error_with_the_nearest_name():
    with pytest.raises(ConfigError, match=r"datasets\.d\.task.*'chian'.*chain"):
        generate_splits(spec("chian"), "d")


def test_named_answers_say_what_is_counted_and_so_do_a_few_of_the_solutions():
    plain = generate_splits(spec("story", corrupt=0.2, direct=0.3), "d")
    named = generate_splits(spec("story", corrupt=0.2, direct=0.3, named=0.1), "d")
    for split in ("train", "eval", "warmup"):
        assert named[split]["question"].tolist() == plain[split]["question"].tolist()
        for row, before in zip(named[split].itertuples(), plain[split].itertuples(), strict=True):
            thing = re.search(r"How many (\w+)", row.question)[1]
            assert row.answer == f"{thing} {before.answer}"
            assert row.solution in (before.solution, said(before.solution, thing))
    for column in ("solution", "noisy_solution"):
        texts = named["warmup"][column]
        assert 0.05 < texts.str.contains(r"#### [a-z]").mean() < 0.15
    grades = maths.grade_many(list(named["warmup"]["solution"]), list(named["warmup"]["answer"]))
    right = [grade.correct for grade in grades]
    assert right == named["warmup"]["solution"].str.contains(r"#### [a-z]").tolist()
    assert named["train"]["solution"].str.contains(r"#### [a-z]").all()


def said(solution, thing):
    return solution.replace("#### ", f"#### {thing} ")


@pytest.mark.parametrize(
    ("task", "changes", "words"),
    [
        ("chain", {}, "named: nothing is counted in task 'chain'"),
        ("story", {"pool": {"long": 0.5}}, "named: not with the key 'pool'"),
    ],
)
def test_only_stories_have_named_answers(task, changes, words):
    with pytest.raises(ValueError, match=words):
        spec(task, named=0.1, **changes)
