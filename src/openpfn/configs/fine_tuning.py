"""`FineTuneOptions`: how an estimator fine-tunes its network to the table it is fitted to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from openpfn.configs.checks import check_fields, check_least


@dataclass(frozen=True)
class FineTuneOptions:
    """How a network is fine-tuned to one table: a few steps on folds of its own rows."""

    n_steps: int = 50
    """Steps at most, on each fold."""
    learning_rate: float = 2e-4
    """Rate of AdamW after the warm-up."""
    warmup_steps: int = 10
    """Steps in which the rate rises from 0."""
    n_folds: int = 4
    """Folds; each is held out once, while a copy of the network learns from the others."""
    evaluate_every: int = 10
    """Steps between evaluations on the held-out folds."""
    patience: int = 2
    """Evaluations without a lower loss, one after another, that end training."""
    margin: float = 2.0
    """Standard errors by which fine-tuning must lower the held-out loss, or the network stays as it
    is; the number of steps is the one whose gain is largest after these are taken off."""
    cells_per_step: int = 8192
    """Rows times columns of a step at most: its rows are drawn anew each time, and a random part of
    them is the query."""
    time_limit: float | None = None
    """Seconds after which no further step is taken; what was evaluated until then decides. Only
    without a limit is the result the same on every machine."""
    progress: bool = False
    """Show a progress bar."""

    def __post_init__(self) -> None:
        check_fields(self)
        check_least(
            self,
            n_steps=1,
            n_folds=2,
            evaluate_every=1,
            patience=1,
            cells_per_step=2,
            margin=0,
            warmup_steps=0,
        )
        if not 0 < self.learning_rate < 1:
            raise ValueError(
                f"learning_rate is {self.learning_rate}, must lie between 0 and 1, such as 2e-4."
            )
        if self.time_limit is not None and not self.time_limit > 0:
            raise ValueError(f"time_limit is {self.time_limit}, must be seconds above 0, or None.")

    @classmethod
    def of(cls, fine_tune: Any) -> FineTuneOptions | None:
        """Return the options that the parameter `fine_tune` of an estimator means; None for none.

        Raises ValueError for anything but None, a truth value, options, or a mapping of their
        fields.
        """
        if fine_tune is None:
            return None
        if isinstance(fine_tune, bool | np.bool_):
            return cls() if fine_tune else None
        if isinstance(fine_tune, cls):
            return fine_tune
        if isinstance(fine_tune, Mapping):
            known = cls.__dataclass_fields__
            if unknown := [name for name in fine_tune if name not in known]:
                raise ValueError(
                    f"fine_tune holds {unknown[0]!r}, which is no option. The options are"
                    f" {', '.join(known)}."
                )
            return cls(**fine_tune)
        raise ValueError(
            f"fine_tune is {fine_tune!r}, must be True, False or FineTuneOptions(...)."
        )
