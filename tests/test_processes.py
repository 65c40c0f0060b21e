"""Worker processes answer, die without taking others down, and end with their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from openpfn.processes import THREAD_VARIABLES, Worker, WorkerDied, stop_all

TARGETS = """
import os, time

def echo(channel):
    for order in channel:
        if order == "die":
            os._exit(3)
        if order == "wait":
            time.sleep(3600)
        print("noise", flush=True)
        channel.send((order, os.getpid()))

def gone(channel):
    os._exit(3)

def threads(channel):
    channel.send([os.environ[name] for name in next(iter(channel))])

def last_word(channel):
    import signal, sys
    def end(number, frame):
        channel.send("saved")
        sys.exit(0)
    signal.signal(signal.SIGTERM, end)
    channel.send("ready")
    time.sleep(3600)
"""


@pytest.fixture(autouse=True)
def _targets(tmp_path, monkeypatch):
    (tmp_path / "targets_of_test.py").write_text(TARGETS)
    monkeypatch.syspath_prepend(str(tmp_path))


def target(name: str) -> str:
    return f"targets_of_test:{name}"


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def waited_for(is_so, seconds: float = 60.0) -> bool:
    until = time.monotonic() + seconds
    while not is_so() and time.monotonic() < until:
        time.sleep(0.01)
    return is_so()


def test_a_worker_answers_whatever_it_prints():
    with Worker(target("echo")) as worker:
        for order in (1, {"two": [2.0]}):
            worker.send(order)
            assert worker.receive() == (order, worker.process.pid)
    assert worker.process.returncode is not None


def test_a_worker_has_the_threads_that_it_is_given():
    with Worker(target("threads"), threads=3) as worker:
        worker.send(THREAD_VARIABLES)
        assert worker.receive() == ["3"] * len(THREAD_VARIABLES)


def test_to_write_to_a_worker_that_is_gone_is_no_error():
    with Worker(target("gone")) as worker:
        worker.process.wait()
        for _ in range(3):
            worker.send(bytes(10**6))
        with pytest.raises(WorkerDied, match="its process died"):
            worker.receive()


@pytest.mark.slow
def test_a_worker_that_takes_too_long_is_ended():
    with Worker(target("echo")) as worker:
        worker.send("wait")
        with pytest.raises(WorkerDied, match=r"took longer than 0\.5 s"):
            worker.receive(0.5)
    assert worker.process.returncode == -signal.SIGKILL


def test_a_worker_that_is_asked_to_stop_has_a_last_word():
    with Worker(target("last_word")) as worker:
        assert worker.receive() == "ready"
        stop_all([worker])
        assert worker.receive() == "saved"
    assert worker.process.returncode == 0


def test_a_worker_ends_when_its_parent_is_killed():
    code = (
        "from openpfn.processes import Worker; w = Worker('targets_of_test:echo');"
        " w.send(0); print(w.receive()[1], flush=True); w.send('wait'); input()"
    )
    paths = os.pathsep.join(path for path in sys.path if path)
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": paths},
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_running(pid)
        parent.kill()
    assert waited_for(lambda: not is_running(pid))
