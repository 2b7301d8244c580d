"""Run folders as tables read them: what is damaged, and what cannot be compared."""

import json

import pytest
from run_folders import GRPO, change, two_methods, write_run

from gainrl.errors import DataError
from gainrl.results.runs import collect, read_run


@pytest.fixture
def folders(tmp_path):
    return two_methods(tmp_path)


def test_a_run_is_read_as_it_was_written(folders):
    run = read_run(folders[1])
    assert (run.model, run.dataset, run.method, run.seed, run.label) == (
        *("tiny", "chain", "grpo", 1, "GRPO"),
    )
    assert run.evaluated.tolist() == [0, 2, 4]
    assert run.curve("chain").tolist() == GRPO[1]
    assert run.steps["rollout_tokens"].tolist() == [101] * 4


def test_a_label_falls_back_to_the_methods_name(tmp_path):
    assert read_run(write_run(tmp_path, "mopps", 0, GRPO[0])).label == "mopps"


def test_an_unfinished_run_is_named(folders):
    (folders[0] / "done.json").unlink()
    with pytest.raises(DataError, match=r"grpo/seed0: the run is not finished"):
        collect(folders)


def test_a_torn_last_line_of_a_finished_run_is_an_error(folders):
    path = folders[0] / "steps.jsonl"
    path.write_text(path.read_text()[:-9])
    with pytest.raises(DataError, match=r"steps\.jsonl: 3 complete rows, but training\.steps is 4"):
        read_run(folders[0])


def test_a_torn_line_in_the_middle_is_an_error(folders):
    change(folders[0] / "steps.jsonl", '"step": 2,', '"step": 2')
    with pytest.raises(DataError, match=r"steps\.jsonl: line 2 is not valid JSON"):
        read_run(folders[0])


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("run.json", '"seed"', '"sead"', r"run\.json: key 'seed' is missing"),
        ("run.json", '"seed": 0', '"seed": true', r"run\.json: key 'seed' is True"),
        ("run.json", '"steps": 4, ', "", r"run\.json: training: key 'steps' is missing"),
        ("steps.jsonl", '"zero_variance": 0.25', '"zero_variance": 25', "row 1.*zero_variance"),
        ("steps.jsonl", '"rollout_tokens": 100', '"rollout_tokens": null', "rollout_tokens"),
        ("steps.jsonl", '"step": 3', '"step": 2', "step 2 is out of place"),
        ("run.json", '"kl": 0.0', '"kml": 0.0', r"run\.json: training: key 'kl' is missing"),
        ("run.json", '"algorithm"', '"algorythm"', r"slice\.method: key 'algorithm' is missing"),
        ("run.json", '"label"', '"overrides": [3], "label"', "'overrides' is .3., which is no"),
        ("steps.jsonl", '"prompt_tokens": 20', '"tokens": 20', "'prompt_tokens' is missing"),
        ("timing.jsonl", '"seconds_step": 2.0', '"seconds_step": 0.0', "is 0.0, not over 0"),
        ("timing.jsonl", "seconds_step", "seconds", r"timing\.jsonl: row 1: key 'seconds_step'"),
        ("eval.jsonl", '"step": 2', '"step": 0', "step 0 of 'chain' is there twice"),
        ("eval.jsonl", '"step": 0', '"step": 1', "start at step 0"),
        ("eval.jsonl", '"chain"', '"average"', "may not be called"),
    ],
)
def test_a_damaged_file_is_named_with_its_key(folders, name, old, new, message):
    change(folders[0] / name, old, new)
    with pytest.raises(DataError, match=message):
        read_run(folders[0])


def test_a_step_timed_again_after_a_resume_counts_once(folders):
    with (folders[0] / "timing.jsonl").open("a") as file:
        row = {"step": 4, "seconds_rollout": 1.0, "seconds_train": 1.0, "seconds_step": 7.0}
        file.write(json.dumps(row) + "\n")
    assert read_run(folders[0]).timing["seconds_step"].tolist() == [2, 2, 2, 7]


def test_other_evaluation_steps_cannot_be_compared(folders):
    change(folders[2] / "eval.jsonl", '"step": 2', '"step": 3')
    match = r"grpo/seed0 and .*gain/seed0 cannot be compared: evaluated steps are 0, 2, 4"
    with pytest.raises(DataError, match=match):
        collect(folders)


@pytest.mark.parametrize(
    ("name", "old", "new", "key"),
    [
        ("run.json", '"lr": 0.0001', '"lr": 0.001', r"training\.lr is 0\.0001 and 0\.001"),
        ("run.json", '"temperature": 0.0', '"temperature": 1.0', r"evaluation\.temperature"),
        ("run.json", '"preset": "nano"', '"preset": "smol"', "preset differs"),
        ("eval.jsonl", '"problems": 100', '"problems": 200', "problems of the tests"),
    ],
)
def test_another_config_cannot_be_compared(folders, name, old, new, key):
    change(folders[2] / name, old, new)
    with pytest.raises(DataError, match=rf"grpo/seed0 and .*gain/seed0 cannot.*{key}"):
        collect(folders)


def test_what_is_kept_of_a_run_may_differ(folders):
    for place, folder in enumerate(folders):  # `keep_model: tested` differs by method
        kept = "true" if place > 1 else "false"
        change(folder / "run.json", '"prompts": 2', f'"prompts": 2, "keep_model": {kept}')
    assert len(collect(folders)) == 4


def test_what_a_method_sets_itself_may_differ_from_other_methods_but_not_within_it(folders):
    for folder in folders[2:]:
        change(folder / "run.json", '"prompts": 2', '"prompts": 1')
    with pytest.raises(DataError, match=r"training\.prompts is 2 and 1"):
        collect(folders)
    for folder in folders[2:]:
        change(folder / "run.json", '"label"', '"overrides": ["prompts"], "label"')
    assert len(collect(folders)) == 4
    assert len(collect(folders[::-1])) == 4
    change(folders[3] / "run.json", '"prompts": 1', '"prompts": 3')
    with pytest.raises(DataError, match=r"gain/seed0 and .*gain/seed1.*prompts is 1 and 3"):
        collect(folders)


def test_runs_that_end_by_tokens_may_have_other_numbers_of_steps_at_most(folders):
    for place, folder in enumerate(folders):  # with the batch that was chosen for each method
        change(folder / "run.json", '"steps": 4', f'"steps": {4 + 2 * place}, "tokens": 400')
    assert len(collect(folders)) == 4
    change(folders[3] / "run.json", '"tokens": 400', '"tokens": 500')
    with pytest.raises(DataError, match=r"training\.tokens is 400 and 500"):
        collect(folders)


def test_a_third_method_is_compared_with_those_that_override_nothing(folders, tmp_path):
    for folder in folders[:2]:
        change(folder / "run.json", '"label"', '"overrides": ["lr"], "label"')
    other = write_run(tmp_path, "mopps", 0, GRPO[0])
    change(other / "run.json", '"lr": 0.0001', '"lr": 0.5')
    with pytest.raises(DataError, match=r"gain/seed0 and .*mopps/seed0.*lr is 0\.0001 and 0\.5"):
        collect([*folders, other])


def test_other_numbers_of_steps_are_never_compared(folders):
    change(folders[2] / "run.json", '"steps": 4', '"steps": 3')
    change(folders[2] / "run.json", '"label"', '"overrides": ["steps"], "label"')
    for name in ("steps.jsonl", "timing.jsonl", "eval.jsonl"):
        lines = (folders[2] / name).read_text().splitlines(keepends=True)
        (folders[2] / name).write_text("".join(line for line in lines if '"step": 4' not in line))
    with pytest.raises(DataError, match=r"training\.steps is 4 and 3"):
        collect(folders)


def test_a_run_given_twice_is_refused(folders):
    with pytest.raises(DataError, match="hold the same run"):
        collect([*folders, folders[0]])
