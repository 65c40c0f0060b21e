"""`PriorConfig`: the shapes, column types and learnability of the tasks that a tabular prior
draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from openpfn.configs.checks import check_fields


@dataclass(frozen=True)
class PriorConfig:
    """What tabular tasks look like. The first six names and defaults follow
    TinyPFN's document."""

    min_features: int = 1
    """Fewest columns."""
    max_features: int = 100
    """Most columns."""
    min_seq_len: int | None = None
    """Fewest rows; None makes every task `max_seq_len` long."""
    max_seq_len: int = 1024
    """Most rows, context and query together."""
    min_classes: int = 2
    """Fewest classes."""
    max_classes: int = 10
    """Most classes."""
    min_context_share: float = 0.1
    """Smallest share of rows that is context."""
    max_context_share: float = 0.9
    """Largest share of rows that is context."""
    features_law: Literal["log_uniform", "uniform"] = "log_uniform"
    """Law of the number of columns between the fewest and the most."""
    feature_band: float = 1.5
    """Within one batch the widest task has at most about this many times the columns of the
    narrowest."""
    rows_law: Literal["log_uniform", "uniform"] = "log_uniform"
    """Law of the number of rows between the fewest and the most; all tasks of a batch have the same
    number."""
    binary_share: float = 0.45
    """Share of tasks with two classes, where that is allowed; the others lean to few classes."""
    categorical_share: float = 0.35
    """Share of tasks that have categorical columns."""
    missing_share: float = 0.2
    """Share of tasks that have missing values."""
    blemish_share: float = 0.3
    """Share of tasks for each other blemish: irrelevant, duplicated, warped or rounded columns,
    outliers, odd scales."""
    repeated_rows_share: float = 0.0
    """Share of tasks in which some rows are exact copies of others, target included, between
    context and query as within them."""
    label_noise_share: float = 0.15
    """Share of tasks in which some labels are wrong."""
    regression_share: float = 0.0
    """Share of the batches whose tasks have numeric targets; a batch is one or the other."""
    learnable: bool = True
    """Keep a candidate task only if its target can be predicted from its columns; see
    `openpfn.scm.learnability.gain`."""
    min_gain: float = 0.08
    """Gain over the majority class, as a share of what is possible, that every learnable task has;
    in regression the explained share of the variance."""
    gain_spread: float = 0.32
    """The demanded gain varies per task between `min_gain` and `min_gain + gain_spread`."""
    unlearnable_share: float = 0.18
    """Share of the random graphs whose first target is kept whatever its gain."""
    parts: tuple[str, ...] = ("scm_mlp", "scm_tree", "scm_direct")
    """Priors that `mixture` draws from, by name."""
    part_weights: tuple[float, ...] = (0.45, 0.25, 0.3)
    """Share of the tasks that comes from each of the `parts`."""
    stacking_share: float = 0.0
    """Share of the tasks of `mixture` whose columns hold what simple models say of the target, as
    estimators with `stacking` show them; see `openpfn.tables.stacking`."""
    tables: str = "bundled"
    """Tables that `table_pool` draws from: a folder with an index.json, or scikit-learn's."""

    def __post_init__(self) -> None:
        check_fields(self)
        if not 1 <= self.min_features <= self.max_features:
            raise ValueError(
                f"min_features {self.min_features} and max_features {self.max_features} must"
                " satisfy 1 ≤ min ≤ max."
            )
        if not 2 <= self.min_classes <= self.max_classes:
            raise ValueError(
                f"min_classes {self.min_classes} and max_classes {self.max_classes} must satisfy 2"
                " ≤ min ≤ max."
            )
        lowest = self.max_seq_len if self.min_seq_len is None else self.min_seq_len
        if not 4 <= lowest <= self.max_seq_len:
            raise ValueError(
                f"min_seq_len {self.min_seq_len} and max_seq_len {self.max_seq_len} must satisfy 4"
                " ≤ min ≤ max."
            )
        if lowest <= self.min_classes:
            raise ValueError(
                f"min_classes {self.min_classes} needs more than {lowest} rows: raise min_seq_len"
                " or lower min_classes."
            )
        if not 0 < self.min_context_share <= self.max_context_share < 1:
            raise ValueError(
                f"min_context_share {self.min_context_share} and max_context_share"
                f" {self.max_context_share} must satisfy 0 < min ≤ max < 1."
            )
        self._check_laws()

    def _check_laws(self) -> None:
        if self.feature_band < 1:
            raise ValueError(
                f"feature_band is {self.feature_band}; it must be at least 1, which gives batches"
                " of one width."
            )
        for field in (
            "binary_share",
            "categorical_share",
            "missing_share",
            "blemish_share",
            "repeated_rows_share",
            "label_noise_share",
            "regression_share",
            "stacking_share",
            "min_gain",
            "gain_spread",
            "unlearnable_share",
        ):
            if not 0 <= getattr(self, field) <= 1:
                raise ValueError(f"{field} is {getattr(self, field)}; it must lie between 0 and 1.")
        if not self.parts or len(self.parts) != len(self.part_weights):
            raise ValueError(
                f"got {len(self.parts)} parts and {len(self.part_weights)} part_weights; give one"
                " weight for each part."
            )
        if min(self.part_weights) < 0 or sum(self.part_weights) <= 0:
            raise ValueError(
                f"part_weights {self.part_weights} must not be negative, and one must be positive."
            )
