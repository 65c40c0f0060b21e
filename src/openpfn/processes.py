"""`Worker`: a process with a fixed number of threads that talks with its parent through pipes and
does not outlive it."""

from __future__ import annotations

import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from types import TracebackType
from typing import IO, Any

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
"""Environment variables that tell the libraries of numerical code how many threads to use."""
SECONDS_TO_END = 60.0
"""Time for which a process that was asked to end may go on, for instance to save its state."""


class WorkerDied(RuntimeError):
    """A worker process that ended, or was stopped, without an answer."""


class Worker:
    """A fresh Python process that calls `target`, a "module:function", with its `Channel`.

    It has `threads` threads, our import path, and a session of its own: Ctrl-C reaches its parent
    alone, which then ends it. What it prints goes to `log`, or to our standard error.
    """

    def __init__(self, target: str, threads: int = 1, log: int | IO[bytes] | None = None) -> None:
        module, function = target.split(":")
        program = (
            f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import run_target;"
            f" run_target({module!r}, {function!r})"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=os.environ | thread_variables(threads),
            start_new_session=True,
        )

    def send(self, message: Any) -> None:
        """Send one message. A process that is gone already takes none: the next `receive` tells."""
        assert self.process.stdin is not None
        try:
            pickle.dump(message, self.process.stdin)
            self.process.stdin.flush()
        except (BrokenPipeError, ValueError):  # ValueError: the pipe was closed meanwhile
            return

    def receive(self, seconds: float | None = None) -> Any:
        """Wait for the next message, at most `seconds`. Raises WorkerDied if there is none."""
        assert self.process.stdout is not None
        late = threading.Event()

        def give_up() -> None:
            late.set()
            self.process.kill()

        timer = None if seconds is None else threading.Timer(seconds, give_up)
        if timer is not None:
            timer.start()
        try:
            return pickle.load(self.process.stdout)
        except (EOFError, pickle.UnpicklingError, ValueError, OSError):
            reason = f"took longer than {seconds:g} s" if late.is_set() else "its process died"
            raise WorkerDied(reason) from None
        finally:
            if timer is not None:
                timer.cancel()

    def close(self) -> None:
        """End the process at once."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            try:
                if pipe is not None:
                    pipe.close()
            except BrokenPipeError:  # what was not yet sent has nobody to read it
                continue

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def stop_all(workers: Iterable[Worker]) -> None:
    """Ask processes to end, and wait for them: a training saves its state first."""
    workers = list(workers)
    for worker in workers:
        worker.process.terminate()
    for worker in workers:
        try:
            worker.process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            worker.process.kill()


class Channel:
    """The other end of a `Worker`, in its process: iterate over what is sent, and answer.

    When the parent goes away, whatever runs here gets SIGTERM.
    """

    def __init__(self, orders: IO[bytes], answers: IO[bytes]) -> None:
        self.orders, self.answers = orders, answers
        self.waiting: queue.Queue[Any] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def __iter__(self) -> Iterator[Any]:
        while True:
            yield self.waiting.get()

    def send(self, message: Any) -> None:
        """Send one message to the parent; a signal's handler may do so too."""
        # unbuffered: a buffer that the signal interrupted would refuse the handler
        unsent = memoryview(pickle.dumps(message))
        while unsent:
            unsent = unsent[self.answers.write(unsent) :]

    def _read(self) -> None:
        while True:
            try:
                self.waiting.put(pickle.load(self.orders))
            except EOFError:
                os.kill(os.getpid(), signal.SIGTERM)
                return


def run_target(module: str, function: str) -> None:
    """Run in the process: call the function with the channel to the parent."""
    # copies: sys.stdin may not be in use by a thread when the interpreter ends, and what is printed
    # here must not mix with the answers
    orders = os.fdopen(os.dup(sys.stdin.fileno()), "rb")
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    getattr(import_module(module), function)(Channel(orders, answers))


def thread_variables(threads: int) -> Mapping[str, str]:
    """The environment of a process with so many threads."""
    return dict.fromkeys(THREAD_VARIABLES, str(threads))
