"""Memory that a process keeps for its next tensors."""

import platform
import resource

import pytest

from gainrl.models.resources import keep_freed_memory


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
