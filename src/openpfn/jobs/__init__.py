"""Many independent jobs, done by processes of this machine or by a cluster of Ray or Dask.

A job is a call `function(order, tell)`, where `function` is given as "module:name" and `order` can
be pickled; it may tell the share of it that is done. What it returns, never None, is its answer.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from openpfn.jobs.base import Backend, Failed, Workers
from openpfn.jobs.pool import Pool

__all__ = ["Backend", "Failed", "Pool", "Workers", "threads_of_each", "workers"]


def workers(
    function: str,
    n: int,
    backend: Backend = "processes",
    address: str | None = None,
    *,
    threads: int = 1,
    gpu: bool = False,
    fresh: bool = False,
    log: Callable[[Any], Path] | None = None,
) -> Workers:
    """Return what does `n` jobs of `function` at a time.

    `backend` is "processes" of this machine, or the cluster of "ray" or "dask" at `address`;
    without an address, Ray takes RAY_ADDRESS or starts a cluster on this machine, as Dask does.
    Each job has `threads` threads and, with `gpu`, one GPU of a Ray cluster. On this machine,
    `fresh` gives every order a process of its own, which is asked to end and waited for where the
    work is interrupted, and `log` names the file for what it prints. A cluster does a job again
    whose machine is lost.
    Raises ModuleNotFoundError, saying what to install, where the backend is missing.
    """
    if backend == "processes":
        if address is not None:
            raise ValueError(
                f"address is {address!r}, but processes run on this machine. Choose backend ray or"
                " dask (--backend ray)."
            )
        return Pool(function, n, threads=threads, fresh=fresh, log=log)
    from openpfn.jobs.clusters import open_cluster

    return open_cluster(backend, function, n, address, threads=threads, gpu=gpu, fresh=fresh)


def threads_of_each(n_jobs: int) -> int:
    """Return how many threads each of `n_jobs` jobs gets of this machine's cores."""
    return max(1, (os.cpu_count() or 1) // n_jobs)
