"""A nano model, and files of questions as trainers have them."""

import json

import pandas as pd
import pytest
from ordered_files import records, rows_of

from gainrl import cli
from gainrl.config.models import Nano
from gainrl.models.nano import build_model, build_tokenizer


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """The folder of a model that was never trained."""
    folder = tmp_path_factory.mktemp("start") / "model"
    tokenizer = build_tokenizer()
    spec = Nano(source="nano", hidden=32, layers=1, heads=2, feed_forward=64)
    build_model(spec, len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(tmp_path, model, monkeypatch):
    """The working folder, with `model` and the same rows in every format."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").symlink_to(model)
    rows = records()
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (tmp_path / "train.jsonl").write_text(lines, encoding="utf-8")
    (tmp_path / "train.json").write_text(json.dumps(rows), encoding="utf-8")
    pd.DataFrame(rows).to_parquet(tmp_path / "train.parquet")
    return tmp_path


@pytest.fixture
def ordered(folder, capsys):
    """Run the command on a file; what it printed, and the rows that it wrote."""

    def run(source, *arguments, code=0):
        out = folder / f"ordered{(folder / source).suffix}"
        out.unlink(missing_ok=True)
        given = ["order", source, *map(str, arguments), "--out", out.name]
        assert cli.main(given) == code, capsys.readouterr().err
        said = capsys.readouterr()
        if code:
            assert not out.exists()
            (line,) = said.err.splitlines()
            return line.removeprefix("gainrl: ")
        return said.out, rows_of(out)

    return run
