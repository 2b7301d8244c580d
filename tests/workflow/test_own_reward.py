"""A whole run that is rewarded and tested by a function of the user's own."""

from stage_calls import CHAIN, NANO, PRESET

from gainrl.records import read_lines

REWARD = """
def even_length(completion, answer):
    return len(completion) % 2 == 0
"""


def test_a_run_is_rewarded_by_a_function_of_ones_own(place):
    (place.folder / "rewards.py").write_text(REWARD)
    own = {"grader": f"{place.folder / 'rewards.py'}:even_length"}
    datasets = {"chain": {**PRESET["datasets"]["chain"], **own}}
    for command in (
        ("tracking", "init"),
        ("data", *CHAIN),
        ("model", *NANO),
        ("prompts", *NANO, *CHAIN),
        ("evaluate", *NANO, "--benchmark", "chain"),
        ("train", *NANO, *CHAIN, "--method", "grpo", "--seed", "0"),
    ):
        done = place.gainrl(*command, datasets=datasets)
        assert done.code == 0, done.err
    (steps,) = place.home.rglob("steps.jsonl")
    accuracy = [row["accuracy"] for row in read_lines(steps)]
    assert any(0 < each < 1 for each in accuracy)  # random weights never give the right answer
