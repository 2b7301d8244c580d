"""CPU arithmetic that is to give the same bits on processors of every make. No torch.

Libraries choose kernels by what a processor can do, and for some by who made it; another kernel
adds in another order, and a few thousand steps on, the start model is another one. What is asked
for here is what processors of both makes have had since 2015. The variables are read when a library
is loaded, so they have to be there before Python starts.
"""

from __future__ import annotations

import os
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


def variables(arithmetic: Arithmetic) -> Mapping[str, str]:
    """The environment that a process with some arithmetic has to start in."""
    return PORTABLE if arithmetic == "portable" else {}


def check(arithmetic: Arithmetic, cpuinfo: Path = Path("/proc/cpuinfo")) -> None:
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


def flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> set[str]:
    """What the processor can do, as Linux says it; empty where there is no such file."""
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    found = next((line for line in lines if line.startswith("flags")), "")
    return set(found.partition(":")[2].split())
