"""A results folder of the report's preset, and the preset with verdicts beside it."""

import pytest
from report_files import CLAIMS, PRESET, claiming, write_results


@pytest.fixture
def results(tmp_path, capsys):
    write_results(tmp_path)
    return tmp_path


@pytest.fixture
def claimed(results):
    (results / "nano/claims.csv").write_text(CLAIMS)
    return claiming(PRESET)
