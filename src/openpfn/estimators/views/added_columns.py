"""`AddedColumns`: what is learnt of the target, and shown to the network beside a row's own
columns."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from openpfn.estimators.views.encoded_rows import EncodedRows
from openpfn.estimators.views.statistics import TargetStatistics, columns_of_words
from openpfn.estimators.views.text_scores import TextScores
from openpfn.tables.encode import TableEncoder
from openpfn.tables.stacking.scores import StackedScores


class Wanted(NamedTuple):
    """Which of `AddedColumns` to learn."""

    statistics: bool
    text_scores: bool
    stacked: bool


class AddedColumns(NamedTuple):
    """What was learnt of the target; None for what was not."""

    statistics: TargetStatistics | None
    """Means of the target per category."""
    text_scores: TextScores | None
    """Scores of the texts."""
    stacked: StackedScores | None
    """Scores of the other columns."""

    @property
    def n_always(self) -> int:
        """Number of columns at the end that every view sees: those of the stacked scores."""
        return 0 if self.stacked is None else self.stacked.n_columns

    @classmethod
    def learn(
        cls,
        wanted: Wanted,
        encoder: TableEncoder,
        rows: EncodedRows,
        shown: Float[np.ndarray, "n S"],
        is_code: Bool[np.ndarray, " S"],
        targets: Float[np.ndarray, "n T"],
    ) -> tuple[AddedColumns, list[Float[np.ndarray, "n A"]]]:
        """Return what is learnt from encoded `rows`, of which the network sees `shown`, and the
        columns that these rows themselves are shown, which no own target touches."""
        statistics, text_scores, stacked, own = None, None, None, []
        if wanted.statistics:
            spans = columns_of_words(encoder, rows.numbers)
            statistics = TargetStatistics.fit(spans, rows.numbers, targets)
            own.append(TargetStatistics.out_of_fold(spans, rows.numbers, targets))
        if wanted.text_scores and rows.texts is not None:
            text_scores = TextScores.fit(rows.texts, targets)
            own.append(TextScores.out_of_fold(rows.texts, targets))
        if wanted.stacked:
            # a column for each of two classes would say the same twice
            told = targets[:, :1] if targets.shape[1] == 2 else targets
            stacked, of_rows = StackedScores.fit(shown, is_code, told)
            own.append(of_rows)
        return cls(statistics, text_scores, stacked), own
