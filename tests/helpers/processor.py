"""The processor that tests run on."""

from __future__ import annotations

from pathlib import Path

from gainrl.config import arithmetic


def processor() -> str:
    """Make, family, model and vector instructions."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    said = dict(line.replace("\t", "").split(":", 1) for line in lines if ":" in line)
    named = [
        said.get(key, "?").strip() for key in ("vendor_id", "cpu family", "model", "model name")
    ]
    wide = sorted(flag for flag in arithmetic.flags() if flag.startswith(("avx", "fma", "amx")))
    return f"{named[0]}, family {named[1]}, model {named[2]} ({named[3]}): {' '.join(wide)}"
