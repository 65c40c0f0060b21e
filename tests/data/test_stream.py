"""The stream gives the same batches however they are drawn, and tells when they cannot be."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
import time
from itertools import islice

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toy_training import ToyPrior

from openpfn.batch import TaskBatch
from openpfn.data.stream import TaskStream, WorkerError, task_generator


def tensors(batch: TaskBatch) -> list[torch.Tensor]:
    assert batch.x is not None
    assert batch.n_classes is not None
    return [batch.x, batch.y, batch.n_classes, batch.latents["shift"]]


def same(a: list[TaskBatch], b: list[TaskBatch]) -> bool:
    pairs = zip(a, b, strict=True)
    return all(
        torch.equal(x, y) for p, q in pairs for x, y in zip(tensors(p), tensors(q), strict=True)
    )


@pytest.fixture(scope="module")
def first_ten() -> list[TaskBatch]:
    return list(islice(TaskStream(ToyPrior(), 3, seed=7, n_workers=0), 10))


@pytest.mark.slow
@pytest.mark.parametrize(("n_workers", "start"), [(1, 0), (2, 3), (0, 4)])
def test_the_batches_are_the_same_whatever_the_workers_and_the_start(first_ten, n_workers, start):
    with TaskStream(ToyPrior(), 3, seed=7, n_workers=n_workers, start=start) as stream:
        assert stream.position == start
        assert same(list(islice(stream, 10 - start)), first_ten[start:])
        assert stream.position == 10
        assert stream.wait_seconds > 0


@pytest.mark.slow
def test_a_stream_moved_to_a_position_goes_on_there(first_ten):
    with TaskStream(ToyPrior(), 3, seed=7, n_workers=1) as stream:
        next(stream)
        stream.position = 6
        assert same([next(stream), next(stream)], first_ten[6:8])


@pytest.mark.slow
@given(st.integers(0, 2**63), st.integers(0, 2**50), st.integers(0, 2**63), st.integers(0, 2**50))
def test_generators_of_different_batches_differ(seed, index, other_seed, other_index):
    keys = (seed, index), (other_seed, other_index)
    a, b = (
        float(torch.rand((), generator=task_generator(*key), dtype=torch.float64)) for key in keys
    )
    assert (a == b) == ((seed, index) == (other_seed, other_index))


def test_batches_of_neighbours_are_uncorrelated():
    draws = torch.stack(
        [
            torch.randn(1000, generator=task_generator(seed, i))
            for seed in range(4)
            for i in range(4)
        ]
    )
    off_diagonal = torch.corrcoef(draws) - torch.eye(16)
    assert off_diagonal.abs().max() < 0.15  # about 4.5 standard errors


@pytest.mark.slow
def test_a_dropped_stream_takes_its_workers_along():
    stream = TaskStream(ToyPrior(), 3, seed=7, n_workers=1)
    next(stream)
    process = stream._workers[0].worker.process
    del stream
    assert process.poll() == -signal.SIGKILL


@pytest.mark.slow
def test_a_killed_worker_is_told_and_what_it_sent_before_is_kept(first_ten):
    with TaskStream(ToyPrior(fails_at=2, how="kill"), 3, seed=7, n_workers=1) as stream:
        assert same([next(stream), next(stream)], first_ten[:2])
        with pytest.raises(WorkerError, match="killed by signal 9"):
            next(stream)


@pytest.mark.slow
def test_an_error_of_the_prior_arrives_with_its_traceback():
    with (
        TaskStream(ToyPrior(fails_at=1), 3, seed=7, n_workers=1) as stream,
        pytest.raises(WorkerError, match="the dice fell off"),
    ):
        list(islice(stream, 5))


def test_a_prior_that_cannot_travel_is_told():
    prior = ToyPrior()
    prior.lock = threading.Lock()  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ValueError, match="ToyPrior, cannot be sent to a worker"):
        next(TaskStream(prior, 3, seed=0, n_workers=1))


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"n_workers": -1}, {"start": -1}])
def test_impossible_arguments_are_refused(wrong):
    with pytest.raises(ValueError, match="wanted at least"):
        TaskStream(ToyPrior(), **{"batch_size": 3, "seed": 0} | wrong)


SCRIPT = textwrap.dedent("""
    import signal, sys, time, torch
    from openpfn.batch import TaskBatch
    from openpfn.data.stream import TaskStream

    class Mine:    # defined here, without a guard for __main__
        def sample(self, n_tasks, generator):
            print("a prior may print")
            x = torch.rand(n_tasks, 5, 2, generator=generator)
            return TaskBatch(x=x, y=torch.zeros(n_tasks, 5), n_train=2)

    stream = TaskStream(Mine(), 2, seed=0, n_workers=1)
    print("sum", float(next(stream).x.sum()) > 0, stream._workers[0].worker.process.pid, flush=True)
    time.sleep(60)
    """)


@pytest.mark.slow
def test_a_plain_script_may_stream_from_its_own_prior_and_its_worker_dies_with_it(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    script = subprocess.Popen(
        [sys.executable, tmp_path / "script.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert script.stdout is not None
    word, positive, pid = script.stdout.readline().split()
    assert (word, positive) == ("sum", "True")
    script.send_signal(signal.SIGKILL)
    script.wait()
    script.stdout.close()
    for _ in range(500):
        if not is_alive(int(pid)):
            break
        time.sleep(0.02)
    assert not is_alive(int(pid))


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
def test_how_many_batches_wait_changes_none_of_them():
    with (
        TaskStream(ToyPrior(), 3, seed=5, n_workers=1, prefetch=1) as few,
        TaskStream(ToyPrior(), 3, seed=5, n_workers=0) as none,
    ):
        for _ in range(4):
            assert torch.equal(next(few).y, next(none).y)
    with pytest.raises(ValueError, match="prefetch=0"):
        TaskStream(ToyPrior(), 3, seed=5, prefetch=0)
