"""`gainrl order FILE`: every way to sort, every format, what is dropped, and what is refused."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ordered_files import COUNT, questions, records, rows_of

from gainrl import cli
from gainrl.data.prompts import encode
from gainrl.models.loading import load_model, load_tokenizer
from gainrl.signals.orders import residual
from gainrl.signals.prefill import score

ADDED = {"gainrl_rank", "gainrl_value"}
MEASURED = ("angle", "offdiagonal", "residual")


def known(by, model):
    """What rows are sorted by, computed another way, and whether the lowest is first."""
    rows = pd.DataFrame(records())
    if by == "difficulty-column":
        return rows["difficulty"].to_numpy(float), True
    tokenizer = load_tokenizer(model)
    prompts = encode(tokenizer, list(rows["id"]), list(rows["question"]))
    if by == "length":
        return prompts.lengths.astype(float), True
    table = score(load_model(model), prompts, 64)
    if by == "offdiagonal":
        return (table["c_intra_offdiagonal"] + table["c_inter"]).to_numpy(), False
    c = table["c_intra"] + table["c_inter"]
    if by == "residual":
        return residual(c, table["n_question"].astype(float)).to_numpy(), False
    return c.to_numpy(), False


@pytest.mark.parametrize("by", [*MEASURED, "length", "difficulty-column"])
def test_rows_are_sorted_by_what_is_asked_for(ordered, model, by):
    _, found = ordered("train.jsonl", "--by", by, "--model", "model")
    values, ascending = known(by, model)
    assert sorted(row["id"] for row in found) == sorted(row["id"] for row in records())
    places = [int(row["id"][1:]) for row in found]
    got = [row["gainrl_value"] for row in found]
    np.testing.assert_allclose(got, values[places], rtol=1e-5, atol=1e-6)
    assert got == sorted(got, reverse=not ascending)
    assert len(set(np.round(got, 6))) > 5


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".parquet"])
def test_every_format_keeps_all_columns_of_all_rows(ordered, suffix):
    _, found = ordered(f"train{suffix}", "--by", "angle", "--model", "model")
    assert [row["gainrl_rank"] for row in found] == list(range(COUNT))
    by_id = {row["id"]: row for row in records()}
    for row in found:
        assert {key: row[key] for key in row if key not in ADDED} == by_id[row["id"]]


def test_ties_stay_as_they_stood(ordered):
    _, found = ordered("train.parquet", "--by", "difficulty-column")
    places = [(row["difficulty"], int(row["id"][1:])) for row in found]
    assert places == sorted(places)


@pytest.mark.parametrize("name", sorted(ADDED))
@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_a_file_that_has_a_rank_already_is_refused(ordered, folder, suffix, name):
    rows = records()
    rows[3][name] = 7
    if suffix == ".parquet":
        pd.DataFrame(rows).to_parquet(folder / "again.parquet")
    else:
        (folder / "again.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    line = ordered(f"again{suffix}", "--by", "shuffled", code=2)
    assert f"again{suffix}: " in line
    assert line.endswith(f"has '{name}' already, which an order adds; rename or drop that column")


@pytest.mark.parametrize("out", ["train.jsonl", "./train.jsonl", "link.jsonl"])
def test_the_file_itself_is_not_written_over(folder, capsys, out):
    from gainrl import cli

    (folder / "link.jsonl").symlink_to(folder / "train.jsonl")
    before = (folder / "train.jsonl").read_bytes()
    assert cli.main(["order", "train.jsonl", "--by", "length", "--top", "2", "--out", out]) == 2
    assert "is an input (train.jsonl); name another file" in capsys.readouterr().err
    assert (folder / "train.jsonl").read_bytes() == before


def test_shuffled_is_fixed_by_its_seed(ordered):
    ids = [
        [row["id"] for row in ordered("train.jsonl", "--by", "shuffled", "--seed", seed)[1]]
        for seed in (0, 0, 1)
    ]
    assert ids[0] == ids[1] != ids[2]
    assert sorted(ids[0]) == sorted(ids[2]) != ids[0]


# --- chat columns --------------------------------------------------------------------------------


def chats(folder, name, conversations):
    """A Parquet file of conversations."""
    rows = [{"id": f"x{row}", name: chat} for row, chat in enumerate(conversations)]
    pd.DataFrame(rows).to_parquet(folder / "chats.parquet")


@pytest.mark.parametrize("name", ["prompt", "messages"])
def test_chat_messages_are_what_the_same_question_is(ordered, folder, name):
    user = [{"role": "user", "content": text} for text in questions()]
    answer = {"role": "assistant", "content": "5"}
    chats(folder, name, [[each, *[answer] * (name == "messages")] for each in user])
    said, found = ordered("chats.parquet", "--by", "angle", "--model", "model")
    assert f"questions from '{name}'" in said
    _, plain = ordered("train.jsonl", "--by", "angle", "--model", "model")
    assert [row["id"] for row in found] == [row["id"] for row in plain]
    assert [row["gainrl_value"] for row in found] == [row["gainrl_value"] for row in plain]


def test_a_question_column_may_lie_inside_another(ordered, folder):
    rows = [{"id": row["id"], "extra": {"asked": row["question"]}} for row in records()]
    (folder / "deep.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    _, found = ordered("deep.jsonl", "--by", "length", "--question-column", "extra.asked")
    assert len(found) == COUNT
    line = ordered("deep.jsonl", "--by", "length", "--question-column", "extra.aked", code=2)
    assert line.endswith("no column 'extra.aked'; did you mean 'extra.asked'?")


@pytest.mark.parametrize(
    ("chat", "said"),
    [
        (5, "is a number; a text or a list of chat messages is wanted"),
        ({"role": "user"}, "is a dict; a text or a list of chat messages is wanted"),
        ([], "has no message that a model could answer"),
        ([{"role": "assistant", "content": "5"}], "has no message that a model could answer"),
        ([{"content": "1 + 1"}], "has a message without a role"),
        (
            [{"role": "user", "content": [{"type": "image", "url": "x"}]}],
            "has a message that is not text alone",
        ),
    ],
)
def test_a_row_without_a_conversation_is_named(ordered, folder, chat, said):
    rows = [{"messages": [{"role": "user", "content": "1 + 1"}]}, {"messages": chat}]
    (folder / "bad.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    line = ordered("bad.jsonl", "--by", "angle", "--model", "model", code=2)
    assert line == f"bad.jsonl: line 2: 'messages' {said}"


# --- dropping ------------------------------------------------------------------------------------


def test_what_is_dropped_is_counted(ordered, model):
    lengths = known("length", model)[0]
    limit = int(np.median(lengths))
    flags = ("--drop-solved", "--drop-impossible", "--pass-rate-column", "rate")
    said, found = ordered(
        "train.jsonl",
        "--by",
        "angle",
        "--model",
        "model",
        "--max-prompt",
        limit,
        "--top",
        5,
        *flags,
    )
    short = [row for row, length in zip(records(), lengths, strict=True) if length <= limit]
    left = [row for row in short if 0 < row["rate"] < 1]
    for count, why in (
        (COUNT - len(short), f"longer than {limit} tokens (--max-prompt)"),
        (sum(row["rate"] == 1 for row in short), "always solved (--drop-solved)"),
        (sum(row["rate"] == 0 for row in short), "never solved (--drop-impossible)"),
        (len(left) - 5, "after the first 5 (--top)"),
    ):
        assert f"dropped: {count} {why}\n" in said
    assert len(found) == 5
    assert {row["id"] for row in found} <= {row["id"] for row in left}


def test_a_prompt_that_does_not_fit_into_the_model_is_dropped_and_counted(ordered, folder):
    rows = [*records(), {"id": "long", "question": " + ".join(["1"] * 3000), "answer": "3000"}]
    (folder / "more.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    said, found = ordered("more.jsonl", "--by", "angle", "--model", "model")
    assert "dropped: 1 longer than the model's context of " in said
    assert len(found) == COUNT


def test_nothing_is_written_if_nothing_is_left(ordered):
    flags = ("--by", "shuffled", "--model", "model", "--max-prompt", 3)
    line = ordered("train.jsonl", *flags, code=2)
    assert line == f"no row is left ({COUNT} longer than 3 tokens (--max-prompt))"


# --- length --------------------------------------------------------------------------------------


def test_an_order_that_is_one_of_length_is_said_to_be_one(ordered, folder):
    rows = [{**row, "words": len(row["question"])} for row in records()]
    (folder / "words.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    flags = ("--by", "difficulty-column", "--difficulty-column", "words")
    said, _ = ordered("words.jsonl", *flags)
    assert "rank correlation of the order with the length in characters: +1.00\n" in said
    assert "warning: this order is nearly that of length, shortest first" in said
    said, _ = ordered("words.jsonl", "--by", "length")
    assert "+1.00" in said
    assert "warning" not in said
    said, _ = ordered("words.jsonl", "--by", "shuffled")
    assert "warning" not in said


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "flags", "said"),
    [
        ("train.jsonl", ("--by", "angle"), "--by angle needs --model"),
        (
            "train.jsonl",
            ("--by", "shuffled", "--drop-solved"),
            "a pass rate needs --model, a folder or an id of the hub, or --pass-rate-column",
        ),
        ("none.jsonl", ("--by", "shuffled"), "none.jsonl: no such file"),
        ("train.jsonl", ("--by", "angle", "--model", "nowhere"), "--model nowhere: no folder"),
        (
            "train.jsonl",
            ("--by", "difficulty-column", "--difficulty-column", "dificulty"),
            "train.jsonl: line 1: no column 'dificulty'; did you mean 'difficulty'?",
        ),
        (
            "train.jsonl",
            ("--by", "difficulty-column", "--difficulty-column", "id"),
            "train.jsonl: line 1: 'id' is 'x0', not a number",
        ),
        ("train.jsonl", ("--by", "shuffled", "--shard", 0), "--shard: nothing is measured"),
        ("train.jsonl", ("--by", "angle", "--model", "model", "--shard", 2), "so 0 to 0"),
        (
            "train.jsonl",
            ("--by", "pass-rate", "--pass-rate-column", "difficulty"),
            "train.jsonl: line 2: 'difficulty' is 10.0, no share from 0 to 1",
        ),
        ("train.jsonl", ("--by", "shuffled", "--dataset", "d"), "--dataset and --order go with"),
        ("train.jsonl", (), "gainrl order needs --by"),
        (
            "train.jsonl",
            ("--by", "length", "--difficulty-column", "nope"),
            "--difficulty-column goes with --by difficulty-column",
        ),
        (
            "train.jsonl",
            ("--by", "length", "--pass-rate-column", "rate"),
            "--pass-rate-column goes with --by pass-rate, --drop-solved and --drop-impossible",
        ),
        ("train.jsonl", ("--by", "length", "--seed", 1), "--seed goes with --by shuffled and"),
        ("train.jsonl", ("--by", "length", "--shards", 2), "--shards goes with what a model"),
        (
            "train.jsonl",
            (
                "--by",
                "pass-rate",
                "--model",
                "m",
                "--vllm-python",
                "python3",
                "--engine",
                "transformers",
            ),
            "--vllm-python goes with --engine vllm",
        ),
        ("train.jsonl", ("--by", "length", "--split", "test"), "--split goes with a data set of"),
        ("train.jsonl", ("--by", "length", "--config", "main"), "--config goes with a data set"),
        ("train.jsonl", ("--by", "length", "--root", "results"), "--root goes with --preset"),
        *(
            (
                "train.jsonl",
                ("--by", "pass-rate", "--pass-rate-column", "rate", flag, value),
                f"{flag} goes with pass rates that a model measures",
            )
            for flag, value in (
                ("--answer-column", "answer"),
                ("--grader", "code"),
                ("--samples", 2),
                ("--temperature", 0.5),
                ("--max-response", 4),
                ("--engine", "vllm"),
                ("--vllm-python", "python"),
            )
        ),
    ],
)
def test_what_cannot_be_done_is_one_line_and_writes_nothing(ordered, source, flags, said):
    assert said in ordered(source, *flags, code=2)


def test_another_format_is_refused_and_so_is_a_file_beside_a_preset(folder, capsys):
    from gainrl import cli

    assert cli.main(["order", "train.jsonl", "--by", "shuffled", "--out", "o.parquet"]) == 2
    assert "train.jsonl is a .jsonl file, and so will its order be" in capsys.readouterr().err
    named = ["--preset", "p.yaml", "--model", "m", "--dataset", "d", "--order", "angle"]
    assert cli.main(["order", "train.jsonl", *named]) == 2
    assert "go without --preset" in capsys.readouterr().err
    assert cli.main(["order", "--preset", "p.yaml", "--model", "m"]) == 2
    assert "needs --dataset, --order too" in capsys.readouterr().err
    assert not (folder / "o.parquet").exists()


@pytest.mark.parametrize("option", [("--top", "5"), ("--shard", "0"), ("--drop-solved",)])
def test_a_files_options_beside_a_preset_are_refused(folder, capsys, option):
    from gainrl import cli

    named = ["--preset", "p.yaml", "--model", "m", "--dataset", "d", "--order", "angle"]
    assert cli.main(["order", *named, *option]) == 2
    assert f"FILE and its options ({option[0]}) go without --preset" in capsys.readouterr().err


@pytest.mark.parametrize("source", ["train.jsonl", "train.jsonl.gz"])
@pytest.mark.parametrize("out", ["ordered.jsonl", "ordered.jsonl.gz"])
def test_jsonl_may_be_packed_on_either_side(folder, source, out):
    import gzip

    from gainrl import cli

    lines = (folder / "train.jsonl").read_bytes()
    (folder / "train.jsonl.gz").write_bytes(gzip.compress(lines))
    assert cli.main(["order", source, "--by", "length", "--out", out]) == 0
    written = (folder / out).read_bytes()
    text = gzip.decompress(written) if out.endswith(".gz") else written
    found = [json.loads(line) for line in text.splitlines()]
    assert [row["gainrl_rank"] for row in found] == list(range(COUNT))
    assert sorted(row["id"] for row in found) == sorted(row["id"] for row in records())


@pytest.mark.parametrize("out", ["o.json.gz", "o.parquet.gz", "o.gz", "o"])
def test_only_jsonl_may_be_packed(folder, capsys, out):
    from gainrl import cli

    assert cli.main(["order", "train.jsonl", "--by", "length", "--out", out]) == 2
    assert "its name ends in none of .jsonl, .jsonl.gz, .json" in capsys.readouterr().err


# --- real files ----------------------------------------------------------------------------------


def test_gsm8k_as_verl_has_it_goes_through_and_loads_again(ordered, folder):
    source = Path(os.environ.get("GAINRL_DATA_DIR", "")) / "gsm8k_train.parquet"
    if not os.environ.get("GAINRL_DATA_DIR") or not source.exists():
        pytest.skip("GAINRL_DATA_DIR has no gsm8k_train.parquet")
    (folder / "gsm8k.parquet").symlink_to(source)
    said, found = ordered("gsm8k.parquet", "--by", "length", "--top", 100)
    assert "7473 rows, questions from 'prompt'" in said
    whole = {json.dumps(row["prompt"]): row for row in rows_of(source)}
    for row in found:
        assert {k: row[k] for k in row if k not in ADDED} == whole[json.dumps(row["prompt"])]
    import datasets

    out = str(folder / "ordered.parquet")
    again = datasets.load_dataset("parquet", data_files=out, cache_dir=str(folder / "cache"))
    assert again["train"]["gainrl_rank"][:3] == [0, 1, 2]
    assert again["train"][5]["reward_model"] == found[5]["reward_model"]


def test_half_of_a_surrogate_pair_comes_back_as_it_was(folder, capsys):
    row = {"question": "an emoji cut in half \ud83d ?", "answer": "caf\u00e9", "difficulty": 1}
    for name, text in (("a.jsonl", json.dumps(row) + "\n"), ("a.json", json.dumps([row]))):
        (folder / name).write_text(text)
        out = f"ordered-{name}"
        command = ["order", name, "--by", "difficulty-column", "--out", out]
        assert cli.main(command) == 0, capsys.readouterr().err
        (found,) = rows_of(folder / out)
        assert {key: found[key] for key in row} == row
        assert "caf\u00e9" in (folder / out).read_text(encoding="utf-8")
