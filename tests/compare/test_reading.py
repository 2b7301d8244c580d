"""Curves from CSVs, exports of W&B and logs of TRL and verl; and what is refused."""

from __future__ import annotations

import json

import pytest
from curve_logs import ACC, lines, trl_state, verl_rows

from gainrl.compare import read_curves
from gainrl.compare.curves import arranged
from gainrl.errors import DataError

CSV = "method,seed,step,tokens,accuracy\ngrpo,0,0,0,0.2\ngrpo,0,10,500,0.4\ngain,1,0,0,0.2\n"


def written(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    return path


def points(curves):
    """Method, seed, steps, accuracies and tokens of each curve."""
    return [
        (
            each.method,
            each.seed,
            each.steps.tolist(),
            each.accuracies.tolist(),
            None if each.tokens is None else each.tokens.tolist(),
        )
        for each in curves
    ]


def test_a_csv_has_a_row_a_test_in_any_order(tmp_path):
    head, *rows = CSV.splitlines()
    path = written(tmp_path / "curves.csv", "\n".join([head, *reversed(rows), ""]))
    assert points(read_curves([path])) == [
        ("gain", 1, [0], [0.2], [0]),
        ("grpo", 0, [0, 10], [0.2, 0.4], [0, 500]),
    ]


def test_a_csvs_columns_may_be_called_otherwise_and_others_are_left_alone(tmp_path):
    text = "run,seed,global_step,lr,eval/acc\ngrpo,0,0,1e-6,0.2\n"
    columns = {"method": "run", "step": "global_step", "accuracy": "eval/acc"}
    found = read_curves([written(tmp_path / "a.csv", text)], columns=columns)
    assert points(found) == [("grpo", 0, [0], [0.2], None)]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "accuracy\n",
            "acuracy\n",
            "curves.csv: no column 'accuracy'; did you mean 'acuracy'?",
        ),
        (
            "seed,step",
            "sead,step",
            "curves.csv: no column 'seed'; did you mean 'sead'?",
        ),
        ("seed,step", "run,step", "curves.csv: no column 'seed'; known: run; if it is called"),
        (CSV.partition("\n")[2], "", "curves.csv: no row below the head"),
        (CSV, CSV.replace(",", ";"), "curves.csv: its columns are parted by ';'; commas are"),
        (CSV, CSV.replace(",", "\t"), "curves.csv: its columns are parted by tabs; commas are"),
        (CSV, '"method";"seed"\n"a";"1"\n', "curves.csv: its columns are parted by ';'; commas"),
        (CSV, '"Step","a-seed0 - acc"\n0,0.2\n', "export of W&B: add --wandb-csv"),
        ("gain,1,0,0", "gain,1,-1,0", "curves.csv: row 4: step -1 is below 0"),
        ("gain,1,0,0", "gain,-1,0,0", "curves.csv: row 4: seed -1 is below 0"),
        ("gain,1,0,0", "gain,1,0,-5", "curves.csv: row 4: -5 tokens are below 0"),
        ("0.4", "n/a", "curves.csv: row 3, column 'accuracy': 'n/a' is no finite number"),
        ("0.4", "", "curves.csv: row 3, column 'accuracy': the cell is empty"),
        ("0.4", "inf", "curves.csv: row 3, column 'accuracy': 'inf' is no finite number"),
        ("gain,1", "gain,1.5", "curves.csv: row 4, column 'seed': 1.5 is no whole number"),
        ("gain,1", ",1", "curves.csv: row 4, column 'method': the cell is empty"),
        ("10,500", "0,500", "row 3: step 0 of method 'grpo', seed 0 is there twice (also"),
        ("10,500", "10,0", "row 3: tokens of method 'grpo', seed 0 do not increase (0 at step 0"),
        ("10,500", "10,", "row 3: tokens are missing, other tests of method 'grpo', seed 0 have"),
        ("0.4\n", "0.4,7\n", "curves.csv: row 3 has 6 cells, the head 5"),
        (CSV, "", "curves.csv: the file is empty"),
        ("seed,step", "step,step", "curves.csv: no column 'seed'"),
        ("tokens,", "step,", "curves.csv: the column 'step' is there 2 times"),
    ],
)
def test_a_damaged_csv_is_named_by_file_row_and_column(tmp_path, old, new, message):
    assert old in CSV
    path = written(tmp_path / "curves.csv", CSV.replace(old, new))
    with pytest.raises(DataError) as caught:
        read_curves([path])
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_export_of_wandb_has_a_column_for_each_run(tmp_path):
    accuracy = written(
        tmp_path / "acc.csv",
        '"Step","grpo-seed0 - eval/acc","grpo-seed0 - eval/acc__MIN","grpo-seed0 - eval/acc__MAX",'
        '"mopps_s1 - eval/acc"\n0,0.2,0.2,0.2,0.3\n5,,,,\n10,0.4,0.4,0.4,\n',
    )
    tokens = written(
        tmp_path / "tok.csv",
        '"Step","grpo-seed0 - tokens","mopps_s1 - tokens"\n0,0,0\n9,450,600\n10,500,700\n',
    )
    empty = written(tmp_path / "empty.csv", '"Step","grpo-seed0 - eval/acc"\n0,\n')
    with pytest.raises(DataError, match=r"empty\.csv: no value is there"):
        read_curves([empty], wandb=True, metric="eval/acc")
    files = [accuracy, tokens]
    with pytest.raises(DataError, match="both have 'eval/acc' of method 'grpo', seed 0 from"):
        read_curves([accuracy, accuracy], wandb=True, metric="eval/acc")
    found = read_curves(files, wandb=True, metric="eval/acc", tokens="tokens")
    assert points(found) == [
        ("grpo", 0, [0, 10], [0.2, 0.4], [0, 500]),
        ("mopps", 1, [0], [0.3], [0]),
    ]


def test_a_trainer_state_of_trl_has_running_tokens(tmp_path):
    files = [
        written(tmp_path / "out" / "grpo" / "seed0" / "trainer_state.json", trl_state([0.2, 0.4])),
        written(
            tmp_path / "out" / "mopps-seed0.jsonl",
            lines(trl_state([0.3, 0.5])["log_history"]),
        ),
    ]
    assert points(read_curves(files, metric="eval_reward")) == [
        ("grpo", 0, [2, 4], [0.2, 0.4], [200, 400]),
        ("mopps", 0, [2, 4], [0.3, 0.5], [200, 400]),
    ]


VERL = lines(verl_rows(0, 2))
NAN = lines([{"step": 1, "data": {ACC: float("nan")}}])
UNCOUNTED = json.dumps(trl_state([0.2, 0.4])).replace('"num_tokens": 200.0', '"num_tokens": NaN')


def test_a_log_of_verl_has_each_steps_tokens_and_attempts_are_put_together(tmp_path):
    first, second = verl_rows(0, 3), verl_rows(3, 4)
    files = [
        written(tmp_path / "logs" / "grpo-seed0.attempt2.jsonl", lines(second)),
        written(tmp_path / "logs" / "grpo-seed0.attempt1.jsonl", lines(first) + '{"step": 4, "da'),
    ]
    (found,) = points(read_curves(files, metric=ACC))
    assert found == ("grpo", 0, [0, 2, 4], [0.0, 0.2, 0.4], [0, 200, 400])
    with pytest.raises(DataError, match="no 'perf/total_num_tokens' of step 1, so what was"):
        read_curves(files[:1], metric=ACC)
    own = read_curves(files, metric=ACC, tokens="critic/score/mean", each_step=True)
    assert own[0].tokens == pytest.approx([0, 0.2, 0.4])


def test_a_seed_may_be_larger_than_a_float_tells_apart(tmp_path):
    seeds = [2**53, 2**53 + 1]
    rows = "".join(f"grpo,{seed},0,0,0.2\n" for seed in seeds)
    found = read_curves([written(tmp_path / "a.csv", CSV.partition("\n")[0] + "\n" + rows)])
    assert [curve.seed for curve in found] == seeds
    head = CSV.partition("\n")[0] + "\n"
    for row, said in (("grpo,{},0,0,0.2", "column 'seed'"), ("grpo,0,{},0,0.2", "column 'step'")):
        path = written(tmp_path / "b.csv", head + row.format("9" * 5000) + "\n")
        with pytest.raises(DataError, match=rf"b\.csv: row 2, {said}: '9+' is no finite number"):
            read_curves([path])


def test_a_task_is_said_of_every_row_or_of_none(tmp_path):
    text = "method,seed,step,accuracy,task\ngrpo,0,0,0.2,{}\ngrpo,0,1,0.2,{}\n"
    path = written(tmp_path / "a.csv", text.format("chain", ""))
    with pytest.raises(DataError, match=r"a\.csv: row 3, column 'task': the cell is empty"):
        read_curves([path])
    assert len(read_curves([written(path, text.format("", ""))])) == 1
    other = written(tmp_path / "b.csv", text.format("chain", "chain").replace("grpo", "gain"))
    with pytest.raises(DataError, match=r"a\.csv: row 2: no task is said, and others are of 'cha"):
        arranged(read_curves([path, other]), "grpo")


@pytest.mark.parametrize(
    ("name", "text", "more", "message"),
    [
        ("a-seed0.jsonl", VERL, {"metric": ""}, "--metric; logged are val-core/"),
        ("a-seed0.jsonl", VERL, {"metric": "val/acc"}, "no metric 'val/acc'; known: perf/"),
        ("a-seed0.jsonl", VERL, {"tokens": "nope"}, "no metric 'nope' for tokens"),
        ("a.jsonl", VERL, {}, "does not say method and seed"),
        ("a-seed0.jsonl", '{"loss": 1}\n', {}, "row 1 has no whole number 'step'"),
        ("a-seed0.jsonl", '{"step": 1.5}\n', {}, "row 1 has no whole number 'step'"),
        ("a-seed0.jsonl", '{"step": NaN}\n', {}, "row 1 has no whole number 'step'"),
        ("a-seed0.jsonl", '{"st\n{"step": 1}\n', {}, "row 1 is not valid JSON"),
        ("a-seed0.jsonl", "[" * 10**5 + "\n{}\n", {}, "row 1 is not valid JSON: nested too deeply"),
        ("a-seed0.json", "[" * 10**5, {}, "not valid JSON: nested too deeply"),
        ("a-seed0.jsonl", "", {}, "nothing is logged there"),
        ("a-seed0.json", "{}", {}, "no 'log_history', as in TRL's trainer_state.json"),
        ("a-seed0.txt", "", {}, "curves are read from .csv, .json and .jsonl"),
        ("a-seed0.jsonl", NAN, {}, f"step 1: '{ACC}' is nan"),
        ("a-seed0.json", UNCOUNTED, {"metric": "eval_reward"}, "nan tokens are no number"),
    ],
)  # fmt: skip
def test_a_log_that_cannot_be_used_is_refused_in_one_line(tmp_path, name, text, more, message):
    path = written(tmp_path / name, text)
    with pytest.raises(DataError) as caught:
        read_curves([path], **{"metric": ACC, **more})
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_a_step_below_0_is_named_without_tokens_too(tmp_path):
    text = "method,seed,step,accuracy\ngrpo,0,-10,0.2\ngrpo,0,10,0.4\n"
    with pytest.raises(DataError, match=r"a\.csv: row 2: step -10 is below 0"):
        read_curves([written(tmp_path / "a.csv", text)])


def test_a_missing_column_is_never_one_in_use(tmp_path):
    text = "method,step,accuracy\ngrpo,0,0.2\n"
    with pytest.raises(DataError) as caught:
        read_curves([written(tmp_path / "a.csv", text)])
    assert "no column 'seed'; if it is called otherwise: --columns seed=NAME" in str(caught.value)


def test_text_that_is_not_utf_8_is_named_by_its_row(tmp_path):
    path = tmp_path / "latin.csv"
    path.write_bytes(CSV.replace("gain", "g\xe9in").encode("latin-1"))
    with pytest.raises(DataError, match=r"latin\.csv: row 4 is not UTF-8 text; save it as UTF-8"):
        read_curves([path])


def test_tabs_are_not_read(tmp_path):
    with pytest.raises(DataError, match=r"a\.tsv: .* save it as \.csv, with commas"):
        read_curves([written(tmp_path / "a.tsv", CSV.replace(",", "\t"))])


@pytest.mark.parametrize("name", ["a-seed0.jsonl", "a-seed0.json"])
def test_a_log_may_begin_with_a_byte_order_mark(tmp_path, name):
    text = VERL if name.endswith("l") else json.dumps(trl_state([0.2, 0.4]))
    (tmp_path / name).write_text(text, encoding="utf-8-sig")
    metric = ACC if name.endswith("l") else "eval_reward"
    assert len(read_curves([tmp_path / name], metric=metric)) == 1


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("a.csv", {"metric": "x"}, "--metric is of logs"),
        ("a.csv", {"tokens": "x"}, "--tokens is of logs"),
        ("a.csv", {"each_step": True}, "--tokens-each-step is of logs"),
        ("a.csv", {"runs": "(?P<method>a)(?P<seed>1)"}, "--runs is of logs"),
        ("a-s0.jsonl", {"metric": ACC, "columns": {"seed": "s"}}, "--columns is of CSVs with a"),
        ("a-s0.jsonl", {"metric": ACC, "wandb": True}, "--wandb-csv: no file is a .csv"),
    ],
)
def test_what_says_nothing_of_the_files_is_refused(tmp_path, name, more, message):
    path = written(tmp_path / name, CSV if name == "a.csv" else VERL)
    with pytest.raises(DataError) as caught:
        read_curves([path], **more)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_said(tmp_path):
    for name in ("a.csv", "a-seed0.json", "a-seed0.jsonl"):
        with pytest.raises(DataError, match="no such file"):
            read_curves([tmp_path / name], metric="x")


def test_a_pattern_says_where_names_have_method_seed_and_task(tmp_path):
    path = written(tmp_path / "gsm8k__mopps__run3.jsonl", lines(verl_rows(0, 2)))
    pattern = r"(?P<task>[a-z0-9]+)__(?P<method>\w+?)__run(?P<seed>\d+)"
    (curve,) = read_curves([path], metric=ACC, runs=pattern)
    assert (curve.task, curve.method, curve.seed) == ("gsm8k", "mopps", 3)
