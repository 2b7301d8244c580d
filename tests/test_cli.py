"""The command line: what starting it imports, and that every declared function is there."""

import inspect
import re
import shlex
import subprocess
import sys

import pytest

from gainrl import cli
from gainrl.commands import imported

HEAVY = {"torch", "transformers", "pandas", "pyarrow", "mlflow", "matplotlib", "sympy", "scipy"}


def loaded(*arguments):
    """The heavy libraries that a call of the command line imports, in a process of its own."""
    code = f"import sys\nfrom gainrl import cli\ntry:\n    cli.main({list(arguments)!r})\n"
    code += "except SystemExit:\n    pass\nprint('imports', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_planning_imports_nothing_heavy():
    found = loaded("check", "--preset", "config.yaml")
    assert "gainrl.plan" in found
    assert not found & HEAVY
    assert not loaded("--help") & {*HEAVY, "numpy", "pydantic", "gainrl.plan"}


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        (("stages.orders", "stages.data"), HEAVY - {"pandas", "pyarrow"}),
        (("tables.make",), HEAVY - {"pandas", "pyarrow"}),
    ],
)
def test_small_stages_import_no_more_than_tables(modules, absent):
    lines = [f"import gainrl.{module}" for module in modules]
    code = "\n".join(["import sys", *lines, "print(*sys.modules)"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & absent


@pytest.mark.parametrize("command", cli.COMMANDS, ids=lambda command: command.name)
def test_a_command_and_its_function_agree(command):
    function = command.function
    function = imported(function) if isinstance(function, str) else function
    wanted = inspect.signature(function).parameters.values()
    given = len(command.options) + command.preset
    rest = [each for each in wanted if each.kind is inspect.Parameter.VAR_POSITIONAL]
    assert len(wanted) - len(rest) < given if rest else len(wanted) == given


def test_names_are_there_once():
    names = [command.name for command in cli.COMMANDS]
    assert len(names) == len(set(names))


def test_the_help_has_every_command_once_in_its_group(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    text = capsys.readouterr().out
    own, _, rest = text.partition("with your own files:")[2].partition("with a preset:")
    preset, _, jobs = rest.partition("jobs of the pipeline, which Snakemake calls:")
    lists = [[line.split()[0] for line in part.splitlines() if line.startswith("  ")]
             for part in (own, preset, jobs)]  # fmt: skip
    assert lists[:2] == [list(names) for names in cli.GROUPS.values()]
    shown = [name for names in lists for name in names]
    assert sorted(shown) == sorted(command.name for command in cli.COMMANDS)
    assert "compare methods by the learning curves" in own


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["order", "--bad"], "unrecognized arguments: --bad (gainrl --help)"),
        (["order", "--top", "x"], "argument --top: invalid int value: 'x' (gainrl order --help)"),
        (["ordr"], "argument COMMAND: invalid choice: 'ordr'"),
        ([], "the following arguments are required: COMMAND (gainrl --help)"),
    ],
)
def test_what_is_no_call_is_one_line(arguments, said, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1


@pytest.mark.parametrize("root", [(), ("--root", "some place")])
def test_without_a_store_the_command_that_makes_it_is_one_that_runs(
    tmp_path, monkeypatch, capsys, root
):
    preset = tmp_path / "own.yaml"
    text = "preset: own\nseeds: [0]\nmodels: {nano: {source: nano}}\ndatasets: {}\n"
    preset.write_text(text)
    monkeypatch.chdir(tmp_path)
    options = ["--preset", str(preset), *root]
    assert cli.main(["tracking", "check", *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    found = re.search(r"run '(gainrl tracking init --preset .*)' first$", line)
    assert shlex.split(found[1]) == ["gainrl", "tracking", "init", *options]
