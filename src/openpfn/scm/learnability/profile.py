"""`profile_prior`: how learnable a prior's tasks are, what they look like, and how rich the graphs
behind them are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from openpfn.batch import TaskBatch

BATCH = 8


def profile_prior(prior: Any, n_tasks: int = 200, seed: int = 0) -> dict[str, Any]:
    """Figures over `n_tasks` tasks of `prior` (anything with `sample(n_tasks, generator)`) as one
    flat dictionary.

    Two models, a random forest and a linear one, are fitted on each task's context rows and scored
    on its query rows. For tasks of classes `*_gain` is their accuracy minus that of always guessing
    the context's majority class, `*_flat` the share of tasks where they gain less than .05; for
    tasks of numbers `*_r2` is the explained share of the variance, at least 0, and `*_r2_flat` the
    share of tasks where it is below .05. Figures of a kind of task that was not drawn are left out.
    `hidden_width` and `depth` are means over the tasks of the latents of these names, where the
    prior reports them.
    """
    generator = torch.Generator().manual_seed(seed)
    batches, drawn = [], 0
    while drawn < n_tasks:
        batches.append(prior.sample(min(BATCH, n_tasks - drawn), generator))
        drawn += batches[-1].n_tasks
    of_classes = [batch for batch in batches if batch.n_classes is not None]
    of_numbers = [batch for batch in batches if batch.n_classes is None]
    n_numbers = sum(batch.n_tasks for batch in of_numbers)
    return {
        "tasks": drawn,
        "regression_share": n_numbers / drawn,
        **(learnability_of(of_classes) if of_classes else {}),
        **(predictability_of(of_numbers) if of_numbers else {}),
        **appearance_of(batches),
    }


def appearance_of(batches: list[TaskBatch]) -> dict[str, Any]:
    """Shapes, classes where there are any, column types and the latents `hidden_width` and `depth`,
    averaged over tasks."""
    n_classes = [batch.n_classes for batch in batches if batch.n_classes is not None]
    real, missing, codes, whole, constant = [], [], [], [], []
    for batch in batches:
        assert batch.x is not None
        widths = (
            batch.n_features
            if batch.n_features is not None
            else torch.full((batch.n_tasks,), batch.n_columns)
        )
        inside = torch.arange(batch.n_columns) < widths.unsqueeze(1)
        columns = batch.x.transpose(1, 2)[inside]  # (columns of all tasks, N)
        filled = columns.nan_to_num(0.0)
        real.append(widths.float())
        missing.append(columns.isnan().float().mean(1))
        codes.append(
            torch.zeros(len(columns))
            if batch.categorical is None
            else batch.categorical[inside].float()
        )
        whole.append((filled == filled.round()).all(1).float())
        constant.append((filled == filled[:, :1]).all(1).float())
    missing_cells = torch.cat(missing)
    report: dict[str, Any] = {
        "rows": float(np.mean([batch.n_rows for batch in batches])),
        "context_share": float(np.mean([batch.n_train / batch.n_rows for batch in batches])),
        "columns": float(torch.cat(real).mean()),
        "categorical_columns": float(torch.cat(codes).mean()),
        "whole_number_columns": float(torch.cat(whole).mean()),
        "constant_columns": float(torch.cat(constant).mean()),
        "columns_with_missing": float((missing_cells > 0).float().mean()),
        "missing_cells": float(missing_cells.mean()),
    }
    if n_classes:
        classes = torch.cat(n_classes)
        report["classes"] = float(classes.float().mean())
        report["class_counts"] = {
            int(k): round(float((classes == k).float().mean()), 3) for k in classes.unique()
        }
    for name in ("hidden_width", "depth"):
        if all(name in batch.latents for batch in batches):
            report[name] = float(torch.cat([batch.latents[name] for batch in batches]).mean())
    return report


def learnability_of(batches: list[TaskBatch]) -> dict[str, float]:
    """Accuracy and gain over the majority class of a random forest and of logistic regression,
    averaged over tasks."""
    scores = np.array([_scores(task) for task in _single_tasks(batches)])
    majority, forest, logistic = scores.T
    return {
        "majority_accuracy": float(majority.mean()),
        "forest_accuracy": float(forest.mean()),
        "forest_gain": float((forest - majority).mean()),
        "forest_flat": float((forest - majority < 0.05).mean()),
        "logistic_accuracy": float(logistic.mean()),
        "logistic_gain": float((logistic - majority).mean()),
        "logistic_flat": float((logistic - majority < 0.05).mean()),
        "logistic_at_least_forest": float((logistic >= forest).mean()),
        "forest_above_95": float((forest > 0.95).mean()),
    }


def predictability_of(batches: list[TaskBatch]) -> dict[str, float]:
    """Explained share of the variance of numeric targets by a random forest and by ridge
    regression, averaged over tasks."""
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.linear_model import RidgeCV

    explained: dict[str, list[float]] = {"forest": [], "ridge": []}
    for task in _single_tasks(batches):
        x, y, train, test = _arrays(task)
        spread = float(((y[test] - y[test].mean()) ** 2).sum())
        if not spread or not y[train].std():
            continue  # a constant has no variance to explain
        models = {
            "forest": RandomForestRegressor(60, random_state=0, n_jobs=1),
            "ridge": _on_scaled(RidgeCV(np.logspace(-2, 3, 11))),
        }
        scale = y[train].std()
        for name, model in models.items():
            model.fit(x[train], y[train] / scale)
            error = float(((y[test] - scale * model.predict(x[test])) ** 2).sum())
            explained[name].append(max(0.0, 1 - error / spread))
    found: dict[str, float] = {}
    for name, values in explained.items():
        found[f"{name}_r2"] = float(np.mean(values)) if values else 0.0
        found[f"{name}_r2_flat"] = float(np.mean(np.array(values) < 0.05)) if values else 1.0
    return found


def _single_tasks(batches: list[TaskBatch]) -> Iterator[TaskBatch]:
    for batch in batches:
        for i in range(batch.n_tasks):
            yield batch.tasks(slice(i, i + 1))


def _arrays(task: TaskBatch) -> tuple[np.ndarray, np.ndarray, slice, slice]:
    """Columns without padding and targets of one task, its context and its query rows."""
    assert task.x is not None
    width = task.n_columns if task.n_features is None else int(task.n_features[0])
    x, y = task.x[0, :, :width].double().numpy(), task.y[0].double().numpy()
    return x, y, slice(0, task.n_train), slice(task.n_train, None)


def _on_scaled(model: Any) -> Any:
    """The model behind filled and scaled columns."""
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler(), model)


def _scores(task: TaskBatch) -> tuple[float, float, float]:
    """Accuracy on the query rows of the majority class, a random forest and a logistic
    regression."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression

    x, targets, train, test = _arrays(task)
    y = targets.astype(np.int64)
    majority = np.bincount(y[train]).argmax()
    accuracies = [float((y[test] == majority).mean())]
    models = (
        RandomForestClassifier(60, random_state=0, n_jobs=1),
        _on_scaled(LogisticRegression(max_iter=300)),
    )
    for model in models:
        if len(np.unique(y[train])) < 2:
            accuracies.append(accuracies[0])
        else:
            accuracies.append(float(model.fit(x[train], y[train]).score(x[test], y[test])))
    return accuracies[0], accuracies[1], accuracies[2]
