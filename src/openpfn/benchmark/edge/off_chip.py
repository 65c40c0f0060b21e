"""Methods that are trained on a computer and only asked on the chip: emlearn's forests, XGBoost and
an MLP, none of them larger than a given number of bytes."""

from __future__ import annotations

import importlib
import importlib.util
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.special import softmax
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from openpfn.benchmark.edge.model_code import (
    boosted_source,
    forest_source,
    mlp_source,
    n_leaves,
)
from openpfn.export.network.quantize import quantise_rows

PACKAGES = {"emlearn_forest": "emlearn", "xgboost": "xgboost", "small_mlp": "sklearn"}
"""The methods, with the package that each needs."""
SHARES = (1 / 16, 1 / 4, 1.0)
"""Shares of the allowed bytes that the search tries."""
N_FOLDS = 3
"""Folds of the context rows by which it chooses."""
MOST_TREES = {"emlearn_forest": 50, "xgboost": 100}
"""Trees of a forest, and rounds of boosting, at most."""
WIDEST = 128
"""Hidden units at most: on so few rows more change nothing."""
CODE_BYTES = {"emlearn_forest": 400, "xgboost": 1100, "small_mlp": 1200}
"""Upper bounds of the flash that a method takes on a Cortex-M4F beside its model (-Os)."""
LEAF_BYTES = {"emlearn_forest": 15, "xgboost": 26}
"""Upper bounds of the flash for a leaf and the decision above it, as nested ifs."""

Answers = Float[np.ndarray, "Q k"]


@dataclass(frozen=True)
class Trained:
    """A trained model."""

    predict_proba: Callable[[Float[np.ndarray, "Q D"]], Answers]
    """The probabilities of the classes 0 … k − 1 for rows without missing values, as the C code
    answers them."""
    n_bytes: int
    """Flash that it takes at most on a Cortex-M4F."""
    source: Callable[[], str]
    """The C code, as `learner_costs` takes it."""


def present() -> list[str]:
    """Return the methods whose package is installed."""
    return [
        name for name, package in PACKAGES.items() if importlib.util.find_spec(package) is not None
    ]


def fit_within(
    name: str,
    x: Float[np.ndarray, "n D"],
    y: Int[np.ndarray, " n"],
    n_bytes: int,
    precision_bytes: int,
    seed: int,
) -> Trained:
    """Return the method `name`, trained on rows of classes 0 … k − 1, all of them present, in the
    size of `SHARES` of `n_bytes` with the least log-loss over folds of the rows.

    `precision_bytes` are those of a weight of the MLP: 4, or 1 for 8 bits and a scale per row.
    """
    train = _TRAINERS[name]
    sizes = [int(share * n_bytes) for share in SHARES]
    losses = np.zeros(len(sizes))
    for shown, held in folds(y, seed):
        present_classes, labels = np.unique(y[shown], return_inverse=True)
        if len(present_classes) < 2:
            continue
        for i, model in enumerate(train(x[shown], labels, sizes, precision_bytes, seed)):
            p = np.full((len(held), int(y.max()) + 1), 1e-3)
            p[:, present_classes] = model.predict_proba(x[held])
            losses[i] -= np.log(np.maximum(p[np.arange(len(held)), y[held]], 1e-7)).sum()
    return train(x, y, [sizes[int(losses.argmin())]], precision_bytes, seed)[0]


def folds(y: Int[np.ndarray, " n"], seed: int) -> Sequence[tuple[np.ndarray, np.ndarray]]:
    """Return the rows of each fold's two sides, with all classes on both where there are rows."""
    n_folds = min(N_FOLDS, len(y))
    kind = StratifiedKFold if np.bincount(y).min() >= n_folds else KFold
    return list(kind(n_folds, shuffle=True, random_state=seed).split(y[:, None], y))


def train_forest(
    x: Any, y: Any, sizes: Sequence[int], precision_bytes: int, seed: int
) -> list[Trained]:
    """Return, for each size, as many trees of a random forest as fit. Trees vote for one class
    each, as in emlearn's code; a class gets one more vote."""
    n_classes, scale = int(y.max()) + 1, int16_scale(x)
    forest = RandomForestClassifier(MOST_TREES["emlearn_forest"], random_state=seed, n_jobs=1)
    forest.fit(to_int16(x, scale), y)
    leaves = np.cumsum([tree.get_n_leaves() for tree in forest.estimators_])

    def cut(n_bytes: int) -> Trained:
        room = (n_bytes - CODE_BYTES["emlearn_forest"]) / LEAF_BYTES["emlearn_forest"]
        n_trees = max(1, int((leaves <= room).sum()))
        trees = forest.estimators_[:n_trees]

        def predict_proba(asked: Any) -> Answers:
            shown = to_int16(asked, scale).astype(np.float32)
            votes = np.ones((len(asked), n_classes))
            for tree in trees:
                chosen = tree.tree_.predict(shown).reshape(len(asked), -1).argmax(axis=1)
                votes[np.arange(len(asked)), chosen] += 1
            return votes / votes.sum(axis=1, keepdims=True)

        taken = int(leaves[n_trees - 1]) * LEAF_BYTES["emlearn_forest"]
        source = partial(forest_source, forest, n_trees, scale, n_classes)
        return Trained(predict_proba, taken + CODE_BYTES["emlearn_forest"], source)

    return [cut(n_bytes) for n_bytes in sizes]


def train_xgboost(
    x: Any, y: Any, sizes: Sequence[int], precision_bytes: int, seed: int
) -> list[Trained]:
    """Return, for each size, as many rounds of XGBoost (with its defaults) as fit."""
    xgboost: Any = importlib.import_module("xgboost")

    n_classes = int(y.max()) + 1
    goal = {"objective": "multi:softprob", "num_class": n_classes, "seed": seed, "nthread": 1}
    shown = xgboost.DMatrix(x, label=y)
    n_rounds = MOST_TREES["xgboost"]
    booster = xgboost.train({**goal, "verbosity": 0}, shown, num_boost_round=n_rounds)
    trees = [json.loads(text) for text in booster.get_dump(dump_format="json")]
    leaves = np.cumsum(np.reshape([n_leaves(tree) for tree in trees], (-1, n_classes)).sum(axis=1))

    def cut(n_bytes: int) -> Trained:
        room = (n_bytes - CODE_BYTES["xgboost"]) / LEAF_BYTES["xgboost"]
        n_rounds = max(1, int((leaves <= room).sum()))

        def margins(asked: Any) -> Answers:
            rows = xgboost.DMatrix(np.asarray(asked, dtype=np.float32))
            return booster.predict(rows, output_margin=True, iteration_range=(0, n_rounds))

        def source() -> str:
            return boosted_source(trees[: n_rounds * n_classes], margins(x[:1])[0], x[0], n_classes)

        taken = int(leaves[n_rounds - 1]) * LEAF_BYTES["xgboost"] + CODE_BYTES["xgboost"]
        return Trained(lambda asked: softmax(margins(asked), axis=1), taken, source)

    return [cut(n_bytes) for n_bytes in sizes]


def train_mlp(
    x: Any, y: Any, sizes: Sequence[int], precision_bytes: int, seed: int
) -> list[Trained]:
    """Return, for each size, scikit-learn's MLP with one hidden layer (L-BFGS, weight decay 1), as
    wide as fits and at most `WIDEST`; of 8-bit weights the rounded ones answer."""
    n_classes, n_columns = int(y.max()) + 1, x.shape[1]
    extra = 8 if precision_bytes == 1 else 4  # a bias, and the scale of a row
    unit = precision_bytes * (n_columns + n_classes) + extra
    fixed = CODE_BYTES["small_mlp"] + n_classes * extra
    widths = [int(np.clip((n_bytes - fixed) // unit, 1, WIDEST)) for n_bytes in sizes]
    made = {width: one_mlp(x, y, width, precision_bytes, seed) for width in set(widths)}
    return [
        Trained(made[width][0], fixed + width * unit, partial(mlp_source, *made[width][1]))
        for width in widths
    ]


def one_mlp(x: Any, y: Any, width: int, precision_bytes: int, seed: int) -> tuple[Any, Any]:
    """Return the answers of a trained MLP, and its two matrices and two biases; what standardises
    the columns is folded into the first ones."""
    scaler = StandardScaler().fit(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged after all its steps
        mlp = MLPClassifier((width,), solver="lbfgs", alpha=1.0, max_iter=100, random_state=seed)
        mlp.fit(scaler.transform(x), y)
    plain = (mlp.coefs_[0] / scaler.scale_[:, None]).T.astype(np.float32)  # (width, columns)
    outer, last = mlp.coefs_[1].T.astype(np.float32), mlp.intercepts_[1].astype(np.float32)
    if len(last) == 1:  # two classes: a single logit
        outer, last = np.concatenate([0 * outer, outer]), np.concatenate([0 * last, last])
    kept, inner = [plain, outer], plain
    if precision_bytes == 1:
        kept = [quantise_rows(plain), quantise_rows(outer)]
        inner, outer = (matrix.restored() for matrix in kept)
    # right at the columns' means, whatever was rounded
    bias = (mlp.intercepts_[0] - inner @ scaler.mean_).astype(np.float32)

    def predict_proba(asked: Any) -> Answers:
        hidden = np.maximum(np.asarray(asked, dtype=np.float32) @ inner.T + bias, 0)
        return softmax(hidden @ outer.T + last, axis=1)

    return predict_proba, (*kept, bias, last)


_TRAINERS: dict[str, Callable[..., list[Trained]]] = {
    "emlearn_forest": train_forest,
    "xgboost": train_xgboost,
    "small_mlp": train_mlp,
}


def int16_scale(x: Float[np.ndarray, "n D"]) -> Float[np.ndarray, "2 D"]:
    """Return a middle and a factor by which the context's columns fill a quarter of 16 bits."""
    low, high = x.min(axis=0), x.max(axis=0)
    return np.stack([(low + high) / 2, 8000 / np.where(high > low, high - low, 1)])


def to_int16(x: Float[np.ndarray, "n D"], scale: Float[np.ndarray, "2 D"]) -> Any:
    """Return rows in 16 bits, as emlearn's code reads them."""
    return np.clip(np.rint((x - scale[0]) * scale[1]), -32768, 32767).astype(np.int16)
