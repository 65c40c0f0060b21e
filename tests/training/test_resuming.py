"""A run that was killed, stopped or moved continues as if nothing had happened."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from toy_training import (
    Seekable,
    ToyConfig,
    ToyNetwork,
    ToyPrior,
    batches_of,
    killed_after,
    same_weights,
)

from openpfn import checkpoint
from openpfn.configs import TrainingConfig
from openpfn.training import TrainingStopped, train

TIMES = ["seconds", "tasks_per_second", "wait_share", "peak_megabytes"]
KINDS = {
    "adamw": {"optimizer": "adamw", "schedule": "cosine"},
    "averaged": {"optimizer": "adamw", "average_decay": 0.9},
    "schedulefree": {"optimizer": "schedulefree", "learning_rate": 0.02},
    "muon": {"optimizer": "muon", "average_decay": 0.8, "accumulation": 2},
}


def config(folder: Path, kind: str = "averaged", **changes) -> TrainingConfig:
    fields = {
        "num_steps": 60,
        "batch_size": 4,
        "learning_rate": 0.01,
        "log_every": 7,
        "eval_every": 20,
        "eval_batches": 2,
        "save_every": 5,
        "n_workers": 0,
        "checkpoint_dir": str(folder),
    }
    return TrainingConfig(**fields | KINDS[kind] | changes)


def same_history(a: pd.DataFrame, b: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(a.drop(columns=TIMES), b.drop(columns=TIMES), check_exact=True)


def check_killed_run(tmp_path: Path, kind: str, moments: list[float], delay: float) -> None:
    whole = train(ToyPrior(), ToyNetwork(), config(tmp_path / "whole", kind))
    interrupted = config(tmp_path / "killed", kind)
    resume_from = None
    for seconds in moments:
        training = partial(
            train, ToyPrior(delay), ToyNetwork(), interrupted, resume_from=resume_from
        )
        killed_after(seconds, tmp_path / "killed", training)
        resume_from = tmp_path / "killed"
    resumed = train(ToyPrior(), ToyNetwork(), interrupted, resume_from=resume_from)
    assert same_weights(resumed, whole)
    same_history(resumed.history, whole.history)
    same_history(
        pd.read_csv(tmp_path / "killed" / "history.csv"),
        pd.read_csv(tmp_path / "whole" / "history.csv"),
    )
    best = [
        checkpoint.load(tmp_path / name / "best.safetensors", model=ToyNetwork()).model
        for name in ("killed", "whole")
    ]
    assert same_weights(*best)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_killed_twice_ends_with_the_weights_of_a_run_left_alone(tmp_path, kind):
    check_killed_run(
        tmp_path, kind, [random.uniform(0, 0.05), random.uniform(0, 0.05)], delay=0.004
    )


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_killed_twenty_times_ends_with_the_weights_of_a_run_left_alone(tmp_path, kind):
    dice = random.Random(kind)
    check_killed_run(tmp_path, kind, [dice.uniform(0, 0.08) for _ in range(20)], delay=0.004)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["averaged", "schedulefree", "muon"])
def test_the_command_killed_at_random_moments_loses_nothing(tmp_path, kind):
    """The whole thing: the table network, the real prior, worker processes, `openpfn train`."""
    options = [
        "--preset",
        "micro",
        "--num-steps",
        "120",
        "--save-every",
        "5",
        "--log-every",
        "10",
        "--eval-every",
        "40",
    ]
    options += [
        "--eval-batches",
        "1",
        "--batch-size",
        "4",
        "--tasks.max-features",
        "4",
        "--tasks.max-seq-len",
        "40",
        "--n-workers",
        "2",
    ]
    options += [f"--{name.replace('_', '-')}={value}" for name, value in KINDS[kind].items()]
    command = [sys.executable, "-m", "openpfn", "train", *options]
    subprocess.run([*command, "--out", str(tmp_path / "whole")], check=True, capture_output=True)
    dice, killed, resume = random.Random(kind), tmp_path / "killed", []
    for _ in range(20):
        process = subprocess.Popen(
            [*command, "--out", str(killed), *resume],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while not (killed / "latest.safetensors").exists() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(dice.uniform(0, 8) if resume else dice.uniform(0, 0.3))
        process.kill()
        process.wait()
        resume = ["--resume"]
    subprocess.run([*command, "--out", str(killed), *resume], check=True, capture_output=True)
    assert same_weights(checkpoint.load(killed).model, checkpoint.load(tmp_path / "whole").model)
    same_history(
        pd.read_csv(killed / "history.csv"), pd.read_csv(tmp_path / "whole" / "history.csv")
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["averaged", "schedulefree"])
def test_saving_and_evaluating_change_nothing_in_a_run(tmp_path, kind):
    often = train(
        ToyPrior(), ToyNetwork(), config(tmp_path, kind, save_every=1, eval_every=1, num_steps=30)
    )
    never = train(
        ToyPrior(),
        ToyNetwork(),
        config(tmp_path, kind, save_checkpoint=False, eval_every=None, num_steps=30),
    )
    assert same_weights(often, never)


@pytest.mark.slow
def test_workers_change_nothing_in_a_run(tmp_path):
    inside = train(ToyPrior(), ToyNetwork(), config(tmp_path / "0", save_checkpoint=False))
    with_workers = train(
        ToyPrior(), ToyNetwork(), config(tmp_path / "1", save_checkpoint=False, n_workers=1)
    )
    assert same_weights(inside, with_workers)


def test_training_leaves_torchs_random_state_and_settings_alone(tmp_path):
    network, threads = ToyNetwork(), torch.get_num_threads()
    before = torch.get_rng_state()
    train(
        ToyPrior(), network, config(tmp_path, num_steps=2, n_threads=2, matmul_precision="medium")
    )
    assert torch.equal(before, torch.get_rng_state())
    assert (threads, "highest") == (torch.get_num_threads(), torch.get_float32_matmul_precision())


@pytest.mark.slow
def test_a_longer_run_goes_on_from_the_end_of_a_shorter_one(tmp_path):
    schedule = {"schedule": "constant", "use_warmup": False}
    train(ToyPrior(), ToyNetwork(), config(tmp_path / "a", "averaged", num_steps=40, **schedule))
    longer = train(
        ToyPrior(),
        ToyNetwork(),
        config(tmp_path / "a", "averaged", **schedule),
        resume_from=tmp_path / "a",
    )
    whole = train(ToyPrior(), ToyNetwork(), config(tmp_path / "b", "averaged", **schedule))
    assert same_weights(longer, whole)
    assert longer.history["step"].is_monotonic_increasing


@pytest.mark.slow
def test_a_finished_run_resumed_is_the_same_network(tmp_path):
    first = train(ToyPrior(), ToyNetwork(), config(tmp_path))
    again = train(ToyPrior(), ToyNetwork(seed=5), config(tmp_path), resume_from=tmp_path)
    assert same_weights(first, again)
    same_history(first.history, again.history)


@pytest.mark.slow
def test_the_rate_given_at_a_resume_wins(tmp_path):
    train(ToyPrior(), ToyNetwork(), config(tmp_path, num_steps=20))
    resumed = train(
        ToyPrior(),
        ToyNetwork(),
        config(tmp_path, num_steps=40, learning_rate=0.003),
        resume_from=tmp_path,
    )
    assert resumed.history["learning_rate"].iloc[-1] == 0.003


@pytest.mark.slow
def test_a_run_goes_on_in_another_folder_and_keeps_its_history(tmp_path):
    train(ToyPrior(), ToyNetwork(), config(tmp_path / "a", num_steps=40))
    moved = train(
        ToyPrior(),
        ToyNetwork(),
        config(tmp_path / "b"),
        resume_from=tmp_path / "a" / "latest.safetensors",
    )
    assert moved.history["step"].iloc[0] == 7
    assert len(pd.read_csv(tmp_path / "b" / "history.csv")) == len(moved.history)


@pytest.mark.slow
def test_batches_of_ones_own_are_resumed_at_their_position(tmp_path):
    batches = batches_of(ToyPrior(), 13, 4)
    whole = train(Seekable(batches), ToyNetwork(), config(tmp_path / "a", eval_every=None))
    train(
        Seekable(batches),
        ToyNetwork(),
        config(tmp_path / "b", eval_every=None, num_steps=25, warmup_steps=2),
    )
    resumed = train(
        Seekable(batches),
        ToyNetwork(),
        config(tmp_path / "b", eval_every=None),
        resume_from=tmp_path / "b",
    )
    assert checkpoint.load_training_state(tmp_path / "b").counters["position"] == 60
    assert len(whole.history) == len(resumed.history) - 1  # the shorter run's last step has a row


def test_a_list_of_batches_is_begun_again_but_cannot_be_resumed(tmp_path):
    batches = batches_of(ToyPrior(), 3, 4)
    train(batches, ToyNetwork(), config(tmp_path, num_steps=10, eval_every=None))
    with pytest.raises(ValueError, match="settable position"):
        train(batches, ToyNetwork(), config(tmp_path, eval_every=None), resume_from=tmp_path)


def test_a_source_that_ends_for_good_is_told(tmp_path):
    with pytest.raises(ValueError, match="ended after 3 of 60 steps"):
        train(iter(batches_of(ToyPrior(), 3, 4)), ToyNetwork(), config(tmp_path, eval_every=None))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_run_after_saving_it(tmp_path, number):
    def interrupt(event):
        if event.kind == "step" and event.step == 33:
            os.kill(os.getpid(), number)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(TrainingStopped, match=rf"{number.name} at step 33; saved in .*--resume"):
        train(ToyPrior(), ToyNetwork(), config(tmp_path / "a"), callbacks=[interrupt])
    assert checkpoint.load_training_state(tmp_path / "a").counters["step"] == 33
    resumed = train(ToyPrior(), ToyNetwork(), config(tmp_path / "a"), resume_from=tmp_path / "a")
    assert same_weights(resumed, train(ToyPrior(), ToyNetwork(), config(tmp_path / "b")))
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.slow
def test_a_dead_worker_ends_the_run_after_saving_it(tmp_path):
    with pytest.raises(RuntimeError, match="killed by signal 9"):
        train(ToyPrior(fails_at=13, how="kill"), ToyNetwork(), config(tmp_path, n_workers=1))
    assert checkpoint.load_training_state(tmp_path).counters["step"] == 13


def test_a_second_run_does_not_replace_the_first_unasked(tmp_path):
    train(ToyPrior(), ToyNetwork(), config(tmp_path, num_steps=10))
    with pytest.raises(FileExistsError, match="already holds a run"):
        train(ToyPrior(), ToyNetwork(), config(tmp_path))
    train(ToyPrior(), ToyNetwork(), config(tmp_path / "b", num_steps=10))
    with pytest.raises(FileExistsError, match="already holds a run"):
        train(ToyPrior(), ToyNetwork(), config(tmp_path), resume_from=tmp_path / "b")
    anew = train(
        ToyPrior(), ToyNetwork(), config(tmp_path, num_steps=10, log_every=5, overwrite=True)
    )
    assert list(anew.history["step"]) == [5, 10]


def test_two_processes_do_not_train_in_one_folder(tmp_path):
    def second(event):
        if event.kind == "step" and event.step == 1:
            with pytest.raises(FileExistsError, match="another process is training"):
                train(ToyPrior(), ToyNetwork(), config(tmp_path))
            told.append(True)

    told: list[bool] = []
    train(ToyPrior(), ToyNetwork(), config(tmp_path, num_steps=3), callbacks=[second])
    assert told


def test_another_network_or_optimizer_cannot_resume_a_run(tmp_path):
    train(ToyPrior(), ToyNetwork(), config(tmp_path, num_steps=10))
    with pytest.raises(ValueError, match="d_hidden 8 → 6"):
        train(ToyPrior(), ToyNetwork(ToyConfig(d_hidden=6)), config(tmp_path), resume_from=tmp_path)
    with pytest.raises(ValueError, match="used adamw, not muon"):
        train(ToyPrior(), ToyNetwork(), config(tmp_path, "muon"), resume_from=tmp_path)


@pytest.mark.slow
def test_weights_alone_cannot_be_resumed_but_can_begin_a_run(tmp_path):
    train(ToyPrior(), ToyNetwork(), config(tmp_path / "a"))
    best = tmp_path / "a" / "best.safetensors"
    with pytest.raises(ValueError, match="no training state"):
        train(ToyPrior(), ToyNetwork(), config(tmp_path / "b"), resume_from=best)
    hardly = config(
        tmp_path / "c", num_steps=1, learning_rate=1e-12, average_decay=0.0, init_from=str(best)
    )
    begun = train(ToyPrior(), ToyNetwork(seed=9), hardly)
    expected = checkpoint.load(best, model=ToyNetwork()).model
    for ours, wanted in zip(
        begun.state_dict().values(), expected.state_dict().values(), strict=True
    ):
        np.testing.assert_allclose(ours, wanted, atol=1e-9)


def test_init_from_is_not_looked_at_when_a_run_is_resumed(tmp_path):
    first = config(tmp_path, num_steps=10)
    train(ToyPrior(), ToyNetwork(), first)
    train(
        ToyPrior(),
        ToyNetwork(),
        replace(first, num_steps=12, init_from=str(tmp_path / "gone")),
        resume_from=tmp_path,
    )
