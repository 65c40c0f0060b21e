"""Means of the results of `openpfn benchmark edge`, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from openpfn.benchmark.edge.config import METRICS
from openpfn.benchmark.metrics import SMALLER_IS_BETTER

FEW = 50
"""Context rows up to which few labels are at hand: what networks on a chip are for."""

Rows = Sequence[Mapping[str, Any]]


def means(rows: Rows) -> list[dict[str, Any]]:
    """Return the means over tables per suite, number of context rows and method, and for libraries
    the points of accuracy lost against f32."""
    found = []
    for suite, n in dict.fromkeys((row["suite"], row["rows"]) for row in rows):
        counted = [
            row for row in rows if (row["suite"], row["rows"]) == (suite, n) and row["counted"]
        ]
        for method in dict.fromkeys(row["method"] for row in counted):
            own = {row["table"]: row for row in counted if row["method"] == method}
            one = {"suite": suite, "rows": n, "method": method, "n_tables": len(own)}
            one["league"] = next(iter(own.values()))["league"]
            one |= {
                metric: float(np.nanmean([row[metric] for row in own.values()]))
                for metric in METRICS
            }
            found.append(one | lost(own, counted, method))
    return found


def lost(own: Mapping[str, Mapping[str, Any]], rows: Rows, method: str) -> dict[str, float]:
    """Return the points of accuracy that a library loses against the same network in f32: their
    mean over tables and its standard error."""
    network, _, backend = method.rpartition(" ")
    if not network or backend == "f32":
        return {}
    exact = {row["table"]: row for row in rows if row["method"] == f"{network} f32"}
    if not exact:
        return {}
    points = np.array(
        [100 * (exact[name]["accuracy"] - row["accuracy"]) for name, row in own.items()]
    )
    error = float(points.std(ddof=1) / len(points) ** 0.5) if len(points) > 1 else float("nan")
    return {"lost": float(points.mean()), "lost_error": error}


def with_few_rows(found: Rows, suite: str, metric: str) -> dict[str, float]:
    """Return each method's mean of `metric` over the numbers of context rows up to `FEW`; empty
    where there are none."""
    few = [one for one in found if one["suite"] == suite and one["rows"] <= FEW]
    return {
        method: float(np.mean([one[metric] for one in few if one["method"] == method]))
        for method in dict.fromkeys(one["method"] for one in few)
    }


def verdicts(found: Rows, suite: str) -> list[str]:
    """Return a sentence for each library and league: how the library's means with few context rows
    compare with those of the league's best method."""
    leagues = {one["method"]: one["league"] for one in found}
    sentences = []
    for name in (name for name, league in leagues.items() if league == "network"):
        for league in ("A", "B"):
            words = []
            for metric, said in (("log_loss", "log-loss"), ("accuracy", "accuracy")):
                values = with_few_rows(found, suite, metric)
                rivals = {one: v for one, v in values.items() if leagues[one] == league}
                if not rivals or name not in values:
                    continue
                smaller = metric in SMALLER_IS_BETTER
                best = (min if smaller else max)(rivals, key=lambda one: rivals[one])
                ahead = (values[name] < rivals[best]) == smaller
                words.append(
                    f"{said} {values[name]:.4f}, {'better' if ahead else 'worse'} than the best,"
                    f" {best} with {rivals[best]:.4f}"
                )
            if words:
                sentences.append(f"{name} against league {league}: {'; '.join(words)}.")
    return sentences


def points(results: Mapping[str, Any], suite: str, core: str) -> dict[str, tuple[int, int, float]]:
    """Return bytes (flash and memory), instructions of a prediction on `core`, and mean log-loss
    with few context rows, of each method that was measured there."""
    losses = with_few_rows(results["means"], suite, "log_loss")
    return {
        one["method"]: (
            one["cores"][core]["flash"] + one["cores"][core]["ram"],
            one["cores"][core]["predict"],
            losses[one["method"]],
        )
        for one in results["methods"]
        if core in one["cores"] and one["method"] in losses
    }
