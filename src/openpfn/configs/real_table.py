"""`RealTableConfig`: the real table, and the tasks that are drawn from its rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from openpfn.configs.checks import check_fields


@dataclass(frozen=True)
class RealTableConfig:
    """Choice of the table, rows and columns that make a task."""

    source: str = "breast_cancer"
    """A bundled table, a CSV, TSV or parquet file, FOLDER/NAME, openml:data/ID or
    openml:task/ID."""
    target: str | None = None
    """Column to predict; bundled, indexed and OpenML's tables know theirs."""
    part: Literal["train", "test"] = "train"
    """Which rows of the table tasks are drawn from: no row belongs to both parts."""
    test_share: float = 0.3
    """Share of the table's rows, of each class alike, that belongs to the test part."""
    split_seed: int = 0
    """Seed of the division into the two parts."""
    total_rows: int = 100
    """Rows of a task, context and query together."""
    train_rows: int = 80
    """Rows of a task that are context."""
    num_features: int | None = None
    """Columns of a task; None takes all."""
    shuffle_columns_for_each_task: bool = True
    """Draw each task's columns, and their order, at random; otherwise every task has the table's
    first ones."""
    shuffle_classes_for_each_task: bool = False
    """Number each task's classes at random; otherwise in the table's order, which a network then
    learns by heart."""
    regression_share: float = 0.0
    """Share of the batches whose tasks have numeric targets: a column of numbers drawn for each
    batch, or the table's target where that is one, which asks for 1."""

    def __post_init__(self) -> None:
        check_fields(self)
        if not 0 <= self.regression_share <= 1:
            raise ValueError(
                f"regression_share is {self.regression_share}; it must lie between 0 and 1."
            )
        if not 0 < self.test_share < 1:
            raise ValueError(
                f"test_share is {self.test_share}; it must lie between 0 and 1, both excluded."
            )
        if not 2 <= self.train_rows < self.total_rows:
            raise ValueError(
                f"train_rows {self.train_rows} and total_rows {self.total_rows} must satisfy 2 ≤"
                " train_rows < total_rows."
            )
        if self.num_features is not None and self.num_features < 1:
            raise ValueError(
                f"num_features is {self.num_features}, must be at least 1, or None for all columns."
            )
