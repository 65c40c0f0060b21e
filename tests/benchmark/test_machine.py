"""Memory in use is told in bytes that were asked for, and limited where a limit is set."""

from __future__ import annotations

import subprocess
import sys

import pytest

from openpfn.benchmark.machine import memory_growth, peak_memory_mb


def test_peak_memory_grows_with_what_is_held():
    before = peak_memory_mb()
    held = bytearray(b"x" * 300_000_000)
    assert peak_memory_mb() >= before
    assert peak_memory_mb() > len(held) / 1e6


def test_the_growth_is_that_of_the_block_alone():
    with memory_growth() as first:
        held = bytearray(b"x" * 2**26)
    del held
    with memory_growth() as second:
        pass
    assert first[0] == pytest.approx(64, abs=16)
    assert second[0] < 16


def test_a_limit_ends_an_allocation_beyond_it():
    code = "from openpfn.benchmark.machine import limit_memory; limit_memory(1.0); bytearray(2**31)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip().endswith("MemoryError")
