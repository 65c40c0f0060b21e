"""Train many networks that differ in some options, resumable and side by side.

openpfn sweep CONFIG.yaml trains a network for each combination of options in the file, or for each
in its list. task-diversity trains a network on each of several pools of tasks: few are memorised,
many are generalised from (Raventós et al. 2023).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from openpfn.cli import run_subcommand

USAGE = """usage: openpfn sweep {CONFIG.yaml,task-diversity} [OPTIONS]

openpfn sweep CONFIG.yaml --help and openpfn sweep task-diversity --help tell the options."""


@dataclass(frozen=True)
class SweepOptions:
    """Train a network for each combination of options in CONFIG. OUT/results.csv has a row per run,
    OUT/sweep.png their courses. The same call goes on with what is not finished."""

    config: Annotated[Path, tyro.conf.Positional]
    """A YAML, TOML or JSON file: base, the options of `openpfn train` that all runs share; grid,
    lists of values of options; runs, a list of runs (see docs/scale.md)."""
    out: Path | None = None
    """Folder of the sweep; sweeps/NAME for a file NAME.yaml."""
    jobs: int = 1
    """Runs at the same time, among which the cores are divided."""
    backend: Literal["processes", "ray", "dask"] = "processes"
    """Where the runs are done: by processes of this machine, by Ray Tune, or by a cluster of Dask;
    all machines see OUT (ray and dask need the extra openpfn[scale])."""
    address: str | None = None
    """Address of the cluster; without it Ray takes RAY_ADDRESS, and else this machine is one."""
    asha: bool = True
    """With Ray, stop runs early whose figure falls behind."""
    gpu: bool = False
    """With Ray, each run gets a GPU."""

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise ValueError(f"jobs is {self.jobs}, must be at least 1.")


def main(argv: list[str]) -> int | None:
    """Run the sweep of the file, or the subcommand, that `argv` begins with."""
    if argv and not argv[0].startswith("-") and Path(argv[0]).suffix:
        return sweep(argv)
    return run_subcommand(argv, SUBCOMMANDS, f"{__doc__}\n{USAGE}")


def sweep(argv: list[str]) -> int:
    """Do the runs of a file that are not finished."""
    options = tyro.cli(SweepOptions, args=argv, prog="openpfn sweep")
    from openpfn.configs.sweep import read_sweep
    from openpfn.training.sweep import PICTURE, RESULTS, run_sweep

    out = options.out or Path("sweeps") / options.config.stem
    table = run_sweep(
        read_sweep(options.config),
        out,
        options.jobs,
        options.backend,
        options.address,
        asha=options.asha,
        gpu=options.gpu,
        say=print,
    )
    print(f"results: {out / RESULTS}, {out / PICTURE}")
    return 0 if (table["state"] == "finished").all() else 1


def task_diversity(argv: list[str]) -> int:
    """Train a network for each pool size and seed. OUT/results.csv has a row per run,
    OUT/task-diversity.png the grid of plots. The same call goes on with what is not finished.

    The configuration of the paper, for a GPU: --tasks 4 16 64 256 1024 4096 16384 32768 --task-size
    8 --examples 16 --d-model 128 --n-layers 8 --d-mlp 512 --steps 500000 --batch 256.
    """
    from openpfn.configs.diversity import TaskDiversityConfig

    config = tyro.cli(
        TaskDiversityConfig,
        args=argv,
        prog="openpfn sweep task-diversity",
        description=task_diversity.__doc__,
    )
    from openpfn.bayes.task_diversity.runs import PICTURE, RESULTS
    from openpfn.bayes.task_diversity.runs import sweep as sweep_task_diversity

    sweep_task_diversity(config, print)
    print(f"results: {config.out / RESULTS}, {config.out / PICTURE}")
    return 0


SUBCOMMANDS: dict[str, Callable[[list[str]], int | None]] = {"task-diversity": task_diversity}
"""Name of each subcommand and the function that runs it."""
