"""CPU arithmetic that is to give the same bits on processors of every make. No torch.

Libraries choose kernels by what a processor can do, and for some by who made it; another kernel
adds in another order, and a few thousand steps on, the start model is another one. What is asked
for here is what processors of both makes have had since 2015. The variables are read when a library
is loaded, so they have to be there before Python starts.
"""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from gainrl.errors import ConfigError

Arithmetic = Literal["native", "portable"]
PORTABLE: Mapping[str, str] = {
    # Of MKL's branches the one that it takes on all makes: on others than Intel's it puts AUTO in
    # the place of AVX2 (oneMKL Developer Guide, "Specifying Code Branches").
    "MKL_CBWR": "COMPATIBLE",
    "MKL_DYNAMIC": "FALSE",  # as many threads as are asked for, whatever the machine
    "OMP_DYNAMIC": "FALSE",
    "ATEN_CPU_CAPABILITY": "avx2",  # PyTorch's own kernels
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",  # NumPy's linear algebra
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
}
NEEDED = ("avx2", "fma")
"""Instructions that its kernels consist of, as Linux names them."""
CPUINFO = Path("/proc/cpuinfo")
"""Where Linux describes the processor."""


def variables(arithmetic: Arithmetic) -> Mapping[str, str]:
    """The environment that a process with some arithmetic has to start in."""
    return PORTABLE if arithmetic == "portable" else {}


def check(arithmetic: Arithmetic, cpuinfo: Path = CPUINFO) -> None:
    """Refuse a process whose arithmetic would be another one.

    Args:
        cpuinfo: where Linux describes the processor.

    Raises:
        ConfigError: a variable of the environment is missing or different, or the processor lacks
            an instruction set.
    """
    wanted = variables(arithmetic)
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        words = " ".join(f"{name}={shlex.quote(value)}" for name, value in wanted.items())
        raise ConfigError(
            "arithmetic: portable is decided before Python starts; snakemake does it, by hand: "
            f"export {words}"
        )
    if wanted and (lacking := sorted({*NEEDED} - flags(cpuinfo))):
        raise ConfigError(f"arithmetic: portable needs a processor with {', '.join(lacking)}")


def flags(cpuinfo: Path = CPUINFO) -> set[str]:
    """What the processor can do, as Linux says it; empty where there is no such file."""
    return set(_described(cpuinfo).get("flags", "").split())


def processor(cpuinfo: Path = CPUINFO) -> str:
    """Make, family, model and vector instructions: on equal ones native arithmetic is the same.

    Returns:
        "AuthenticAMD, family 25, model 1 (AMD EPYC): avx avx2 fma", say; where Linux describes no
        processor of these, what Python knows of it, which may be nothing.
    """
    said = _described(cpuinfo)
    if "vendor_id" not in said:
        return platform.processor()
    wide = sorted(flag for flag in flags(cpuinfo) if flag.startswith(("avx", "fma", "amx")))
    family, model, name = (said.get(key, "?") for key in ("cpu family", "model", "model name"))
    return f"{said['vendor_id']}, family {family}, model {model} ({name}): {' '.join(wide)}"


def _described(cpuinfo: Path) -> dict[str, str]:
    """The first processor's lines."""
    text = cpuinfo.read_text(encoding="utf-8") if cpuinfo.is_file() else ""
    pairs = (line.split(":", 1) for line in text.partition("\n\n")[0].splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}
