"""What verl answers, lost answers, mini-batches of any groups: without verl."""

import numpy as np
import pytest
from scripted_policy import Script

from gainrl.errors import BackendError, GradingError
from gainrl.training.rollouts import collect
from gainrl.training.verl.answers import Answer, Lost, Sampled, filled, mini_batch
from gainrl.training.verl.testing import answer_rows


def answer(key, correct=0.0, reward=None, tokens=3):
    return Answer(key, [1] * tokens, correct, correct if reward is None else reward)


def collected(policy, answers, bonus=False):
    lost, made, answers = Lost(), [], list(answers)

    def fresh():
        made.append(Sampled(lambda _: answers.pop(0), bonus, lost))
        return made[-1]

    return collect(policy, fresh), made[0], lost


def test_groups_of_several_requests_are_put_together_by_prompt():
    policy = Script([([7, 2], [2, 1]), ([2], [2], "estimate"), ([2], [2])], [1])
    first = [[answer("a_0_0", 1), answer("a_1_0")], [answer("b_0_0")]]
    apart = [[answer("c_0_0", 1, tokens=5), answer("c_1_0", 1, tokens=5)]]
    again = [[answer("d_0_0", 1), answer("d_1_0", 1)]]
    found, seen, lost = collected(policy, [first, apart, again])
    assert found.rows.tolist() == [7, 2]
    assert found.sizes.tolist() == [2, 3]
    assert found.estimated == 10
    assert seen.keys_of(found.trained) == ["b_0_0", "d_0_0", "d_1_0"]
    assert policy.seen[2][1].accuracy.tolist() == [1]
    assert lost.record() == {}


def test_the_bonus_is_no_accuracy():
    given = [[answer("a_0_0", 1, 1.25), answer("a_1_0", 1, 1.0)]]
    found, _, _ = collected(Script([([3], [2])], [0]), [given], bonus=True)
    assert found.accuracy.tolist() == [1]
    assert found.groups().mixed.tolist() == [True]
    assert found.rewards.tolist() == [1.25, 1.0]


def test_lost_prompts_are_left_out_and_counted():
    rows = np.arange(200)
    given = [[answer(f"{row}_{k}_0") for k in range(2)] for row in rows]
    given[7], given[9] = [], given[9][:1]
    found, seen, lost = collected(Script([(rows, np.full(200, 2))], [0, 7]), [given])
    assert 7 not in found.rows
    assert found.sizes[found.rows == 9] == 1
    assert len(seen.keys_of(found)) == 397
    assert lost.record() == {"groups_without_responses": 1, "lost_responses": 3}


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ({3: 0, 4: 0, 5: 0}, "3 of the step's 200 prompts have no response"),
        (dict.fromkeys(range(5), 1), "5 of the step's 400 responses were not made or not graded"),
    ],
)
def test_above_one_percent_the_run_stops_and_says_why(gone, said):
    rows = np.arange(200)
    given = [[answer(f"{row}_{k}_0") for k in range(gone.get(row, 2))] for row in rows.tolist()]
    with pytest.raises(BackendError, match=f"{said}, which is more than 1%; verl's errors above"):
        collected(Script([(rows, np.full(200, 2))], [0]), [given])


def test_no_prompt_with_a_response_stops_the_run():
    with pytest.raises(BackendError, match="2 of the step's 2 prompts have no response"):
        collected(Script([([1, 2], [2, 2])], [0]), [[[], []]])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_reward_that_is_no_number_is_refused(value):
    given = [[answer("a_0_0", 0.0, value)]]
    with pytest.raises(GradingError, match="row 4 of the training table: its reward is"):
        collected(Script([([4], [1])], [0]), [given])


@pytest.mark.parametrize("sequences", [1, 5, 9, 64, 67, 128, 1000])
@pytest.mark.parametrize("updates", [1, 2, 4])
@pytest.mark.parametrize("ranks", [1, 2, 8])
def test_mini_batches_hold_all_sequences_and_none_is_all_filling(sequences, updates, ranks):
    size = mini_batch(sequences, updates, ranks)
    assert size % ranks == 0
    whole = -(-sequences // size) * size
    assert whole // size <= updates
    assert whole - sequences < size  # verl's filling does not make a mini-batch of its own


def test_whole_batches_have_the_mini_batches_of_the_preset():
    assert mini_batch(1024 * 8, 4, 8) == 256 * 8


@pytest.mark.parametrize("count", [0, 1, 5, 11, 12])
@pytest.mark.parametrize(("updates", "ranks"), [(1, 1), (2, 1), (1, 2), (2, 2), (3, 2)])
def test_what_is_kept_is_filled_up_to_whole_mini_batches(count, updates, ranks):
    everything = -(-12 // mini_batch(12, updates, ranks)) * mini_batch(12, updates, ranks)
    kept = np.zeros(everything, dtype=bool)
    kept[np.random.default_rng(count).permutation(12)[:count]] = True
    size = mini_batch(max(count, 1), updates, ranks)
    places = filled(kept, size)
    assert len(places) % size == 0
    assert len(places) > 0
    assert len(set(places.tolist())) == len(places)
    assert set(np.flatnonzero(kept)) <= set(places.tolist())
    assert len(places) - count <= size


# --- the answers of a test ------------------------------------------------------------------------


def rows_of(count, asked):
    said = {"prompt": ["p", "p", "q", "q"], "acc": [1.0, 0.0, 0.0, 0.0], "reason": ["r"] * 4}
    said |= {"extracted": ["7", "", "", ""], "rule": ["box", "", "", ""]}
    said = {key: values[:count] for key, values in said.items()}
    names, texts, lengths = ["d"] * count, ["x"] * count, [3] * count
    return answer_rows(names, texts, lengths, said, asked, {"d": ["long"]})


def test_the_answers_of_a_test():
    rows = rows_of(4, {"d": 4})
    assert [(row["id"], row["sample"], row["correct"]) for row in rows] == [
        ("p", 0, 1), ("p", 1, 0), ("q", 0, 0), ("q", 1, 0), ("long", 0, 0), ("long", 1, 0),
    ]  # fmt: skip
    assert (rows[0]["extracted"], rows[0]["rule"], rows[1]["extracted"]) == ("7", "box", None)


@pytest.mark.parametrize("asked", [{"d": 4}, {"d": 3, "e": 2}])
def test_a_lost_answer_of_a_test_ends_the_run(asked):
    with pytest.raises(GradingError, match=r"[de]: [42] answers were asked for, [03] came graded"):
        rows_of(3, asked)
