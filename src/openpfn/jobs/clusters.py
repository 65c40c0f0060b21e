"""Jobs on the clusters of Ray and Dask, which do them again where a machine is lost."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from importlib import import_module
from importlib.util import find_spec
from types import TracebackType
from typing import Any

from openpfn.jobs.base import Backend, Failed, Order, Told, called, described
from openpfn.processes import thread_variables

RETRIES = 3
"""How often a cluster does a job again whose machine or process was lost."""
EXTRA = "scale"
"""The extra of this package that brings both."""


def open_cluster(
    backend: Backend,
    function: str,
    n: int,
    address: str | None,
    *,
    threads: int = 1,
    gpu: bool = False,
    fresh: bool = False,
) -> RayCluster | DaskCluster:
    """Return the cluster at `address`, not yet connected; see `openpfn.jobs.workers`."""
    kinds: dict[str, tuple[str, type[RayCluster] | type[DaskCluster]]] = {
        "ray": ("ray", RayCluster),
        "dask": ("distributed", DaskCluster),
    }
    if backend not in kinds:
        raise ValueError(f"backend is {backend!r}. Choose processes, {' or '.join(kinds)}.")
    package, kind = kinds[backend]
    require(package)
    return kind(function, n, address, threads, gpu, fresh)


def require(package: str) -> None:
    """Raise ModuleNotFoundError, saying what to install, unless `package` is there."""
    if find_spec(package) is None:
        raise ModuleNotFoundError(
            f"this backend needs the package {package}, which is not installed:"
            f" pip install 'openpfn[{EXTRA}]'",
            name=package,
        )


class _Cluster:
    """What the two clusters share: `n` jobs of `function` at a time."""

    def __init__(
        self,
        function: str,
        n: int,
        address: str | None,
        threads: int = 1,
        gpu: bool = False,
        fresh: bool = False,
    ) -> None:
        self.function, self.n, self.address = function, n, address
        self.threads, self.gpu, self.fresh = threads, gpu, fresh

    def job(self, order: Any) -> tuple[Any, ...]:
        """Return the arguments of `answer` for an order."""
        return self.function, order, sys.path, os.getcwd()

    def close(self) -> None:
        """Leave the cluster."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class RayCluster(_Cluster):
    """A Ray cluster: the one at the address, else that of RAY_ADDRESS, else one of this machine
    alone."""

    def __enter__(self) -> RayCluster:
        ray: Any = import_module("ray")

        self._is_own = not ray.is_initialized()
        if self._is_own:
            ray.init(
                address=self.address,
                include_dashboard=None if self.address else False,
                log_to_driver=False,
                logging_level="warning",
            )
        return self

    def answers(
        self, orders: Iterable[Order], most: int | None = None, told: Told | None = None
    ) -> Iterator[tuple[Order, Any]]:
        """See `openpfn.jobs.Workers`; nothing is told on the way."""
        ray: Any = import_module("ray")

        # a job that ran on a lost machine, or whose process died, is done again; an error is not
        job = ray.remote(
            num_cpus=self.threads,
            num_gpus=1 if self.gpu else 0,
            max_retries=RETRIES,
            retry_exceptions=False,
            max_calls=1 if self.fresh else 0,
            runtime_env={"env_vars": dict(thread_variables(self.threads))},
        )(answer)
        left, running = iter(list(orders)), {}
        n = min(self.n, most or self.n)
        while True:
            for order in left:
                running[job.remote(*self.job(order))] = order
                if len(running) == n:
                    break
            if not running:
                return
            (done,), _ = ray.wait(list(running), num_returns=1)
            order = running.pop(done)
            try:
                yield order, ray.get(done)
            except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError):
                yield order, None
            except ray.exceptions.RayError as error:
                yield order, Failed(described(error))

    def close(self) -> None:
        ray: Any = import_module("ray")

        if self._is_own:
            ray.shutdown()


class DaskCluster(_Cluster):
    """A Dask cluster: that of the scheduler at the address, else one of this machine alone."""

    def __enter__(self) -> DaskCluster:
        distributed: Any = import_module("distributed")

        local = {"n_workers": self.n, "threads_per_worker": 1, "dashboard_address": None}
        self._client = distributed.Client(self.address, **({} if self.address else local))
        return self

    def answers(
        self, orders: Iterable[Order], most: int | None = None, told: Told | None = None
    ) -> Iterator[tuple[Order, Any]]:
        """See `openpfn.jobs.Workers`; nothing is told on the way."""
        distributed: Any = import_module("distributed")
        lost: Any = import_module("distributed.scheduler").KilledWorker

        left, running = iter(list(orders)), {}
        n = min(self.n, most or self.n)
        finished = distributed.as_completed([])

        def submit() -> None:
            for order in left:
                future = self._client.submit(answer, *self.job(order), pure=False)
                running[future.key] = order
                finished.add(future)
                if len(running) == n:
                    return

        submit()
        for future in finished:
            order = running.pop(future.key)
            error = future.exception()
            if error is None:
                yield order, future.result()
            else:
                yield order, None if isinstance(error, lost) else Failed(described(error))
            submit()

    def close(self) -> None:
        self._client.close()


def answer(function: str, order: Any, paths: list[str], folder: str) -> Any:
    """Return what the function answers; runs on the cluster, in the folder of the caller and with
    modules from its `paths`, as far as the machine has them."""
    if os.path.isdir(folder):
        os.chdir(folder)
    sys.path.extend(path for path in paths if path not in sys.path)
    try:
        return called(function)(order, lambda share: None)
    except Exception as error:
        return Failed(described(error))
