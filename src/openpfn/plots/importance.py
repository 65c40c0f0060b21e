"""Which columns move predictions: bars of Shapley values or of permutation importance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from openpfn.plots.beliefs import INK, WIDTH, named, quiet

UP, DOWN = "#c8452f", "#2f6f8f"
MOST_COLUMNS = 15
"""Columns that are drawn at most, the most important ones."""
MOST_LETTERS = 28
"""Letters of a name that find room."""


def importance(
    values: Any,
    names: Sequence[Any] | None = None,
    *,
    output: int | str | None = None,
    most: int = MOST_COLUMNS,
    axes: Axes | None = None,
    x_label: str | None = None,
) -> Axes:
    """Draw a bar per column, the most important on top.

    Parameters
    ----------
    values : what was measured, one of
        an explanation of Q rows, as `PFNExplainer(model)(X)` gives it: mean sizes of the Shapley
        values (of one row, `explanation[i]`: the values with their signs);
        what `sklearn.inspection.permutation_importance` returns: means, with whiskers of one
        standard deviation;
        numbers (D,), drawn as they are.
    names : names of the columns; those of the explanation by default.
    output : of an explanation of several classes the index or name of one; by default the mean size
        over all.
    most : columns that are drawn at most.
    axes : where to draw; a new figure by default.
    x_label : what the bars show.

    Raises ValueError for another number of names than of columns, for an unknown class, and for one
    row of several classes without `output`.
    """
    sizes, spread, found, label = _read(values, output)
    chosen = [str(name) for name in (found if names is None else names)]
    if names is None and not chosen:
        chosen = [f"column {i}" for i in range(len(sizes))]
    if len(chosen) != len(sizes):
        raise ValueError(
            f"names holds {len(chosen)} names, but there are values of {len(sizes)} columns. Give"
            " one name per column."
        )
    if most < 1:
        raise ValueError(f"most is {most}, must be at least 1.")
    order = np.argsort(-np.abs(sizes), kind="stable")[:most]
    if axes is None:
        height = 0.9 + 0.3 * len(order)
        axes = Figure(figsize=(WIDTH * 0.75, height), layout="constrained").subplots()
    places = np.arange(len(order))[::-1]
    axes.barh(
        places,
        sizes[order],
        xerr=None if spread is None else spread[order],
        color=[UP if size >= 0 else DOWN for size in sizes[order]],
        height=0.7,
        error_kw={"elinewidth": 1, "capsize": 2, "ecolor": INK},
    )
    axes.set_yticks(places, [_cut(chosen[i]) for i in order])
    axes.axvline(0, color=INK, linewidth=0.8)
    left_out = len(sizes) - len(order)
    more = f" ({left_out} more columns)" if left_out else ""
    named(quiet(axes), x_label=(label if x_label is None else x_label) + more)
    axes.grid(axis="y", visible=False)
    return axes


def _read(
    values: Any, output: int | str | None
) -> tuple[Float[np.ndarray, " D"], Float[np.ndarray, " D"] | None, list[str], str]:
    """Return a number per column, its standard deviation if known, names, and what it is."""
    if hasattr(values, "importances_mean"):
        mean, std = np.asarray(values.importances_mean), np.asarray(values.importances_std)
        return mean, std, [], "loss of score where the column is shuffled"
    if not hasattr(values, "base_values"):
        return np.asarray(values, dtype=np.float64).ravel(), None, [], "importance"
    found = np.asarray(values.values, dtype=np.float64)
    names = list(values.feature_names)
    is_row = found.shape[0] == len(names) and np.ndim(values.data) == 1
    outputs = values.output_names
    has_outputs = found.ndim == (2 if is_row else 3)
    if output is not None and has_outputs:
        found = found[..., _place(output, outputs)]
    elif has_outputs and is_row:
        raise ValueError(
            "the explanation is of one row and several classes. Say which class by output, an"
            " index or a name."
        )
    if is_row:
        return found, None, names, "effect on the prediction (Shapley value)"
    sizes = np.abs(found)
    if sizes.ndim == 3:
        sizes = sizes.mean(axis=2)
    return sizes.mean(axis=0), None, names, "mean size of Shapley values"


def _place(output: int | str, outputs: Any) -> int:
    if isinstance(output, str):
        if outputs is None or output not in list(outputs):
            raise ValueError(
                f"output is {output!r}, must be one of {', '.join(map(str, outputs or []))}."
            )
        return list(outputs).index(output)
    return output


def _cut(name: str) -> str:
    return name if len(name) <= MOST_LETTERS else name[: MOST_LETTERS - 1] + "…"
