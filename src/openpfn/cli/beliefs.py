"""Ask what the networks of a sweep of task diversity believe; runs are found by configuration.

raventos draws errors and distances against the number of tasks, losses along training, length on
longer contexts; prior-recovery draws the implied prior of the coefficients, posterior what is
believed about them after some rows, prompt the predictive density of the next target.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import tyro

from openpfn.cli import run_subcommand
from openpfn.files import replacing


@dataclass(frozen=True)
class BeliefsOptions:
    """Which runs are asked, and how. None stands for any."""

    registry: Path = Path("task-diversity/registry")
    """The registry that the runs are in."""
    tasks: int | None = None
    """Runs with this many tasks; prior-recovery, posterior and prompt ask each of the runs."""
    task_size: int | None = None
    """Runs with this many columns."""
    seed: int | None = None
    """Runs of this seed."""
    steps: tuple[int, ...] = ()
    """Kept steps that prior-recovery looks at; all by default."""
    n_samples: int = 500
    """Rollouts for each prompt, or from nothing."""
    horizon: int = 64
    """Rows of each rollout."""
    n_context: int = 8
    """Rows of a prompt."""
    prompts: int = 9
    """Prompts of posterior and prompt."""
    old: bool = False
    """Prompts come from the tasks trained on, not from new ones."""
    eval_batch: int = 512
    """Sequences that scores are measured on."""
    times: float = 2.0
    """Length of the sequences of length, in those of training."""
    out: Path = Path("beliefs")
    """Folder of the pictures and tables."""


def main(argv: list[str]) -> int | None:
    """Run the question that `argv` begins with."""
    names = ",".join(QUESTIONS)
    usage = f"{__doc__}\nusage: openpfn beliefs {{{names}}} [OPTIONS]; --help after one tells them."
    asked = {name: partial(ask, name) for name in QUESTIONS}
    return run_subcommand(argv, asked, usage)


def ask(name: str, argv: list[str]) -> int:
    """Find the runs, answer the question, and write its pictures and tables."""
    options = tyro.cli(BeliefsOptions, args=argv, prog=f"openpfn beliefs {name}")
    for field in ("n_samples", "horizon", "prompts", "eval_batch"):
        if getattr(options, field) < 1:
            raise ValueError(f"{field} is {getattr(options, field)}, must be at least 1.")
    from openpfn.bayes.task_diversity.questions import find_runs

    try:
        runs = find_runs(
            options.registry,
            n_tasks=options.tasks,
            task_size=options.task_size,
            seed=options.seed,
        )
    except LookupError as error:
        raise ValueError(error.args[0]) from error
    options.out.mkdir(parents=True, exist_ok=True)
    QUESTIONS[name](options, runs)
    return 0


def raventos(options: BeliefsOptions, runs: list[Any]) -> None:
    from openpfn.bayes.task_diversity import questions
    from openpfn.plots.task_diversity import raventos_figure

    table = questions.raventos(runs, options.eval_batch)
    write(options, "raventos", raventos_figure(table), table)


def losses(options: BeliefsOptions, runs: list[Any]) -> None:
    from openpfn.bayes.task_diversity import questions
    from openpfn.plots.task_diversity_beliefs import losses_figure

    table = questions.losses(runs, options.eval_batch)
    write(options, "losses", losses_figure(table), table)


def length(options: BeliefsOptions, runs: list[Any]) -> None:
    from openpfn.bayes.task_diversity import questions
    from openpfn.plots.task_diversity_beliefs import length_figure

    table = questions.length(runs, options.eval_batch, options.times)
    trained = int(runs[0].record.data_config["examples"])
    write(options, "length", length_figure(table, trained), table)


def prior_recovery(options: BeliefsOptions, runs: list[Any]) -> None:
    from openpfn.bayes.task_diversity import questions
    from openpfn.plots.task_diversity_beliefs import prior_figure

    for run in runs:
        found = questions.prior_recovery(
            run,
            options.steps or None,
            n_samples=options.n_samples,
            horizon=options.horizon,
        )
        figure = prior_figure(found.steps, found.draws, found.pool)
        write(options, f"prior-{run.record.name}", figure, found.distances)


def posterior(options: BeliefsOptions, runs: list[Any]) -> None:
    import pandas as pd

    from openpfn.bayes.task_diversity import questions
    from openpfn.plots.task_diversity_beliefs import posterior_figure

    for run in runs:
        found = questions.posterior(
            run,
            n_context=options.n_context,
            prompts=options.prompts,
            n_samples=options.n_samples,
            horizon=options.horizon,
            old=options.old,
        )
        figure = posterior_figure(found.draws, found.ridge, found.dmmse, found.truth)
        rows = [
            {"to": name, "value": apart.value, "error": apart.error, "p_value": apart.p_value}
            for name, apart in (("ridge", found.to_ridge), ("dMMSE", found.to_dmmse))
        ]
        write(options, f"posterior-{run.record.name}", figure, pd.DataFrame(rows))


def prompt(options: BeliefsOptions, runs: list[Any]) -> None:
    from openpfn.bayes.task_diversity import questions
    from openpfn.plots.task_diversity_beliefs import prompt_figure

    for run in runs:
        found = questions.prompt(
            run, n_context=options.n_context, prompts=options.prompts, old=options.old
        )
        figure = prompt_figure(found.y, found.network, found.ridge, found.dmmse, found.truth)
        write(options, f"prompt-{run.record.name}", figure)


def write(options: BeliefsOptions, name: str, figure: Any, table: Any = None) -> None:
    """Write a picture, and its table where there is one, and say where they are."""
    path = options.out / f"{name}.png"
    with replacing(path) as unfinished:
        figure.savefig(unfinished, format="png")
    print(path)
    if table is None:
        return
    with replacing(path.with_suffix(".csv")) as unfinished:
        table.to_csv(unfinished, index=False, float_format="%.6g")
    if len(table.columns) <= 6:
        print(table.to_string(index=False))


QUESTIONS: dict[str, Callable[[BeliefsOptions, list[Any]], None]] = {
    "raventos": raventos,
    "prior-recovery": prior_recovery,
    "losses": losses,
    "posterior": posterior,
    "length": length,
    "prompt": prompt,
}
"""Name of each question and the function that answers it."""
