"""Methods that are trained on a computer and only asked on the chip: emlearn's forests, XGBoost and
an MLP, none of them larger than a given number of bytes."""

from __future__ import annotations

import importlib.util
import json
import warnings
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from openpfn.export.c_code import braced
from openpfn.export.network.quantize import from_upper_halves, quantise_rows

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
    import xgboost

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
        return Trained(lambda asked: softmax(margins(asked)), taken, source)

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
        return softmax(hidden @ outer.T + last)

    return predict_proba, (*kept, bias, last)


_TRAINERS: dict[str, Callable[..., list[Trained]]] = {
    "emlearn_forest": train_forest,
    "xgboost": train_xgboost,
    "small_mlp": train_mlp,
}


def softmax(scores: Answers) -> Answers:
    """Return probabilities in place of scores."""
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def int16_scale(x: Float[np.ndarray, "n D"]) -> Float[np.ndarray, "2 D"]:
    """Return a middle and a factor by which the context's columns fill a quarter of 16 bits."""
    low, high = x.min(axis=0), x.max(axis=0)
    return np.stack([(low + high) / 2, 8000 / np.where(high > low, high - low, 1)])


def to_int16(x: Float[np.ndarray, "n D"], scale: Float[np.ndarray, "2 D"]) -> Any:
    """Return rows in 16 bits, as emlearn's code reads them."""
    return np.clip(np.rint((x - scale[0]) * scale[1]), -32768, 32767).astype(np.int16)


HEAD = """#include <math.h>
#include <stdint.h>

#define TRAINED_ELSEWHERE
typedef struct {
    int32_t nothing;
} learner;
"""
SOFTMAX = """
    float most = proba[0], total = 0.0f;
    for (int32_t c = 1; c < N_OUT; c++) {
        most = proba[c] > most ? proba[c] : most;
    }
    for (int32_t c = 0; c < N_OUT; c++) {
        proba[c] = expf(proba[c] - most);
        total += proba[c];
    }
    for (int32_t c = 0; c < N_OUT; c++) {
        proba[c] /= total;
    }
}
"""
PREDICT = "void learner_predict_proba(const learner *model, const float *row, float *proba) {\n"
FOREST = """
    int16_t features[N_IN];
    (void)model;
    for (int32_t j = 0; j < N_IN; j++) {
        const float value = (row[j] - middle[j]) * factor[j];
        features[j] = (int16_t)(value > 32767.0f ? 32767.0f : value < -32768.0f ? -32768.0f
                                : value + (value < 0.0f ? -0.5f : 0.5f));
    }
    forest_predict_proba(features, N_IN, proba, N_OUT);
    for (int32_t c = 0; c < N_OUT; c++) {
        proba[c] = (proba[c] * N_TREES + 1.0f) / (N_TREES + N_OUT);
    }
}
"""
NESTED = """
    for (int32_t c = 0; c < N_OUT; c++) {
        proba[c] = start[c];
    }
"""
LAYERS = """
    (void)model;
    for (int32_t c = 0; c < N_OUT; c++) {
        proba[c] = last[c];
    }
    for (int32_t h = 0; h < N_HIDDEN; h++) {
        float sum = 0.0f;
        for (int32_t j = 0; j < N_IN; j++) {
            sum += (float)inner[h][j] * row[j];
        }
        sum = sum * INNER_SCALE(h) + bias[h];
        for (int32_t c = 0; c < N_OUT && sum > 0.0f; c++) {
            proba[c] += (float)outer[c][h] * OUTER_SCALE(c) * sum;
        }
    }
"""


def forest_source(
    forest: Any, n_trees: int, scale: Float[np.ndarray, "2 D"], n_classes: int
) -> str:
    """Return emlearn's C of the first trees of a forest on 16-bit rows, behind the interface of a
    learner."""
    with np.errstate():  # importing it makes numpy raise where numbers underflow
        import emlearn

    kept = copy(forest)
    kept.estimators_ = forest.estimators_[:n_trees]
    inline = emlearn.convert(kept, method="inline", dtype="int16_t").save(name="forest", format="c")
    sizes = {"N_IN": scale.shape[1], "N_OUT": n_classes, "N_TREES": n_trees}
    constants = f"static const float middle[N_IN] = {braced(scale[0].astype(np.float32))};\n"
    constants += f"static const float factor[N_IN] = {braced(scale[1].astype(np.float32))};\n"
    return HEAD + defines(sizes) + inline + constants + PREDICT + FOREST


def boosted_source(
    trees: Sequence[Any],
    margin: Float[np.ndarray, " k"],
    row: Float[np.ndarray, " D"],
    n_classes: int,
) -> str:
    """Return C of boosted trees as nested ifs; where they start is what the trees leave of the
    `margin` of one `row`."""
    start = np.array(margin, dtype=np.float64)
    for number, tree in enumerate(trees):
        start[number % n_classes] -= leaf_of(tree, np.asarray(row, dtype=np.float32))
    body = "".join(
        nested(tree, f"proba[{number % n_classes}]", 1) for number, tree in enumerate(trees)
    )
    constants = f"static const float start[N_OUT] = {braced(start.astype(np.float32))};\n"
    code = PREDICT + "    (void)model;" + NESTED + body + SOFTMAX
    return HEAD + defines({"N_OUT": n_classes}) + constants + code


def mlp_source(inner: Any, outer: Any, bias: np.ndarray, last: np.ndarray) -> str:
    """Return C of an MLP whose matrices are floats, or 8 bits and a scale per row."""
    in_floats = isinstance(inner, np.ndarray)
    shape = (inner if in_floats else inner.weight).shape
    sizes = {"N_IN": shape[1], "N_HIDDEN": shape[0], "N_OUT": len(last)}
    lines = [HEAD + defines(sizes)]
    for name, matrix, size in (("inner", inner, "N_HIDDEN"), ("outer", outer, "N_OUT")):
        columns = "N_IN" if name == "inner" else "N_HIDDEN"
        kind, values = ("float", matrix) if in_floats else ("int8_t", matrix.weight)
        lines.append(f"static const {kind} {name}[{size}][{columns}] = {braced(values)};")
        letter = name[0]
        if in_floats:
            lines.append(f"#define {name.upper()}_SCALE({letter}) 1.0f")
        else:
            scale = from_upper_halves(matrix.scale)
            lines.append(f"static const float {name}_scale[{size}] = {braced(scale)};")
            lines.append(f"#define {name.upper()}_SCALE({letter}) {name}_scale[{letter}]")
    lines += [f"static const float bias[N_HIDDEN] = {braced(bias)};"]
    lines += [f"static const float last[N_OUT] = {braced(last)};", PREDICT + LAYERS + SOFTMAX]
    return "\n".join(lines)


def defines(sizes: dict[str, int]) -> str:
    """Return sizes as macros."""
    return "".join(f"#define {name} {value}\n" for name, value in sizes.items())


def n_leaves(tree: Any) -> int:
    """Return the leaves of a tree in XGBoost's JSON."""
    return sum(map(n_leaves, tree["children"])) if "children" in tree else 1


def branch(tree: Any, is_less: bool) -> Any:
    """Return the subtree of rows below the threshold, or of the others."""
    wanted = tree["yes"] if is_less else tree["no"]
    return next(child for child in tree["children"] if child["nodeid"] == wanted)


def leaf_of(tree: Any, row: Float[np.ndarray, " D"]) -> float:
    """Return what a tree adds to the margin of a row."""
    while "children" in tree:
        threshold = np.float32(tree["split_condition"])
        tree = branch(tree, bool(row[int(tree["split"][1:])] < threshold))
    return float(tree["leaf"])


def nested(tree: Any, result: str, depth: int) -> str:
    """Return a tree as nested ifs that add to `result`."""
    indent = "    " * depth
    if "children" not in tree:
        return f"{indent}{result} += {number(tree['leaf'])};\n"
    less, more = (nested(branch(tree, one), result, depth + 1) for one in (True, False))
    test = f"row[{int(tree['split'][1:])}] < {number(tree['split_condition'])}"
    return f"{indent}if ({test}) {{\n{less}{indent}}} else {{\n{more}{indent}}}\n"


def number(value: float) -> str:
    """Return a number as C source in float32."""
    return braced(np.array([value], dtype=np.float32))[1:-1]
