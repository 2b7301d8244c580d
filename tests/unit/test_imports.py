"""Optional packages that are left out when a library is imported."""

import subprocess
import sys

import pytest

from gainrl.models.imports import hidden


def test_a_hidden_package_cannot_be_imported_in_the_block_only(tmp_path, monkeypatch):
    (tmp_path / "gainrl_optional.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with hidden("gainrl_optional"), pytest.raises(ModuleNotFoundError):
        import gainrl_optional
    import gainrl_optional

    with hidden("gainrl_optional"):  # whoever has it keeps it
        assert sys.modules["gainrl_optional"] is gainrl_optional
    assert sys.modules.pop("gainrl_optional") is gainrl_optional


def test_loading_models_takes_no_scipy_along():
    code = (
        "import sys; import gainrl.models.loading;"
        "assert not {'scipy', 'sklearn'} & set(sys.modules);"
        "import scipy, sklearn.metrics"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
