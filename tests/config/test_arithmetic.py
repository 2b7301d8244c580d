"""Portable arithmetic: refused where the process has another one, in no hash where it is native."""

from __future__ import annotations

import platform

import pytest
import yaml
from presets import BASE, REPOSITORY, error_of

from gainrl import cli, plan
from gainrl.config import arithmetic
from gainrl.errors import ConfigError
from gainrl.plan import fingerprints

CPUINFO = "processor\t: 0\nvendor_id\t: AnyMake\nflags\t\t: fpu sse2 {}\n\nprocessor\t: 1\n"


@pytest.fixture
def portable(monkeypatch):
    for name, value in arithmetic.PORTABLE.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def cpuinfo(tmp_path):
    def write(flags):
        (tmp_path / "cpuinfo").write_text(CPUINFO.format(flags))
        return tmp_path / "cpuinfo"

    return write


def test_native_arithmetic_asks_for_nothing(tmp_path):
    assert arithmetic.variables("native") == {}
    arithmetic.check("native", tmp_path / "no such file")


def test_portable_arithmetic_is_there_before_python_starts(portable, monkeypatch, cpuinfo):
    arithmetic.check("portable", cpuinfo("avx2 fma avx512f"))
    monkeypatch.setenv("MKL_CBWR", "AVX2")
    with pytest.raises(ConfigError, match=r"before Python starts.*export MKL_CBWR=COMPATIBLE "):
        arithmetic.check("portable", cpuinfo("avx2 fma"))


@pytest.mark.parametrize(
    ("flags", "lacking"), [("fma", "avx2"), ("avx2", "fma"), ("", "avx2, fma")]
)
def test_a_processor_without_its_instructions_is_refused(portable, cpuinfo, flags, lacking):
    with pytest.raises(ConfigError, match=f"needs a processor with {lacking}$"):
        arithmetic.check("portable", cpuinfo(flags))


def test_a_machine_that_is_not_linux_is_refused(portable, tmp_path):
    with pytest.raises(ConfigError, match="needs a processor with avx2, fma"):
        arithmetic.check("portable", tmp_path / "no such file")


def test_a_processor_is_named_by_what_its_arithmetic_goes_by(cpuinfo, tmp_path):
    path = cpuinfo("fma avx avx512f avx2 avx512f")
    text = path.read_text().replace(
        "AnyMake\n", "AnyMake\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: Any: 9\n", 1
    )
    path.write_text(text)
    said = "AnyMake, family 25, model 17 (Any: 9): avx avx2 avx512f fma"
    assert arithmetic.processor(path) == said
    assert arithmetic.processor(tmp_path / "no such file") == platform.processor()


@pytest.mark.parametrize(
    "sliced",
    [
        lambda preset: fingerprints.model_slice(preset, "nano"),
        lambda preset: fingerprints.score_slice(preset, "nano", "chain"),
        lambda preset: fingerprints.evaluation_slice(preset, "nano", "chain"),
        lambda preset: fingerprints.run_slice(preset, "nano", "chain", "grpo"),
    ],
    ids=["model", "score", "evaluation", "run"],
)
def test_another_arithmetic_is_another_result_and_native_is_in_no_hash(sliced):
    native, said, portable = (
        sliced(plan.load({**BASE, **more}))
        for more in ({}, {"arithmetic": "native"}, {"arithmetic": "portable"})
    )
    assert said == native
    assert "arithmetic" not in native
    assert portable.pop("arithmetic") == "portable"
    portable["benchmarks"] = native.get("benchmarks")  # these have it too
    assert portable == {"benchmarks": None, **native}


def test_the_command_line_says_in_one_line_what_to_export(tmp_path, monkeypatch, capsys):
    for name in arithmetic.PORTABLE:
        monkeypatch.delenv(name, raising=False)
    data = yaml.safe_load((REPOSITORY / "experiments/tiny.yaml").read_text())
    (tmp_path / "p.yaml").write_text(yaml.safe_dump({**data, "arithmetic": "portable"}))
    call = ["data", "--preset", str(tmp_path / "p.yaml"), "--root", str(tmp_path / "results")]
    assert cli.main([*call, "--dataset", "chain"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "NPY_DISABLE_CPU_FEATURES='X86_V4 AVX512_ICL AVX512_SPR'" in said
    assert not (tmp_path / "results").exists()


def test_it_is_of_cpus():
    data = {**BASE, "arithmetic": "portable", "training": {**BASE["training"], "backend": "verl"}}
    assert "arithmetic: 'portable' is of CPUs, and nano/chain/grpo is trained on verl" in error_of(
        data
    )
