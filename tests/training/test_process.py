"""What training asks of the machine."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import numpy as np
from openpfn.training.process import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def step():
    arrays = [np.ones(2_000_000) for _ in range(12)]     # 16 MB each
for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode: str) -> int:
    return int(
        subprocess.run(
            [sys.executable, "-c", FAULTS, mode], capture_output=True, text=True, check=True
        ).stdout
    )


@pytest.mark.slow
def test_memory_that_a_step_frees_serves_the_next_without_page_faults():
    kept = faults("keep")
    if platform.libc_ver()[0] == "glibc":
        assert kept < 100 < 10_000 < faults("give back")
