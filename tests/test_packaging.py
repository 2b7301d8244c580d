"""The package as people install it: built, installed alone, and what each extra is for."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCES = ("src", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in")
MOST = 3
"""Times what numpy and pydantic take to import (0.15 s), so that a busy machine changes nothing."""


OTHER_SEED = "one,1,0,0.2\none,1,1,0.25\ntwo,1,0,0.2\ntwo,1,1,0.45\n"
CURVES = "method,seed,step,accuracy\none,0,0,0.2\none,0,1,0.3\ntwo,0,0,0.2\ntwo,0,1,0.4\n"


class Environment:
    """A virtual environment without pip; this one's pip installs into it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        python(sys.executable, "-m", "venv", "--without-pip", folder)

    def install(self, *packages: str | Path) -> None:
        """Install packages with what they require."""
        pip = (sys.executable, "-m", "pip", "--python", self.folder / "bin" / "python")
        python(*pip, "install", "--quiet", "--no-compile", *packages)

    def run(self, code: str, **more: object) -> subprocess.CompletedProcess[str]:
        """Run Python code in a folder that has no gainrl."""
        return python(self.folder / "bin" / "python", "-c", code, cwd=self.folder, **more)

    def gainrl(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run the command line, which may fail."""
        command = self.folder / "bin" / "gainrl"
        return python(command, *arguments, cwd=self.folder, check=False)


def python(*command: object, **more: object) -> subprocess.CompletedProcess[str]:
    """Run a command without this process's import paths; its output is kept as text."""
    environment = {key: text for key, text in os.environ.items() if key != "PYTHONPATH"}
    settings = {"check": True, "capture_output": True, "text": True, "env": environment, **more}
    return subprocess.run(list(map(str, command)), **settings)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with the source distribution and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("build")
    for name in SOURCES:
        here, there = REPOSITORY / name, folder / "source" / name
        if here.is_dir():
            hidden = shutil.ignore_patterns("*.egg-info", "__pycache__")
            shutil.copytree(here, there, ignore=hidden)
        else:
            shutil.copy(here, there)
    tools = Environment(folder / "tools")
    tools.install("build", "setuptools>=77")
    arguments = ["--no-isolation", "--outdir", str(folder / "dist"), str(folder / "source")]
    tools.run(f"from build.__main__ import main; main({arguments})")
    return folder / "dist"


@pytest.fixture(scope="module")
def bare(built, tmp_path_factory) -> Environment:
    """An environment in which the wheel was installed, and nothing else was asked for."""
    environment = Environment(tmp_path_factory.mktemp("bare") / "venv")
    (wheel,) = built.glob("*.whl")
    environment.install(wheel)
    return environment


def test_the_core_brings_no_library_for_models_or_the_pipeline(bare):
    listed = "from importlib.metadata import distributions as d; print(*(x.name for x in d()))"
    names = set(bare.run(listed).stdout.lower().split())
    assert {"gainrl", "numpy", "pydantic", "latex2sympy2_extended"} <= names
    absent = {"torch", "transformers", "pandas", "pyarrow", "mlflow", "snakemake", "matplotlib"}
    assert not names & absent
    assert len(names) < 15, names


PIECES = pytest.mark.parametrize(
    ("module", "use"),
    [
        (
            "gainrl.curricula",
            "policy = m.build('mopps', m.Setting(size=40, batch=8, seed=0))\n"
            "rows = policy.draw(m.Groups.none(), None).rows\n"
            "assert len(set(rows.tolist())) == 8",
        ),
        (
            "gainrl.signals",
            "import numpy as np\n"
            "found = m.angles_of_states([np.eye(3), np.ones((4, 3))], n_prefix=1)\n"
            "assert abs(found.combined()[1] - 2) < 1e-12",
        ),
        (
            "gainrl.grading",
            "assert m.grade('so \\\\boxed{(x+1)^2}', 'x^2 + 2 x + 1').correct\n"
            "assert m.verifiers_reward('so \\\\boxed{2}', '3') == 0.0",
        ),
        (
            "gainrl.compare",
            "points = [m.Point(name, seed, '', step, None, seed / 9 + step * rise, 'here')\n"
            "    for name, rise in (('one', .1), ('two', .2)) for seed in (0, 1)\n"
            "    for step in (0, 1, 2)]\n"
            "text = m.markdown(m.blocks(m.summarise(m.curves_of(points), 'one')))\n"
            "assert '- two: supported' in text",
        ),
    ],
)


@PIECES
def test_a_public_piece_works_alone_and_imports_nothing_heavy(bare, module, use):
    heavy = "{'torch', 'pandas', 'sympy', 'matplotlib', 'yaml'}"
    imported = f"import sys, {module} as m\nassert not {heavy} & set(sys.modules)\n"
    bare.run(imported + use)


@PIECES
def test_a_public_piece_is_imported_at_once(bare, module, use):
    def seconds(modules):
        code = f"import time; t = time.process_time(); import {modules}; "
        return float(bare.run(code + "print(time.process_time() - t)").stdout)

    seconds(module)  # compiles
    measured = [(seconds(module), seconds("numpy, pydantic")) for _ in range(3)]
    assert min(ours / theirs for ours, theirs in measured) < MOST, measured


def test_the_version_is_one(bare, built):
    version = bare.run("import gainrl; print(gainrl.__version__)").stdout.strip()
    assert bare.gainrl("--version").stdout == f"gainrl {version}\n"
    assert {path.name for path in built.iterdir()} == {
        f"gainrl-{version}.tar.gz",
        f"gainrl-{version}-py3-none-any.whl",
    }


def test_types_and_metadata_are_in_the_package(bare):
    code = (
        "from importlib import metadata, resources\n"
        "assert resources.files('gainrl').joinpath('py.typed').is_file()\n"
        "found = metadata.metadata('gainrl')\n"
        "print(found['License-Expression'], found['Requires-Python'], found['Summary'], sep='|')\n"
        "print(*found.get_all('Provides-Extra'))\n"
        "print(*found.get_all('Classifier'), sep='|')\n"
    )
    first, extras, classifiers = bare.run(code).stdout.splitlines()
    assert first.startswith("Apache-2.0|>=3.11|Which data curriculum")
    assert {"score", "pipeline", "verl", "trl", "slurm", "gym", "code"} <= set(extras.split())
    assert "Typing :: Typed" in classifiers


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (("check", "--preset", "config.yaml"), "pipeline"),
        (("report", "--preset", "config.yaml", "--out", "report.html"), "pipeline"),
        (("doctor",), "pipeline"),
        (("tracking", "init", "--preset", "config.yaml"), "pipeline"),
        (("compare", "curves.csv", "--smoothing", "1", "--figure", "all.png"), "plot"),
        (("compare", "--mlflow", "mine"), "pipeline"),
        (("power", "--preset", "config.yaml"), "pipeline"),
        (("order", "rows.jsonl", "--by", "length", "--out", "ordered.jsonl"), "score"),
    ],
)
def test_a_command_whose_libraries_are_missing_says_in_one_line_what_to_install(
    bare, arguments, extra
):
    (bare.folder / "curves.csv").write_text(CURVES)
    done = bare.gainrl(*arguments)
    (line,) = done.stderr.splitlines()
    assert line.startswith("gainrl: ")
    assert line.endswith(f" is not installed: pip install 'gainrl[{extra}]'")
    assert done.returncode == 2
    assert done.stdout == ""


def test_curves_are_compared_without_any_extra(bare):
    (bare.folder / "curves.csv").write_text(CURVES)
    done = bare.gainrl("compare", "curves.csv", "--smoothing", "1", "--out", "comparison")
    assert done.returncode == 0, done.stderr
    assert "2 methods, 1 seed each" in done.stdout
    assert (bare.folder / "comparison.tex").read_text().startswith("% A fragment")


def test_sizes_of_a_study_follow_from_curves_without_any_extra(bare):
    (bare.folder / "curves.csv").write_text(CURVES + OTHER_SEED)
    done = bare.gainrl("power", "curves.csv")
    assert done.returncode == 0, done.stderr
    assert "Smallest difference decided with 80% power" in done.stdout


def test_a_piece_that_runs_models_says_in_one_line_what_to_install(bare):
    code = "from gainrl import signals\ntry:\n    signals.score\nexcept ImportError as error:\n    "
    said = bare.run(code + "print(error)").stdout
    assert re.fullmatch(r"\w+ is not installed: pip install 'gainrl\[score\]'\n", said)


def test_a_module_that_no_extra_brings_is_no_matter_of_extras(bare):
    code = (
        "from gainrl import extras\n"
        "try:\n"
        "    with extras.wanted('score'):\n"
        "        import nonexistent\n"
        "except ModuleNotFoundError as error:\n"
        "    print(type(error).__name__, extras.extras_with('torch'), extras.extras_with('yaml'))\n"
    )
    assert bare.run(code).stdout.strip() == (
        "ModuleNotFoundError ['score', 'pipeline'] ['score', 'pipeline']"
    )


ELSEWHERE = {"verl", "trl", "gym"}
"""Extras that are no part of this environment: the first two have environments of their own."""


def test_the_pinned_list_has_what_every_extra_requires():
    pinned = dict(
        line.split("==")
        for line in (REPOSITORY / "envs" / "local.txt").read_text().splitlines()
        if line and line[0] not in "#-"
    )
    versions = {canonicalize_name(name): version for name, version in pinned.items()}
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert {*extras} >= ELSEWHERE
    lists = [project["dependencies"], *(extras[name] for name in {*extras} - ELSEWHERE)]
    for required in map(Requirement, (each for found in lists for each in found)):
        if required.name != "gainrl":
            assert versions[canonicalize_name(required.name)] in required.specifier, required


def test_the_core_leaves_antlr_to_others():
    """verl's hydra pins antlr4 4.9, which each other extra of latex2sympy2_extended excludes."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    required = {each.name: each for each in map(Requirement, project["dependencies"])}
    assert required["latex2sympy2_extended"].extras == set()
    assert set(required) == {"latex2sympy2_extended", "numpy", "pydantic"}
