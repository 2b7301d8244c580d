"""Optional packages that are left out when a library is imported."""

import gc
import subprocess
import sys

import pytest

from gainrl.models.imports import hidden, uncollected


def test_a_hidden_package_cannot_be_imported_in_the_block_only(tmp_path, monkeypatch):
    (tmp_path / "gainrl_optional.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with hidden("gainrl_optional"), pytest.raises(ModuleNotFoundError):
        import gainrl_optional
    import gainrl_optional

    with hidden("gainrl_optional"):  # whoever has it keeps it
        assert sys.modules["gainrl_optional"] is gainrl_optional
    assert sys.modules.pop("gainrl_optional") is gainrl_optional


def test_training_takes_no_scipy_along():
    code = (
        "import sys; import gainrl.stages.train_local;"
        "assert not {'scipy', 'sklearn'} & set(sys.modules);"
        "import scipy, sklearn.metrics"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("enabled", [True, False])
def test_collection_goes_on_as_it_was_and_without_what_was_made(enabled):
    if not enabled:
        gc.disable()
    try:
        before = gc.get_freeze_count()
        with uncollected():
            assert not gc.isenabled()
            made = [[] for _ in range(100)]
        assert gc.isenabled() == enabled
        assert gc.get_freeze_count() >= before + len(made)
    finally:
        gc.unfreeze()
        gc.enable()
