"""Memory of this process: the most that it used, by how much it grew, and a limit to it."""

from __future__ import annotations

import gc
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STATUS = Path("/proc/self/status")


def peak_memory_mb() -> float:
    """Return the peak resident memory of this process in 10⁶ bytes; NaN where it is unknown."""
    # Linux hands getrusage's peak from parent to child, so it is read from /proc there
    in_status = _status_bytes("VmHWM")
    return (_peak_of_resources() if in_status is None else in_status) / 1e6 or math.nan


@contextmanager
def memory_growth() -> Iterator[list[float]]:
    """Yield a list whose one value is, after the block, by how many MiB this process grew at most.

    Exact on Linux; elsewhere the growth beyond the earlier peak.
    """
    gc.collect()
    grown = [0.0]
    before = _status_bytes("VmRSS")
    if before is None:
        earlier = _peak_of_resources()
        yield grown
        grown[0] = (_peak_of_resources() - earlier) / 2**20
        return
    try:
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    except OSError:
        grown[0] = math.nan
    yield grown
    grown[0] += ((_status_bytes("VmHWM") or before) - before) / 2**20


def limit_memory(gigabytes: float) -> None:
    """Have this process get at most so much address space; nothing on Windows."""
    try:
        import resource
    except ImportError:  # on Windows
        return
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    wanted = int(gigabytes * 2**30)
    is_free = most == resource.RLIM_INFINITY
    resource.setrlimit(resource.RLIMIT_AS, (wanted if is_free else min(wanted, most), most))


def _status_bytes(name: str) -> int | None:
    """A field of /proc/self/status in bytes; None where there is none."""
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        return None
    found = (int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
    return next(found, None)


def _peak_of_resources() -> int:
    """Peak resident memory in bytes as `getrusage` tells it; 0 on Windows."""
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
