"""What the machine offers: dtypes, token budgets, memory that is kept."""

import json
import platform
import resource

import pytest
import torch

from gainrl.models.resources import CPU_BYTES, keep_freed_memory, scoring_dtype, token_budget


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc only")
def test_freed_memory_is_used_again():
    keep_freed_memory()
    size = 40 << 20  # so much comes from the system otherwise, each time
    assert len(b"x" * size) == size
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(3):
        assert len(b"x" * size) == size
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    assert faults * resource.getpagesize() < size


WITHOUT_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="about machines without a GPU")


def folder_of(path, hidden):
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps({"model_type": "llama", "hidden_size": hidden}))
    return path


@pytest.mark.parametrize("hidden", [32, 4096])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_dtype_that_is_set_wins(tmp_path, dtype, hidden):
    assert scoring_dtype(dtype, folder_of(tmp_path, hidden)) == dtype


@WITHOUT_GPU
@pytest.mark.parametrize("features", [None, {}, {"avx512_bf16": True}, {"amx_bf16": True}])
def test_only_large_models_on_a_cpu_that_multiplies_bf16_are_scored_in_it(
    tmp_path, monkeypatch, features
):
    """None: the machine that runs this test."""
    if features is not None:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features)
    able = torch.cpu.get_capabilities()
    fast = bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    for hidden in (512, 4096):
        found = scoring_dtype("auto", folder_of(tmp_path, hidden))
        assert found == ("bfloat16" if fast else "float32")
    for hidden in (32, 480):
        assert scoring_dtype("auto", folder_of(tmp_path, hidden)) == "float32"


@WITHOUT_GPU
def test_the_token_budget_is_the_setting_or_that_of_a_cpu():
    network = torch.nn.Linear(2, 2)
    assert token_budget(7, network) == 7
    assert token_budget("auto", network) == CPU_BYTES // 4
