"""The commands of docs/order.md, each as it is written."""

import re
import shlex
from pathlib import Path

import pytest
from ordered_files import COUNT, rows_of

from gainrl import cli

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "order.md"
BLOCKS = re.findall(r"```sh\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_the_commands_of_the_document_write_their_order(folder, block, capsys):
    place = folder / "Qwen" / "Qwen2.5-0.5B-Instruct"
    place.parent.mkdir()
    (folder / "model").rename(place)
    for line in block.replace(" &\n", "\n").replace("wait\n", "").splitlines():
        name, *arguments = shlex.split(line)
        assert name == "gainrl"
        if "--drop-impossible" in arguments:  # all of an untrained model's answers are wrong
            assert cli.main([*arguments, "--samples", "2", "--max-response", "4"]) == 2
            assert f"no row is left ({COUNT} never solved" in capsys.readouterr().err
            return
        assert cli.main(arguments) == 0
    assert "rank correlation of the order with the length" in capsys.readouterr().out
    (out,) = folder.glob("ordered.*")
    assert len(rows_of(out)) == COUNT
