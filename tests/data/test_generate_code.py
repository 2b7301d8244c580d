"""Generated programs: tests that tell right from wrong in the sandbox, and words all known."""

import re

import numpy as np
import pytest

from gainrl.config.data import Generated
from gainrl.data.generate import generate_splits
from gainrl.data.generate_code import INPUTS, OPERATIONS, Instruction, code, program, values
from gainrl.grading import sandbox
from gainrl.grading.code import decode, extract, grade
from gainrl.models.nano import LESSONS, build_tokenizer, words
from gainrl.records import PROMPTS, check_table

WIDE = (*range(-120, 121), *range(-2000, 2001, 97))


@pytest.fixture(scope="module")
def splits():
    spec = Generated(
        source="generate", task="code", train=100, eval=50, warmup=400, corrupt=0.3, direct=0.2
    )
    return generate_splits(spec, "code")


@pytest.fixture(scope="module")
def isolation():
    return sandbox.choose(unsafe=True)


def run(text, inputs=INPUTS):
    """What a solution gives, by Python itself."""
    scope = {}
    exec(text, scope)
    return tuple(scope["f"](x) for x in inputs)


def test_tables_have_the_prompt_schema_and_levels_count_the_operations(splits):
    for table in splits.values():
        check_table(table, PROMPTS, "test")
        assert table["difficulty"].value_counts().to_dict() == dict.fromkeys(
            (1.0, 2.0, 3.0, 4.0, 5.0), len(table) // 5
        )
        assert (table["question"].str.count(" then ") + 1 == table["difficulty"]).all()


def test_questions_of_train_and_eval_appear_nowhere_else(splits):
    train, held, warmup = (set(splits[name]["question"]) for name in ("train", "eval", "warmup"))
    assert (len(train), len(held)) == (100, 50)
    assert not train & held
    assert not (train | held) & warmup


def test_an_example():
    steps = (
        Instruction("add", "3"),
        Instruction("smaller", "9"),
        Instruction("negate"),
        Instruction("multiply", "x"),
    )
    assert program(steps) == "def f ( x ) : return ( - min ( x + 3 , 9 ) ) * x"
    assert values(steps, (-5, 2, 10)) == (-10, -10, -90)


def test_solutions_give_what_the_tests_want_in_python_itself(splits):
    for row in splits["warmup"].itertuples():
        wanted = re.findall(r"assert f\((-?\d+)\) == (-?\d+)", decode(row.answer).tests)
        assert run(row.solution) == tuple(int(value) for _, value in wanted)
        assert tuple(int(given) for given, _ in wanted) == INPUTS


def test_the_sandbox_takes_solutions_and_refuses_mistakes(splits, isolation):
    for row in splits["warmup"].head(15).itertuples():
        tests = decode(row.answer)
        assert grade(row.solution, tests, isolation=isolation).reason == "passed"
        same = run(row.noisy_solution) == run(row.solution)
        reason = grade(row.noisy_solution, tests, isolation=isolation).reason
        assert reason == ("passed" if same else "failed"), row.noisy_solution


def test_what_real_models_write_is_graded_too(splits, isolation):
    row = splits["train"].iloc[3]
    body = row["solution"].removeprefix("def f ( x ) : ")
    for response in (
        f"Here it is:\n```python\ndef f(x):\n    {body}\n```\n",
        f"```python\n    {body}\n```",
        f"    {body}\n\nprint(f(1))",
    ):
        assert grade(response, decode(row["answer"]), isolation=isolation).reason == "passed"
    assert extract(row["question"]) is None


def test_mistakes_are_as_frequent_as_asked_for_and_the_tests_find_them(splits):
    table = splits["warmup"]
    changed = table[table["noisy_solution"] != table["solution"]]
    kept = 0.8 * np.mean([0.7**level for level in (1, 2, 3, 4, 5)])
    assert 1 - len(changed) / len(table) == pytest.approx(kept, abs=0.1)
    passing = [row for row in changed.itertuples() if run(row.noisy_solution) == run(row.solution)]
    assert len(passing) < 0.1 * len(changed)
    for row in passing:  # another way to write the same function, or nearly so
        assert np.mean(np.equal(run(row.noisy_solution, WIDE), run(row.solution, WIDE))) > 0.9


@pytest.mark.parametrize("level", [1, 2, 3, 4, 5])
def test_functions_that_agree_on_the_tested_inputs_are_the_same(level):
    rng = np.random.default_rng(level)
    held, differ = {}, 0
    for _ in range(1000):
        steps = code(rng, level).steps
        other = held.setdefault(values(steps), steps)
        differ += values(other, WIDE) != values(steps, WIDE)
    assert differ <= 3  # of half a million pairs


def test_no_operation_can_be_left_out():
    rng = np.random.default_rng(0)
    for level in (1, 3, 5):
        steps = code(rng, level).steps
        for i in range(level):
            assert values(steps[:i] + steps[i + 1 :]) != values(steps)


def test_without_noise_the_solutions_are_clean():
    spec = Generated(source="generate", task="code", train=0, eval=5, warmup=50)
    warmup = generate_splits(spec, "code")["warmup"]
    assert (warmup["noisy_solution"] == warmup["solution"]).all()


def test_the_same_seed_gives_the_same_tables_and_another_seed_others():
    tables = [
        generate_splits(
            Generated(source="generate", task="code", train=20, warmup=20, corrupt=0.5, seed=seed),
            "code",
        )
        for seed in (3, 3, 4)
    ]
    for split in tables[0]:
        assert tables[0][split].equals(tables[1][split])
        assert not tables[0][split]["question"].equals(tables[2][split]["question"])


def test_mistaken_operations_take_the_same_kind_of_operand():
    for operation in OPERATIONS.values():
        mistaken = OPERATIONS[operation.mistaken]
        assert (operation.numbers is None) == (mistaken.numbers is None)


# --- the nano model's tokenizer ------------------------------------------------------------------


def test_every_word_is_known_and_comes_back(splits):
    tokenizer = build_tokenizer("code")
    lesson = LESSONS["code"]
    texts = [lesson.system, lesson.question, lesson.answer]
    for table in splits.values():
        for column in table.columns.intersection(["question", "solution", "noisy_solution"]):
            texts += list(table[column])
    for text, ids in zip(texts, tokenizer(texts)["input_ids"], strict=True):
        assert tokenizer.unk_token_id not in ids, text
        assert tokenizer.decode(ids) == text


def test_the_words_of_code_come_after_those_of_arithmetic():
    before, after = words(), words("code")
    assert list(after)[: len(before)] == list(before)
    assert list(after.values()) == list(range(len(after)))


def test_the_worked_example_is_right():
    lesson = LESSONS["code"]
    steps = (Instruction("double"), Instruction("add", "9"))
    assert lesson.question.startswith("Write f ( x ) : double x , then add 9 to it")
    assert lesson.answer == program(steps)
