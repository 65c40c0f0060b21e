"""`TargetTokens`: the classes of a target, or the scale of its numbers, as sentences of their
own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from openpfn.tables.json_values import array_from_json, array_to_json
from openpfn.tables.schema import to_numbers
from openpfn.tables.spelling.numbers import NumberReading
from openpfn.tables.target import read_target
from openpfn.tables.values import as_word, plain_values, shown
from openpfn.text.verbalize.number_scale import mean_and_deviation
from openpfn.text.verbalize.table import Task
from openpfn.text.verbalize.templates import Template

TARGET = "target"


@dataclass(frozen=True)
class TargetTokens:
    """What the training targets say: the classes there are, or mean and deviation."""

    name: str
    """What the tokens call the target."""
    task: Task
    classes: np.ndarray | None = None
    """The classes in order; None for numbers."""
    mean: float = 0.0
    deviation: float = 1.0
    reading: NumberReading = NumberReading()  # noqa: RUF009 (frozen)
    """Spelling of numbers that are words."""

    @classmethod
    def fit(
        cls,
        y: Any,
        task: Task | Literal["auto"],
        name: str | None,
        n_rows: int,
        classes: Any = None,
    ) -> TargetTokens:
        """Return the tokens of the training targets `y`, and of further `classes` where given.

        Raises ValueError where a target is missing.
        """
        if task not in ("auto", "classification", "regression"):
            raise ValueError(f"task is {task!r}. Choose 'classification', 'regression' or 'auto'.")
        values = _column(y, n_rows)
        name = name or (TARGET if values.name is None else str(values.name))
        read = read_target(values)
        task = read.task if task == "auto" else task
        if task == "classification":
            labels = _present(values) + ([] if classes is None else _present(_series(classes)))
            return cls(name, task, _classes(labels))
        numbers = _numbers(values, read.reading)
        mean, deviation = mean_and_deviation(numbers)
        return cls(name, task, None, mean, deviation, read.reading)

    def texts(self, template: Template) -> list[str]:
        """Return the sentence of each target token."""
        if self.classes is None:
            return [template.number_token(self.name)]
        return [template.class_token(self.name, as_word(label)) for label in self.classes.tolist()]

    def encode(self, y: Any, n_rows: int) -> np.ndarray:
        """Return the number of each target's class (int64), or the targets standardised (float32).

        Raises ValueError for a missing target or an unknown class.
        """
        values = _column(y, n_rows)
        if self.classes is None:
            standardised = (_numbers(values, self.reading) - self.mean) / self.deviation
            return standardised.astype(np.float32)
        places = {label: i for i, label in enumerate(self.classes.tolist())}
        labels = _present(values)
        unknown = next((label for label in labels if label not in places), None)
        if unknown is not None:
            raise ValueError(
                f"the target {self.name} has the class {shown(unknown)}, which was not there when"
                f" this was fitted. The classes are {', '.join(map(shown, list(places)[:20]))}."
            )
        return np.array([places[label] for label in labels], dtype=np.int64)

    def decode(self, standardised: np.ndarray) -> np.ndarray:
        """Return standardised numbers as the target counts them."""
        return np.asarray(standardised, dtype=np.float64) * self.deviation + self.mean

    def state(self) -> dict[str, Any]:
        """Return all that was learnt, as JSON holds it."""
        return {
            "name": self.name,
            "task": self.task,
            "classes": None if self.classes is None else array_to_json(self.classes),
            "mean": self.mean,
            "deviation": self.deviation,
            "reading": [self.reading.decimal, self.reading.thousands],
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> TargetTokens:
        """Return the tokens whose `state()` this was."""
        classes = None if state["classes"] is None else array_from_json(state["classes"])
        task: Task = "regression" if classes is None else "classification"
        reading = NumberReading(*state["reading"])
        return cls(
            str(state["name"]),
            task,
            classes,
            float(state["mean"]),
            float(state["deviation"]),
            reading,
        )


def _column(y: Any, n_rows: int) -> pd.Series:
    values = _series(y)
    if len(values) != n_rows:
        raise ValueError(f"there are {n_rows} rows, but {len(values)} targets. Give one for each.")
    return values


def _series(y: Any) -> pd.Series:
    if isinstance(y, pd.Series):
        return y
    return pd.Series(y.reshape(-1) if isinstance(y, np.ndarray) else list(y))


def _present(values: pd.Series) -> list[Any]:
    """Return the labels as Python objects. Raises ValueError where one is missing."""
    labels = values.astype(object).tolist()
    missing = values.isna().to_numpy(dtype=bool)
    if missing.any():
        raise ValueError(
            f"{int(missing.sum())} of {len(labels)} targets are missing, the first in row"
            f" {int(missing.argmax())}. Leave such rows out."
        )
    return labels


def _classes(labels: list[Any]) -> np.ndarray:
    """Return the labels that there are, sorted as NumPy sorts them; of mixed types by their
    words."""
    try:
        ordered = sorted(set(labels))
    except TypeError:
        ordered = sorted(set(labels), key=lambda label: (type(label).__name__, as_word(label)))
    found = np.empty(len(ordered), dtype=object)
    found[:] = ordered
    return found


def _numbers(values: pd.Series, reading: NumberReading) -> np.ndarray:
    numbers = to_numbers(plain_values(values), reading)
    bad = ~np.isfinite(numbers)
    if bad.any():
        raise ValueError(
            f"{int(bad.sum())} of {len(numbers)} targets are no finite numbers, such as"
            f" {shown(values.iloc[int(bad.argmax())])}. Leave such rows out."
        )
    return numbers
