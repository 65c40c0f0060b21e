"""What one run of a sweep does: train a table network, or one of a sweep of task diversity."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from openpfn.configs.sweep import words

TellRow = Callable[[Mapping[str, float]], None]


def train_table(options: Mapping[str, Any], folder: Path, tell_row: TellRow) -> dict[str, float]:
    """Train as `openpfn train` does with these options, or go on; gives the last figures, and the
    best loss of the evaluations."""
    from openpfn.cli.train import parse, run
    from openpfn.training.ranks import ALONE
    from openpfn.training.sweep_run import last_figures

    argv = [*words(options), "--out", str(folder)]
    if (folder / "latest.safetensors").exists():
        argv.append("--resume")
    model = run(
        parse(argv),
        ALONE,
        callbacks=[lambda event: tell_row(event.figures) if event.kind == "log" else None],
    )
    rows = model.history.to_dict("records")
    best = model.history["eval_loss"].min()
    return last_figures(rows) | {
        "best_eval_loss": float(best),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }


def train_task_diversity(
    options: Mapping[str, Any], folder: Path, tell_row: TellRow
) -> dict[str, float]:
    """Train one network of a sweep of task diversity, with a single number of `tasks` and a single
    one of `seeds`; gives its scores."""
    import tyro

    from openpfn.bayes.task_diversity.runs import one_run
    from openpfn.bayes.task_diversity.scores import row_of
    from openpfn.configs.diversity import TaskDiversityConfig

    options = dict(options)
    n_threads = int(options.pop("n-threads"))
    config = tyro.cli(
        TaskDiversityConfig,
        args=[*words(options), "--out", str(folder)],
        prog="openpfn sweep (kind: task-diversity)",
    )
    (n_tasks, *other_tasks), (seed, *other_seeds) = config.tasks, config.seeds
    if other_tasks or other_seeds:
        raise ValueError(
            f"a run has tasks {config.tasks} and seeds {config.seeds}: give one number of each, and"
            " the others as values of the grid."
        )
    return row_of(one_run(config, n_tasks, seed, n_threads))
