"""`profile_prior`: how learnable a prior's tasks are, what they look like, and how rich the graphs
behind them are."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from openpfn.batch import TaskBatch

BATCH = 8
MOST_REFUSED = 50


def profile_prior(prior: Any, n_tasks: int = 200, seed: int = 0) -> dict[str, Any]:
    """Figures over `n_tasks` tasks of `prior` (anything with `sample(n_tasks, generator)`) as one
    flat dictionary; batches of regression tasks are passed over.

    A random forest and a logistic regression are fitted on each task's context rows and scored on
    its query rows; `*_gain` is their accuracy minus that of always guessing the context's majority
    class, `*_flat` the share of tasks where they gain less than .05. `hidden_width` and `depth` are
    means over the tasks of the latents of these names, where the prior reports them.
    """
    generator = torch.Generator().manual_seed(seed)
    batches, drawn = [], 0
    refused = 0
    while drawn < n_tasks:
        batch = prior.sample(min(BATCH, n_tasks - drawn), generator)
        if batch.n_classes is None:
            refused += 1
            if refused > MOST_REFUSED and not batches:
                raise ValueError(
                    f"{refused} batches hold regression tasks alone; the profile compares"
                    " classifiers. Give a prior that draws classes, such as one with"
                    " regression_share 0."
                )
            continue
        batches.append(batch)
        drawn += batch.n_tasks
    return {"tasks": drawn, **learnability_of(batches), **appearance_of(batches)}


def appearance_of(batches: list[TaskBatch]) -> dict[str, Any]:
    """Shapes, classes, column types and the latents `hidden_width` and `depth`, averaged over
    tasks."""
    classes = torch.cat([batch.n_classes for batch in batches if batch.n_classes is not None])
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
    report = {
        "rows": float(np.mean([batch.n_rows for batch in batches])),
        "context_share": float(np.mean([batch.n_train / batch.n_rows for batch in batches])),
        "columns": float(torch.cat(real).mean()),
        "classes": float(classes.float().mean()),
        "class_counts": {
            int(k): round(float((classes == k).float().mean()), 3) for k in classes.unique()
        },
        "categorical_columns": float(torch.cat(codes).mean()),
        "whole_number_columns": float(torch.cat(whole).mean()),
        "constant_columns": float(torch.cat(constant).mean()),
        "columns_with_missing": float((missing_cells > 0).float().mean()),
        "missing_cells": float(missing_cells.mean()),
    }
    for name in ("hidden_width", "depth"):
        if all(name in batch.latents for batch in batches):
            report[name] = float(torch.cat([batch.latents[name] for batch in batches]).mean())
    return report


def learnability_of(batches: list[TaskBatch]) -> dict[str, float]:
    """Accuracy and gain over the majority class of a random forest and of logistic regression,
    averaged over tasks."""
    scores = np.array(
        [_scores(batch.tasks(slice(i, i + 1))) for batch in batches for i in range(batch.n_tasks)]
    )
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


def _scores(task: TaskBatch) -> tuple[float, float, float]:
    """Accuracy on the query rows of the majority class, a random forest and a logistic
    regression."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    assert task.x is not None
    width = task.n_columns if task.n_features is None else int(task.n_features[0])
    x, y = task.x[0, :, :width].double().numpy(), task.y[0].long().numpy()
    train, test = slice(0, task.n_train), slice(task.n_train, None)
    majority = np.bincount(y[train]).argmax()
    accuracies = [float((y[test] == majority).mean())]
    models = (
        RandomForestClassifier(60, random_state=0, n_jobs=1),
        make_pipeline(
            SimpleImputer(keep_empty_features=True),
            StandardScaler(),
            LogisticRegression(max_iter=300),
        ),
    )
    for model in models:
        if len(np.unique(y[train])) < 2:
            accuracies.append(accuracies[0])
        else:
            accuracies.append(float(model.fit(x[train], y[train]).score(x[test], y[test])))
    return accuracies[0], accuracies[1], accuracies[2]
