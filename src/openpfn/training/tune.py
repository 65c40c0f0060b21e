"""`tuned`: the runs of a sweep done by Ray Tune, which stops those early that fall behind."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from openpfn.configs.sweep import Sweep
from openpfn.jobs.base import Failed
from openpfn.jobs.clusters import RETRIES, RayCluster, require
from openpfn.training.sweep_run import RESULT, RunOrder, do_run, figures_of, stopped_early

REDUCTION = 3
"""ASHA keeps one of so many runs at each rung, which has this many times the steps of the last."""


def tuned(
    sweep: Sweep,
    orders: list[RunOrder],
    n_jobs: int,
    address: str | None,
    *,
    asha: bool = True,
    gpu: bool = False,
) -> Iterator[tuple[RunOrder, Any]]:
    """Each order with the figures of its run, when all are done; `Failed` where a run failed."""
    require("ray")
    tune: Any = import_module("ray.tune")
    schedulers: Any = import_module("ray.tune.schedulers")

    most = max(int(order.run.options.get("num-steps", 10_000)) for order in orders)
    scheduler = schedulers.FIFOScheduler()
    if asha:
        scheduler = schedulers.ASHAScheduler(
            time_attr="step",
            max_t=most,
            grace_period=max(1, most // REDUCTION**2),
            reduction_factor=REDUCTION,
        )
    resources = {"cpu": orders[0].n_threads, "gpu": 1 if gpu else 0}
    metric = {"metric": sweep.metric, "mode": sweep.mode} if asha else {}
    with RayCluster("", n_jobs, address, orders[0].n_threads, gpu):
        results = tune.Tuner(
            tune.with_resources(do_trial, resources),
            param_space={
                "order": tune.grid_search(orders),
                "metric": sweep.metric,
                "paths": list(sys.path),
                "folder": os.getcwd(),
            },
            tune_config=tune.TuneConfig(
                scheduler=scheduler, max_concurrent_trials=n_jobs, **metric
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=str(orders[0].folder.parent.parent),
                failure_config=tune.FailureConfig(max_failures=RETRIES),
                verbose=0,
            ),
        ).fit()
    for result in results:
        order = result.config["order"]
        is_done = (order.folder / RESULT).is_file()
        if result.error is not None and not is_done:
            yield order, Failed(" ".join(str(result.error).split())[-300:])
            continue
        if not is_done:
            stopped_early(order)
        yield order, figures_of(order.folder)


def do_trial(config: Mapping[str, Any]) -> None:
    """Do a run in a process of Ray, and report the rows that have the figure."""
    tune: Any = import_module("ray.tune")
    order, metric = config["order"], config["metric"]
    if Path(config["folder"]).is_dir():
        os.chdir(config["folder"])
    sys.path.extend(path for path in config["paths"] if path not in sys.path)

    def tell_row(row: Mapping[str, float]) -> None:
        value = row.get(metric)
        if value is not None and value == value:
            tune.report({"step": int(row["step"]), metric: float(value)})

    do_run(order, lambda share: None, tell_row)
