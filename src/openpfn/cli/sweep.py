"""Train many networks that differ in one thing, resumable and side by side.

task-diversity trains a network on each of several pools of tasks: few are memorised, many are
generalised from (Raventós et al. 2023).
"""

from __future__ import annotations

from collections.abc import Callable

from openpfn.cli import run_subcommand

USAGE = "usage: openpfn sweep task-diversity [OPTIONS]; --help after it tells its options."


def main(argv: list[str]) -> int | None:
    """Run the subcommand that `argv` begins with."""
    return run_subcommand(argv, SUBCOMMANDS, f"{__doc__}\n{USAGE}")


def task_diversity(argv: list[str]) -> int:
    """Train a network for each pool size and seed. OUT/results.csv has a row per run,
    OUT/task-diversity.png the grid of plots. The same call goes on with what is not finished.

    The configuration of the paper, for a GPU: --tasks 4 16 64 256 1024 4096 16384 32768 --task-size
    8 --examples 16 --d-model 128 --n-layers 8 --d-mlp 512 --steps 500000 --batch 256.
    """
    import tyro

    from openpfn.configs.diversity import TaskDiversityConfig

    config = tyro.cli(
        TaskDiversityConfig,
        args=argv,
        prog="openpfn sweep task-diversity",
        description=task_diversity.__doc__,
    )
    from openpfn.bayes.task_diversity.runs import PICTURE, RESULTS, sweep

    sweep(config, print)
    print(f"results: {config.out / RESULTS}, {config.out / PICTURE}")
    return 0


SUBCOMMANDS: dict[str, Callable[[list[str]], int | None]] = {"task-diversity": task_diversity}
"""Name of each subcommand and the function that runs it."""
