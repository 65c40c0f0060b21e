"""What training asks of the machine."""

import os
import platform
import subprocess
import sys

import pytest
from toy_training import ToyNetwork, ToyPrior

from openpfn.configs import TrainingConfig
from openpfn.training import train

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


def test_a_run_sweeps_what_a_killed_one_left_in_its_folder(tmp_path):
    process = os.fork()
    if process == 0:
        os._exit(0)
    os.waitpid(process, 0)
    for ending in ("part", "link"):
        (tmp_path / f".latest.safetensors.{process}.{ending}").write_bytes(b"half")
    settings = TrainingConfig(num_steps=1, batch_size=2, n_workers=0, checkpoint_dir=str(tmp_path))
    train(ToyPrior(), ToyNetwork(), settings)
    assert {path.name for path in tmp_path.iterdir()} == {
        "latest.safetensors",
        "history.csv",
        ".lock",
    }
