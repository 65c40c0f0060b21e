"""The methods of a run of probes: those of `openpfn benchmark tables`, two baselines and the
optimal rule."""

from __future__ import annotations

import importlib.util
from collections.abc import Hashable, Mapping
from typing import Any

from openpfn.benchmark.tables.methods import Method, method
from openpfn.benchmark.tables.prepare import Reader
from openpfn.tables.schema import Kind

OPTIMAL = "optimal"
"""The rule that knows the function: its true probability or mean."""
BASELINES = {
    "classification": ("logistic", "extra_trees"),
    "regression": ("ridge", "extra_trees"),
}
OPTIONS: dict[str, dict[str, Any]] = {"extra_trees": {"n_estimators": 300}}
"""Options of the baselines that are not their package's defaults."""


def resolve(words: tuple[str, ...], task: str) -> list[Method]:
    """The baselines, then the methods that `words` name, none twice. Raises ValueError for unknown
    names, missing packages, and methods that do not do `task`."""
    found = {name: method(name) for name in BASELINES[task]}
    for word in words:
        for name in _default(task) if word == "default" else [word]:
            one = method(name)
            if task not in one.tasks:
                raise ValueError(
                    f"{name} does no {task}: it does {', '.join(sorted(one.tasks))}. Leave it out,"
                    " or choose another --task."
                )
            found[one.name] = one
    return list(found.values())


def build(one: Method, task: str, kinds: Mapping[Hashable, Kind], seed: int, device: str) -> Reader:
    """An unfitted estimator."""
    return one.build(task, kinds, seed, device, **OPTIONS.get(one.name, {}))


def _default(task: str) -> list[str]:
    """nano where it does `task`, and CatBoost where it is installed."""
    boosted = ["catboost"] if importlib.util.find_spec("catboost") else []
    return [*(["nano"] if task in method("nano").tasks else []), *boosted]
