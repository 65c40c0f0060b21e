"""Memory in use is told in bytes that were asked for, and limited where a limit is set."""

from __future__ import annotations

import subprocess
import sys

import pytest

from openpfn.memory import peak_memory_mb


@pytest.mark.slow
def test_peak_memory_grows_with_what_is_held():
    before = peak_memory_mb()
    held = bytearray(b"x" * 300_000_000)
    assert peak_memory_mb() >= before
    assert peak_memory_mb() > len(held) / 1e6


def test_the_growth_is_that_of_the_block_alone():
    code = """
from mmap import mmap
from openpfn.memory import memory_growth
with memory_growth() as first:
    held = mmap(-1, 2**26)
    held.write(bytes(2**20) * 64)
held.close()
with memory_growth() as second:
    pass
print(*first, *second)
"""
    # a fresh process: this one may use again what an earlier test has freed
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, second = map(float, done.stdout.split())
    assert first == pytest.approx(128, abs=16)
    assert second < 16


def test_a_limit_ends_an_allocation_beyond_it():
    code = "from openpfn.memory import limit_memory; limit_memory(1.0); bytearray(2**31)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip().endswith("MemoryError")
