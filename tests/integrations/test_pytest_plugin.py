"""The contract as tests of somebody's own pytest."""

import os
import subprocess
import sys

BROKEN = """
from gainrl.curricula import Sampler

class Broken(Sampler):
    def draw(self, count):
        return [0] * count
"""


def pytest_of(folder, *arguments):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    if "gainrl" not in _plugins():  # not installed anew since there is an entry point
        command += ["-p", "gainrl.integrations.pytest_plugin"]
    path = os.pathsep.join([str(folder), *filter(None, sys.path)])
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )


def _plugins():
    from importlib.metadata import entry_points

    return {each.name for each in entry_points(group="pytest11")}


def test_policies_of_the_command_line_and_of_the_configuration(tmp_path):
    (tmp_path / "pytest.ini").write_text("[pytest]\ngainrl_curricula =\n    uniform\n")
    (tmp_path / "test_own.py").write_text("def test_own():\n    pass\n")
    done = pytest_of(tmp_path, "--curriculum", '{"name": "mopps", "pool": 3}')
    assert done.returncode == 0, done.stdout + done.stderr
    assert "19 passed" in done.stdout
    without = pytest_of(tmp_path, "-o", "gainrl_curricula=")
    assert "1 passed" in without.stdout


def test_what_breaks_the_contract_fails_with_its_reason(tmp_path):
    (tmp_path / "own.py").write_text(BROKEN)
    (tmp_path / "test_own.py").write_text("def test_own():\n    pass\n")
    done = pytest_of(tmp_path, "--curriculum", "own:Broken")
    assert done.returncode == 1
    assert "own:Broken: " in done.stdout
    assert "check_draws" in done.stdout
