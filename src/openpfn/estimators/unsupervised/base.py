"""`UnsupervisedEstimator`: what imputer and outlier detector share: a table, and one column given
others."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pandas as pd
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from openpfn.estimators.base import PFNEstimator
from openpfn.estimators.network import Network, advice, find_network
from openpfn.estimators.table_estimator import TableEstimator
from openpfn.estimators.unsupervised.conditional import Conditional, Settings
from openpfn.estimators.unsupervised.variables import Variable
from openpfn.tables.values import counted, shown

E = TypeVar("E", bound="UnsupervisedEstimator")


class Conditionals:
    """The rows of a table as the context of each of its columns, given any others.

    What the network makes of them is kept; threads may ask at the same time.
    """

    def __init__(self, table: pd.DataFrame, how: Settings) -> None:
        self.table = table.reset_index(drop=True)
        self.how = how
        self.variables = [Variable.of(self.table.iloc[:, i]) for i in range(table.shape[1])]
        self._known: dict[Any, Conditional] = {}
        self._fitting = threading.RLock()

    def of(
        self, place: int, given: Sequence[int] | None = None, part: tuple[int, ...] | None = None
    ) -> Conditional:
        """Return the column at `place` given those at `given` (all others by default), in the
        context of the rows `part` (all by default)."""
        others = [i for i in range(len(self.variables)) if i != place]
        chosen = tuple(others if given is None else sorted(given))
        key = (place, chosen, part)
        with self._fitting:
            if key not in self._known:
                rows = self.table if part is None else self.table.iloc[list(part)]
                self._known[key] = Conditional(rows, self.variables[place], place, chosen, self.how)
            return self._known[key]

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what can be made again from the table."""
        state = vars(self) | {"_known": {}}
        del state["_fitting"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._fitting = threading.RLock()


class UnsupervisedEstimator(TableEstimator):
    """Estimator that shows a network the rows of a table to learn each column from the others."""

    conditionals_: Conditionals
    seed_: int

    saved_parameters: ClassVar[tuple[str, ...]]
    """Parameters of the constructor that a saved file holds, beside the checkpoint."""
    checkpoint: Any
    model: Any
    device: str
    random_state: Any
    memory_limit: int | None

    __sklearn_clone__ = PFNEstimator.__sklearn_clone__

    def save(self, path: str | Path, *, embed_weights: bool | None = None) -> Path:
        """Write the fitted estimator, with the rows of its table, to one safetensors file, without
        pickle.

        `embed_weights` puts the network's weights into the file. None: only those of a shipped
        checkpoint stay out, and are recorded by name and hash.
        """
        from openpfn.estimators.unsupervised.saving import save

        check_is_fitted(self)
        return save(self, path, embed_weights=embed_weights)

    @classmethod
    def load(cls: type[E], path: str | Path, *, device: str = "auto") -> E:
        """Return the estimator that `save` wrote to `path`. Raises ValueError if it is damaged, or
        holds an estimator of another class."""
        from openpfn.estimators.unsupervised.saving import load

        return load(cls, path, device=device)

    def learnt(self) -> dict[str, Any]:
        """Return what `fit` learnt beside the table, as values for JSON."""
        return {}

    def relearn(self, record: dict[str, Any]) -> None:
        """Take up what `learnt` returned."""

    def show(self, table: pd.DataFrame, seed: int, network: Network | None = None) -> None:
        """Set `conditionals_` to those of `table`, by the estimator's network unless another is
        given, and `seed_`."""
        network = network or find_network(self.checkpoint, self.model, self.device)
        self.seed_ = seed
        how = Settings(
            network.source or self.checkpoint,
            self.model,
            int(self.n_estimators),
            self.device,
            seed,
            self.memory_limit,
            network.max_classes,
        )
        self.conditionals_ = Conditionals(table, how)
        self._check_network(network)

    def _check_parameters(self) -> None:
        self._check_n_estimators()
        if self.memory_limit is not None and not self.memory_limit > 0:
            raise ValueError(
                f"memory_limit is {self.memory_limit!r}, must be a number of bytes above 0, or"
                " None."
            )

    def _check_network(self, network: Network) -> None:
        """Raise ValueError for a network that cannot tell what a column holds."""
        for variable in self.conditionals_.variables:
            needed = variable.kind
            if needed != "empty" and not network.predicts(needed):
                raise ValueError(
                    f"column {shown(variable.column.name)} holds {needed}, which {network} does not"
                    f" predict. Use {advice(needed)}."
                )

    def _warn_of_unread(self, table: pd.DataFrame) -> None:
        """Warn of values that no row of `fit` allows to read."""
        for i, variable in enumerate(self.conditionals_.variables):
            cells = table.iloc[:, i]
            unread = variable.unread(cells, variable.read(cells))
            if unread:
                wanted = "numbers or dates" if variable.holds_numbers else "known categories"
                warnings.warn(
                    f"column {shown(variable.column.name)}: {len(unread)} of"
                    f" {counted(len(cells), 'value')} could not be read as {wanted} and count as"
                    f" missing, such as {shown(min(unread, key=str))}. Write values as in the rows"
                    " of fit.",
                    stacklevel=4,
                )

    def _draw_seed(self) -> int:
        return int(check_random_state(self.random_state).randint(2**31 - 1))
