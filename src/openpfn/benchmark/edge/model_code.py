"""C of models that were trained on a computer: nested ifs for trees, matrices for an MLP, behind
the interface of a learner."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np
from jaxtyping import Float

from openpfn.export.c_code import braced
from openpfn.export.network.quantize import from_upper_halves

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
        emlearn: Any = importlib.import_module("emlearn")

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
