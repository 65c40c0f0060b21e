"""One process per measurement: its peak memory is its own, and it cannot take the others down."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from openpfn.benchmark.speed.run import SpeedConfig

COMMAND = "from openpfn.benchmark.speed.worker import serve; serve()"
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


class WorkerFailed(RuntimeError):
    """A measurement raised, ran out of memory or time, or its process died."""


class Worker:
    """A process that sets one measurement up and then runs a repeat of it on each request."""

    def __init__(self, name: str, config: SpeedConfig, threads: int) -> None:
        self.timeout, self.limit = config.timeout, config.memory_limit
        self.process = subprocess.Popen(
            [sys.executable, "-c", COMMAND],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {variable: str(threads) for variable in THREAD_VARIABLES},
        )
        order = {
            "measurement": name,
            "threads": threads,
            "seconds": config.seconds,
            "memory_limit": config.memory_limit,
            "paths": {
                peer: str(path.resolve())
                for peer in ("nanotabpfn", "tinypfn")
                if (path := getattr(config, peer)) is not None
            },
            "import_path": [path for path in sys.path if path],
        }
        self._say(order)

    def repeat(self, warm_up: bool = False) -> dict[str, Any]:
        """`value` of one more repeat, and `facts` known by now. Raises WorkerFailed."""
        self._say({"warm_up": warm_up})
        assert self.process.stdout is not None
        timer = threading.Timer(self.timeout, self.process.kill)
        timer.start()
        try:
            line = self.process.stdout.readline()
        finally:
            in_time = timer.is_alive()
            timer.cancel()
        if not line:
            raise WorkerFailed(
                "its process died" if in_time else f"took longer than {self.timeout:g} s"
            )
        answer = json.loads(line)
        if "out_of_memory" in answer:
            raise WorkerFailed(f"needs more than {self.limit:g} GB")
        if "error" in answer:
            raise WorkerFailed(answer["error"])
        return answer

    def _say(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return  # the answer, or its absence, tells why

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def serve() -> None:
    """Run in the process: the first line of stdin is the order, each further one asks for a
    repeat."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(
        sys.stderr.fileno(), sys.stdout.fileno()
    )  # what a peer prints must not mix with the answers
    order = json.loads(sys.stdin.readline())
    sys.path[:] = ["", *order["import_path"]]
    timed: Any = None
    for line in sys.stdin:
        try:
            if timed is None:
                timed = set_up(order)
            answer = repeat(timed, order["seconds"], warm_up=json.loads(line)["warm_up"])
        except MemoryError:
            answer = {"out_of_memory": True}
        except Exception as error:
            text = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            answer = {"out_of_memory": True} if "memory" in text.lower() else {"error": text}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def set_up(order: dict[str, Any]) -> Any:
    """The measurement's operation, made ready to run."""
    import torch

    from openpfn.benchmark.speed.table import all_measurements

    limit_memory(order["memory_limit"])
    torch.set_num_threads(order["threads"])
    torch.manual_seed(0)
    return all_measurements()[order["measurement"]].set_up(order["paths"])


def repeat(timed: Any, seconds: float, warm_up: bool) -> dict[str, Any]:
    """Run the operation for `seconds` (once to warm up); its value, and what is known about it."""
    value = timed.value(0.0 if warm_up else seconds)
    return {"value": value, "facts": {"peak_rss_mb": round(peak_memory_mb(), 1)} | timed.facts()}


def limit_memory(gigabytes: float) -> None:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = int(gigabytes * 2**30)
    resource.setrlimit(
        resource.RLIMIT_AS, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
    )


def peak_memory_mb() -> float:
    """Peak resident memory of this process in 10⁶ bytes; 0 where the system does not tell.

    Linux hands `getrusage`'s peak from parent to child, so it is read from /proc there.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
