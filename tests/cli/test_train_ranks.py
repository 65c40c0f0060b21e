"""Laws of `openpfn train` under torchrun: two processes train the network that one does, in stages
too, and a killed one ends the run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from openpfn import checkpoint

pytestmark = pytest.mark.slow
NETWORK = "--preset micro --model.d-model 8 --model.n-heads 2 --model.n-layers 2 --model.d-mlp 8"
TASKS = "--prior scm_mlp --tasks.max-features 3 --tasks.max-seq-len 16 --tasks.no-learnable"
TRAINING = "--batch-size 4 --num-steps 20 --log-every 1 --n-workers 0 --optimizer muon --device cpu"
OPTIONS = [*NETWORK.split(), *TASKS.split(), *TRAINING.split()]
PLAN = """
preset = "micro"
prior = "scm_mlp"
[training]
batch_size = 4
log_every = 1
n_workers = 0
device = "cpu"
[tasks]
max_features = 3
max_seq_len = 16
learnable = false
max_classes = 2
[[stages]]
name = "short"
num_steps = 3
[[stages]]
name = "long"
num_steps = 2
replay = 0.5
"""


def started(*arguments, ranks: int | None = None) -> subprocess.Popen[str]:
    """`openpfn train` with these arguments, by itself or by torchrun with so many ranks."""
    torchrun = ["torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", "-m"]
    return subprocess.Popen(
        [sys.executable, "-m", *([] if ranks is None else torchrun), "openpfn", "train"]
        + [str(argument) for argument in arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def finished(*arguments, ranks: int | None = None) -> str:
    process = started(*arguments, ranks=ranks)
    output = process.communicate(timeout=240)[0]
    assert process.returncode == 0, output
    return output


def losses(folder) -> list[float]:
    return pd.read_csv(folder / "history.csv")["loss"].tolist()


def test_two_ranks_train_as_one_process_does(tmp_path):
    finished(*OPTIONS, "--out", tmp_path / "one")
    told = finished(*OPTIONS, "--out", tmp_path / "two", ranks=2)
    assert told.count("trained 20 steps on 80 tasks") == 1
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=1e-5)
    assert set(pd.read_csv(tmp_path / "two" / "ranks.csv")["rank"]) == {0, 1}


def test_a_plan_is_trained_by_ranks_and_resumed_by_one(tmp_path):
    (tmp_path / "plan.toml").write_text(PLAN)
    finished("--plan", tmp_path / "plan.toml", "--out", tmp_path / "run", ranks=2)
    stages = [tmp_path / "run" / name for name in ("1-short", "2-long")]
    assert [checkpoint.read_header(stage).provenance["step"] for stage in stages] == [3, 2]
    (tmp_path / "plan.toml").write_text(PLAN.replace("num_steps = 2", "num_steps = 4"))
    finished("--plan", tmp_path / "plan.toml", "--out", tmp_path / "run", "--resume")
    provenance = checkpoint.read_header(stages[1]).provenance
    assert provenance["step"] == 4
    assert [stretch.get("ranks", 1) for stretch in provenance["stretches"]] == [2, 1]


def test_a_killed_rank_ends_the_run_which_goes_on_with_none_lost(tmp_path):
    run = tmp_path / "run"
    options = [*OPTIONS, "--num-steps", "3000", "--save-every", "20", "--log-every", "20"]
    process = started(*options, "--out", run, ranks=2)
    while not (run / "latest.safetensors").exists() and process.poll() is None:
        time.sleep(0.05)
    victims = subprocess.run(
        ["pgrep", "--parent", str(process.pid)], capture_output=True, text=True, check=True
    ).stdout.split()
    os.kill(int(victims[-1]), signal.SIGKILL)
    output = process.communicate(timeout=120)[0]
    assert process.returncode != 0, output
    step = checkpoint.read_header(run).provenance["step"]
    assert 0 < step < 3000
    finished("--resume", "--out", run, "--num-steps", step + 10)
    provenance = checkpoint.read_header(run).provenance
    assert provenance["step"] == step + 10
    assert provenance["tasks"] == 4 * (step + 10)
    assert checkpoint.load_training_state(run).counters["position"] == step + 10
