"""Turn a network that was shown a table into a small model that needs no torch: trees, an MLP or a
linear model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from openpfn.cli._tables import check_output

if TYPE_CHECKING:
    import pandas as pd

HELD_OUT = 0.25
"""Share of the rows that the loss of quality is measured on where no other table is given."""


@dataclass(frozen=True)
class DistillOptions:
    """Turn a network that was shown a table into a small model that needs no torch.

    Prints how near the model comes to the network, and both of their scores on rows whose targets
    neither has seen: those of --test, or a quarter of TRAIN that is held out for it (the model that
    is written then learns from all rows).
    """

    train: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="TRAIN")]
    """The table (CSV, TSV or parquet) whose rows are the context."""
    target: str
    """The column to predict."""
    out: Path
    """Where to write the model, a safetensors file without pickle."""
    kind: Literal["trees", "mlp", "linear"] = "trees"
    """Gradient-boosted trees, a multilayer perceptron, or a linear model."""
    test: Path | None = None
    """A table of the same columns and the target, to score both with."""
    task: Literal["auto", "classification", "regression"] = "auto"
    """Whether the target is a class or a number; auto decides as `openpfn predict` does."""
    n_rows: int | None = None
    """Rows to learn from, made of those of TRAIN; 20 times as many if absent, from 2,000 to
    10,000."""
    force: bool = False
    """Overwrite the file at --out if there is one."""
    checkpoint: str = "auto"
    """A checkpoint's path or shipped name; auto is nano."""
    n_estimators: int = 4
    """Views of the table whose answers are averaged."""
    fine_tune: bool = False
    """Fine-tune the network to the table first."""
    device: str = "auto"
    """auto (cuda, then mps, then cpu) or a torch device."""
    seed: int = 0
    """Decides the views, the rows and the fit."""


def main(argv: list[str]) -> int:
    """Read the table, fit, distil, measure, write the file."""
    options = tyro.cli(DistillOptions, args=argv, prog="openpfn distill")
    inputs = [options.train, *([options.test] if options.test else [])]
    check_output(options.out, inputs, options.force)
    X, y, task = labelled(options.train, options)
    if options.test is not None:
        X_test, y_test, _ = labelled(options.test, options, task)
        fitted, model = distilled(options, task, X, y)
        report(model, fitted, X_test[X.columns], y_test, f"on {options.test}")
    else:
        held = held_out(y, task, options.seed)
        fitted, trial = distilled(options, task, X.loc[~held], y[~held])
        report(trial, fitted, X.loc[held], y[held], "held out, by a model of the others")
        _, model = distilled(options, task, X, y)
    model.save(options.out)
    print(f"{options.kind} in {options.out}, {options.out.stat().st_size / 1000:.0f} kB")
    return 0


def labelled(
    path: Path, options: DistillOptions, task: str | None = None
) -> tuple[pd.DataFrame, Any, str]:
    """Return columns and targets of the rows of `path` that have a target, and the task."""
    from openpfn.tables.load import read_table, require_columns
    from openpfn.tables.target import read_target

    table = read_table(path)
    require_columns(table, [options.target], path)
    y = table[options.target]
    found = read_target(y)
    task = task or (found.task if options.task == "auto" else options.task)
    known = y.notna().to_numpy()
    targets = y.to_numpy()
    if task == "regression":
        targets = found.numbers(y)
        known = targets == targets
    if not known.any():
        raise ValueError(f"column {options.target!r} of {path} holds no targets.")
    X = table.drop(columns=options.target).loc[known].reset_index(drop=True)
    return X, targets[known], task


def held_out(y: Any, task: str, seed: int) -> Any:
    """Return a mask of the rows that are held out, with a share of each class."""
    import numpy as np
    from sklearn.model_selection import train_test_split

    strata = None
    if task == "classification":
        _, classes, counts = np.unique(y.astype(str), return_inverse=True, return_counts=True)
        n_held = int(np.ceil(HELD_OUT * len(y)))
        if counts.min() >= 2 and n_held >= len(counts):
            strata = classes
    if len(y) < 8:
        raise ValueError(
            f"there are {len(y)} rows with a target, too few to hold some out. Give at least 8, or"
            " a table to score with as --test."
        )
    _, held = train_test_split(
        np.arange(len(y)), test_size=HELD_OUT, random_state=seed, stratify=strata
    )
    return np.isin(np.arange(len(y)), held)


def distilled(options: DistillOptions, task: str, X: Any, y: Any) -> tuple[Any, Any]:
    """Return the estimator fitted to the rows, and the model that learned from it."""
    from openpfn.estimators import PFNClassifier, PFNRegressor

    kind = PFNClassifier if task == "classification" else PFNRegressor
    fitted = kind(
        options.checkpoint,
        n_estimators=options.n_estimators,
        device=options.device,
        random_state=options.seed,
        fine_tune=options.fine_tune,
    ).fit(X, y)
    model = fitted.distill(options.kind, n_rows=options.n_rows, random_state=options.seed)
    return fitted, model


def report(model: Any, fitted: Any, X: pd.DataFrame, y: Any, which: str) -> None:
    """Print how near the model is to the network, and the scores of both."""
    from openpfn.estimators.distilling.fidelity import what_is_kept

    if model.fidelity_ is not None:
        print(f"the model {model.fidelity_}")
        print(f"{what_is_kept(fitted, model, X, y)} ({len(X)} rows {which})")
