"""Data sets and models of the hub by their ids."""

import pytest
from hubs import gainrl, refusing_hub
from ordered_files import COUNT, records, rows_of

from gainrl import cli
from gainrl.data.reading import numbered


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_a_data_set_of_the_hub_is_written_in_the_format_that_is_asked_for(
    folder, monkeypatch, suffix
):
    asked = []

    def given(place):
        asked.append((place.id, place.config, place.split))
        return numbered(place, records())

    monkeypatch.setattr("gainrl.ordering.table.read_hub", given)  # there is no hub here
    named = ["acme/sums", "--split", "test", "--config", "main"]
    out = f"ordered{suffix}"
    assert cli.main(["order", *named, "--by", "shuffled", "--out", out]) == 0
    assert asked == [("acme/sums", "main", "test")]
    found = rows_of(folder / out)
    assert len(found) == COUNT
    assert {row["id"] for row in found} == {row["id"] for row in records()}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("acme/none", "--by", "shuffled"),
            "cannot read from the hub: Dataset 'acme/none' doesn't exist",
        ),
        (
            ("train.jsonl", "--by", "angle", "--model", "acme/none"),
            "hub model 'acme/none' (main): there is none that may be read",
        ),
    ],
)
def test_what_the_hub_does_not_give_is_one_line(folder, tmp_path, arguments, said):
    with refusing_hub() as endpoint:
        done = gainrl(
            tmp_path / "home", endpoint, "order", *arguments, "--out", "o.jsonl",
        )  # fmt: skip
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]
    assert not (folder / "o.jsonl").exists()
