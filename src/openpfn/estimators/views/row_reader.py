"""`RowReader`: how a fitted estimator turns rows of a table into the numbers that its network
reads, without the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from openpfn.estimators.views.encoded_rows import EncodedRows
from openpfn.estimators.views.statistics import TargetStatistics
from openpfn.estimators.views.text_reading import RecordedModel
from openpfn.estimators.views.text_scores import TextScores
from openpfn.files import below
from openpfn.tables.encode import TableEncoder
from openpfn.tables.stacking.scores import StackedScores


@dataclass(frozen=True)
class RowReader:
    """Encoder of columns, and what was learnt of the target beside."""

    encoder: TableEncoder
    columns: Int[np.ndarray, " S"]
    """Columns that vary among the context's rows."""
    statistics: TargetStatistics | None
    text_scores: TextScores | None
    stacked: StackedScores | None

    @classmethod
    def of(cls, fitted: Any) -> RowReader:
        """Return how `fitted` reads rows."""
        added = fitted.statistics_, fitted.text_scores_, fitted.stacked_
        return cls(fitted.encoder_, fitted.columns_, *added)

    def __call__(self, table: pd.DataFrame) -> Float[np.ndarray, "N S"]:
        """Return rows of `table` as the estimator's context reads them."""
        return self.shown(EncodedRows(*self.encoder.read(table)))

    def shown(self, rows: EncodedRows) -> Float[np.ndarray, "N S"]:
        """Return encoded `rows` as the estimator's context reads them."""
        own = selected(rows.numbers, self.columns)
        parts = [own]
        if self.statistics is not None:
            parts.append(self.statistics(rows.numbers))
        if self.text_scores is not None:
            parts.append(self.text_scores(rows.texts))
        if self.stacked is not None:
            parts.append(self.stacked(own))
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return all of it: what fits into JSON, and arrays by name."""
        plain, arrays = self.encoder.state()
        named = {f"encoder/{name}": array for name, array in arrays.items()}
        added: dict[str, Any] = {
            "statistics": self.statistics,
            "text_scores": self.text_scores,
            "stacked": self.stacked,
        }
        for kind, fitted in added.items():
            if fitted is not None:
                named |= {f"{kind}/{name}": array for name, array in fitted.arrays().items()}
        record = {"encoder": plain, "columns": self.columns.tolist()}
        return record | {kind: fitted is not None for kind, fitted in added.items()}, named

    @classmethod
    def from_state(cls, record: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> RowReader:
        """Return the reader whose `state()` this was."""
        statistics, scores = below("statistics/", arrays), below("text_scores/", arrays)
        return cls(
            TableEncoder.from_state(record["encoder"], below("encoder/", arrays), RecordedModel),
            np.array(record["columns"], dtype=np.int64),
            TargetStatistics.from_arrays(statistics) if record.get("statistics") else None,
            TextScores.from_arrays(scores) if record.get("text_scores") else None,
            StackedScores.from_arrays(below("stacked/", arrays)) if record.get("stacked") else None,
        )


def selected(
    rows: Float[np.ndarray, "N D"], columns: Int[np.ndarray, " C"]
) -> Float[np.ndarray, "N S"]:
    """Return these columns of encoded rows; a column of zeros where there are none."""
    return rows[:, columns] if len(columns) else np.zeros((len(rows), 1))
