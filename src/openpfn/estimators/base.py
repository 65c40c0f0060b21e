"""`PFNEstimator`: what the classifier and the regressor share: reading tables, views, saving."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, TypeVar, no_type_check

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from sklearn.base import clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from openpfn.configs.fine_tuning import FineTuneOptions
from openpfn.estimators.adapting.fine_tuning import FineTuning
from openpfn.estimators.contexts.context import Context
from openpfn.estimators.limits.plan import Plan
from openpfn.estimators.limits.streams import joined
from openpfn.estimators.limits.targets import SeveralTargets, columns_of
from openpfn.estimators.network import Network
from openpfn.estimators.views.added_columns import AddedColumns, Wanted
from openpfn.estimators.views.canonical import folds
from openpfn.estimators.views.encoded_rows import EncodedRows, columns_that_vary
from openpfn.estimators.views.ensemble import Member
from openpfn.estimators.views.row_reader import RowReader, selected
from openpfn.estimators.views.statistics import TargetStatistics
from openpfn.estimators.views.text_reading import text_reading
from openpfn.estimators.views.text_scores import TextScores
from openpfn.tables.encode import TableEncoder
from openpfn.tables.stacking.scores import FEWEST_ROWS, StackedScores

MOST_CLASSES_TO_STACK = 10
"""Classes beyond which their scores would be too many columns."""

E = TypeVar("E", bound="PFNEstimator")


class PFNEstimator(SeveralTargets, ABC):
    """Estimator whose `fit` shows the rows of a table to a network, and trains nothing."""

    encoder_: TableEncoder
    columns_: Int[np.ndarray, " S"]
    statistics_: TargetStatistics | None
    text_scores_: TextScores | None
    stacked_: StackedScores | None = None
    context_: Context | None
    seen_: tuple[pd.DataFrame, np.ndarray] | None = None
    seed_: int
    fine_tuning_: FineTuning | None = None

    saved_parameters: ClassVar[tuple[str, ...]]
    """Parameters of the constructor that a saved file holds, beside the checkpoint."""
    targets_name: ClassVar[str]
    """What a saved file calls the targets of the context."""

    @no_type_check  # scikit-learn's contract: the constructor takes anything, `fit` complains
    def __init__(
        self,
        checkpoint: str | Path = "auto",
        *,
        model: Any = None,
        n_estimators: int = 4,
        device: str = "auto",
        random_state: Any = 0,
        memory_limit: int | None = 2**30,
        calibrate: bool = False,
        target_statistics: bool = False,
        text: str = "auto",
        text_scores: bool = True,
        stacking: bool | str = "auto",
        rows_per_member: int | str | None = "auto",
        subsample: str = "uniform",
        columns_per_member: int | str | None = "auto",
        chain: bool = False,
        fine_tune: Any = False,
    ) -> None:
        self.checkpoint = checkpoint
        self.model = model
        self.n_estimators = n_estimators
        self.device = device
        self.random_state = random_state
        self.memory_limit = memory_limit
        self.calibrate = calibrate
        self.target_statistics = target_statistics
        self.text = text
        self.text_scores = text_scores
        self.stacking = stacking
        self.fine_tune = fine_tune
        self.rows_per_member = rows_per_member
        self.subsample = subsample
        self.columns_per_member = columns_per_member
        self.chain = chain
        self.fine_tune = fine_tune

    def partial_fit(self, X: Any, y: Any) -> Any:
        """Show the network further rows of the context: `X` (n, D) and their targets `y` (n,).

        Whatever the parts, the estimator is the same, to the bit, as after one `fit` of all rows so
        far, which it keeps for that: what encoders learn of columns, and all layers but a network's
        first, hang on every row. The network reads the rows at the next prediction. Rows that were
        shown by `fit` stay; `fit` begins anew.

        Raises ValueError after `load`, as files hold no table.
        """
        if self.__sklearn_is_fitted__() and self.seen_ is None:
            raise ValueError(
                f"this {type(self).__name__} came from a file, which holds no table to which rows"
                " could be added. Fit all rows anew, or pickle what further rows are meant for."
            )
        self._check_parameters()
        table, y = joined(self.seen_, self._table, X, y)
        self._fit_table(table, y, read=False)
        self.seen_ = table, y
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "encoder_") or self.estimators_ is not None

    @abstractmethod
    def _fit_table(self, table: pd.DataFrame, y: Any, *, read: bool) -> None:
        """Set all that `fit` learns; `read` False leaves the context to the next prediction."""

    @property
    def state_bytes_(self) -> int:
        """Bytes that the states of the context take in memory; 0 where none are kept."""
        check_is_fitted(self)
        if self.estimators_ is not None:
            return sum(one.state_bytes_ for one in self.estimators_)
        return 0 if self.context_ is None else self.context_.state_bytes

    def save(
        self,
        path: str | Path,
        *,
        embed_weights: bool | None = None,
        keep_rows: bool = True,
        states: str | None = None,
    ) -> Path:
        """Write the fitted estimator to one safetensors file, without pickle.

        Parameters
        ----------
        path : where to.
        embed_weights : bool or None
            Put the network's weights into the file. None: only those of a shipped checkpoint stay
            out, and are recorded by name and hash.
        keep_rows : bool
            False leaves out the context's rows and targets. The states take their place, and sorted
            column values are
            thinned to 1,000 per column.
        states : "float32", "bfloat16" or None
            Store what the network keeps of the context, so that the loaded estimator predicts
            without reading it again:
            with the same bits, or in half the size with nearly the same answers. None stores
            it only where the rows are left out.

        Raises ValueError where states are to be stored that `memory_limit` did not let `fit` keep.
        """
        from openpfn.estimators.saving import save

        check_is_fitted(self)
        return save(self, path, embed_weights=embed_weights, keep_rows=keep_rows, states=states)

    @classmethod
    def load(cls: type[E], path: str | Path, *, device: str = "auto") -> E:
        """Return the estimator that `save` wrote to `path`. Raises ValueError if it is damaged, or
        holds an estimator of another class."""
        from openpfn.estimators.saving import load

        return load(cls, path, device=device)

    def distill(
        self,
        kind: str = "trees",
        X: Any = None,
        *,
        n_rows: int | None = None,
        random_state: Any = 0,
    ) -> Any:
        """Return a small model that learned this fitted estimator's answers, and that loads and
        predicts without torch.

        Parameters
        ----------
        kind : "mlp", "trees" or "linear".
        X : table of rows to make others of; the context's where absent.
        n_rows : rows to learn from; None for 20 times as many, from 2,000 to 10,000.
        random_state : decides the rows and the fit.

        Returns a `DistilledClassifier` or a `DistilledRegressor`, whose `fidelity_` tells how near
        it is. Raises ValueError where there are no rows, as in a file without them.
        """
        from openpfn.estimators.distilling.distilled import DistilledClassifier, DistilledRegressor

        check_is_fitted(self)
        if self.estimators_ is not None:
            raise ValueError("y held several targets. Distil one of estimators_ at a time.")
        student = DistilledClassifier if hasattr(self, "classes_") else DistilledRegressor
        return student(kind=kind, n_rows=n_rows, random_state=random_state).learn_from(self, X)

    def get_embeddings(self, X: Any = None) -> Float[np.ndarray, "V N E"]:
        """Return what the network makes of each row, in each of V views: E numbers that its head
        reads, for linear models, clustering or nearest neighbours.

        Of rows `X` (N, D), read as rows to predict; None is the context itself, (V, n, E) in the
        order of `fit`, whose embeddings know their targets: do not train on these to predict
        others. Raises ValueError where all targets of the context are equal, and for networks
        without embeddings.
        """
        from openpfn.estimators.inspection import embeddings

        check_is_fitted(self)
        return (
            embeddings.context_embeddings(self)
            if X is None
            else embeddings.query_embeddings(self, X)
        )

    @abstractmethod
    def learnt(self) -> dict[str, Any]:
        """Return what `fit` learnt of the target, as values for JSON."""

    @abstractmethod
    def relearn(self, record: Mapping[str, Any]) -> None:
        """Take up what `learnt` returned."""

    @abstractmethod
    def facts(self) -> dict[str, bool]:
        """Return whether the parts of a loaded estimator fit together, by what is looked at."""

    @abstractmethod
    def target_columns(
        self, targets: Int[np.ndarray, " n"] | Float[np.ndarray, " n"]
    ) -> Float[np.ndarray, "n T"]:
        """Return the numbers whose means per category are target statistics."""

    @abstractmethod
    def fold_answers(
        self,
        network: Network,
        members: list[Member],
        rows: EncodedRows,
        targets: Int[np.ndarray, " n"] | Float[np.ndarray, " n"],
        query: EncodedRows,
    ) -> Float[np.ndarray, "q V"]:
        """Return answers to `query`, encoded as `rows` are, from these rows and targets alone."""

    @abstractmethod
    def row_losses(
        self,
        answers: Float[np.ndarray, "n V"],
        targets: Int[np.ndarray, " n"] | Float[np.ndarray, " n"],
    ) -> Float[np.ndarray, " n"]:
        """Return how wrong the answers of a context's views are, row by row."""

    @abstractmethod
    def make_context(
        self,
        network: Network,
        members: list[Member],
        rows: Float[np.ndarray, "n S"] | None,
        targets: np.ndarray | None,
        categorical: Bool[np.ndarray, " S"],
    ) -> Context:
        """Return the context of these rows and targets, which was not read yet."""

    def believer(self, X: Any, y: Any, *, refit: str = "each") -> Any:
        """Return what `openpfn.bayes.predictive_resample` asks and rolls out: this estimator after
        reading `X` and `y`. The estimator itself stays as it is."""
        from openpfn.estimators.resampling import ClassBeliever, NumberBeliever

        if columns_of(y) is not None:
            raise ValueError("y holds several targets. Ask about one of them at a time.")
        # scores hold targets, which would have to be drawn anew with every row
        copy: Any = clone(self).set_params(text_scores=False, stacking=False)
        fitted = copy.fit(X, np.asarray(y))
        kind = ClassBeliever if hasattr(fitted, "classes_") else NumberBeliever
        return kind(fitted, refit)

    def _check_parameters(self) -> None:
        self._check_n_estimators()
        FineTuneOptions.of(self.fine_tune)
        if self.stacking not in (True, False, "auto"):
            raise ValueError(f"stacking is {self.stacking!r}, must be True, False or 'auto'.")
        if self.memory_limit is not None and not self.memory_limit > 0:
            raise ValueError(
                f"memory_limit is {self.memory_limit!r}, must be a number of bytes above 0, or"
                " None."
            )
        self._plan()

    def _fit_encoder(self, table: pd.DataFrame) -> EncodedRows:
        """Set `encoder_` and `columns_`, and return the rows as numbers."""
        self.encoder_ = TableEncoder(text_reading(self.text)).fit(table)
        rows = EncodedRows(*self.encoder_.read(table, count=False))
        left_out = [str(c.name) for c in self.encoder_.columns if c.kind == "text"]
        if rows.numbers.shape[1] == 0 and left_out:
            raise ValueError(
                f"X holds nothing but text ({', '.join(left_out)}), which text='drop' leaves out."
                " Use another text, or give at least one other column with values."
            )
        if rows.numbers.shape[1] == 0:
            raise ValueError(
                f"X holds no values: all of its {table.shape[1]} columns are missing in every row."
                " Give at least one column with values."
            )
        self.columns_ = columns_that_vary(rows.numbers)
        return rows

    def _fine_tuned(
        self,
        network: Network,
        members: list[Member],
        rows: EncodedRows,
        targets: Int[np.ndarray, " n"] | Float[np.ndarray, " n"],
    ) -> tuple[Network, Float[np.ndarray, "n V"] | None]:
        """Return the network fine-tuned to encoded `rows` in canonical order, where that is asked
        for and helps, and answers out of fold of a network that was."""
        from openpfn.estimators.adapting.table_folds import fine_tuned

        self.fine_tuning_ = None
        options = FineTuneOptions.of(self.fine_tune)
        if options is None:
            return network, None
        tuned = fine_tuned(self, network, members, rows, targets, options)
        self.fine_tuning_ = tuned.history
        return tuned.network, tuned.answers

    def _show_context(
        self,
        network: Network,
        members: list[Member],
        rows: EncodedRows,
        targets: Int[np.ndarray, " n"] | Float[np.ndarray, " n"],
    ) -> tuple[AddedColumns, Any]:
        """Return what is learnt of the target from encoded `rows` in canonical order, and what
        `make_context` made of these, which was not read yet."""
        added, shown, categorical = self._shown_context(network, rows, targets)
        members, told = self._planned(members, network, shown, targets, categorical, added.n_always)
        context = self.make_context(network, members, shown, targets, categorical)
        context.told = told
        return added, context

    def _take_up_context(
        self,
        network: Network,
        members: list[Member],
        rows: EncodedRows,
        targets: Int[np.ndarray, " n"] | Float[np.ndarray, " n"],
        order: Int[np.ndarray, " n"],
        read: bool,
    ) -> None:
        """Show encoded `rows`, in the canonical `order`, to the network, and keep what it is."""
        added, context = self._show_context(network, members, rows, targets)
        self.context_ = context
        self.statistics_, self.text_scores_, self.stacked_ = added
        context.order = order
        if read:
            context.read()
        self._tell_beyond_training(network, *rows.numbers.shape)

    def _planned(
        self,
        members: list[Member],
        network: Network,
        shown: Float[np.ndarray, "n S"],
        targets: Int[np.ndarray, " n"] | Float[np.ndarray, " n"],
        categorical: Bool[np.ndarray, " S"],
        n_always: int,
    ) -> tuple[list[Member], dict[str, str]]:
        """Return what each of `members` sees of a context's rows, and what was done in words."""
        args = self._n_classes, self._limit, self.seed_, n_always
        return self._plan().members(members, network, shown, targets, categorical, *args)

    def _shown_context(
        self,
        network: Network,
        rows: EncodedRows,
        targets: Int[np.ndarray, " n"] | Float[np.ndarray, " n"],
    ) -> tuple[AddedColumns, Float[np.ndarray, "n S"], Bool[np.ndarray, " S"]]:
        """Return what is learnt of the target from encoded `rows` in canonical order, these rows as
        a context shows them, and which of its columns hold codes."""
        shown, categorical = self._select(rows.numbers), self._categorical()
        of_target = self.target_columns(targets)
        stacked = self._stacks(network, len(rows), of_target.shape[1])
        wanted = Wanted(self.target_statistics, self.text_scores, stacked)
        added, own = AddedColumns.learn(wanted, self.encoder_, rows, shown, categorical, of_target)
        if own:
            shown = np.concatenate([shown, *own], axis=1)
            n_added = shown.shape[1] - len(categorical)
            categorical = np.concatenate([categorical, np.zeros(n_added, dtype=bool)])
        return added, shown, categorical

    def _stacks(self, network: Network, n_rows: int, n_targets: int) -> bool:
        """Return whether stacked scores are shown."""
        wanted = network.knows_scores if self.stacking == "auto" else self.stacking
        enough = n_rows >= FEWEST_ROWS and n_targets <= MOST_CLASSES_TO_STACK
        return bool(wanted) and enough

    def _shown(self, rows: EncodedRows, added: AddedColumns) -> Float[np.ndarray, "N S"]:
        """Return encoded query rows as the context reads them."""
        return RowReader(self.encoder_, self.columns_, *added).shown(rows)

    def read_rows(self, table: pd.DataFrame) -> Float[np.ndarray, "N S"]:
        """Return query rows as the context reads them."""
        return RowReader.of(self)(table)

    @property
    def _n_classes(self) -> int | None:
        """Number of classes; None where the targets are numbers."""
        return len(self.classes_) if hasattr(self, "classes_") else None

    @property
    def _limit(self) -> int | None:
        return None if self.memory_limit is None else int(self.memory_limit)

    def _out_of_fold(
        self,
        network: Network,
        members: list[Member],
        rows: EncodedRows,
        targets: Int[np.ndarray, " n"] | Float[np.ndarray, " n"],
        most_rows: int | None = None,
    ) -> tuple[Bool[np.ndarray, " n"], Float[np.ndarray, "m V"]]:
        """Return which encoded rows of the context were asked about, and an answer for each, which
        no target of its fold touched: all rows, or at most the first `most_rows` of one fold."""
        parts = []
        for inside, outside in islice(folds(len(rows)), None if most_rows is None else 1):
            asked = np.flatnonzero(outside)[:most_rows]
            seen, known = rows[inside], targets[inside]
            answers = self.fold_answers(network, members, seen, known, rows[asked])
            parts.append((asked, answers))
        answered = np.zeros(len(rows), dtype=bool)
        whole = np.empty((len(rows), max(answers.shape[1] for _, answers in parts)))
        for asked, answers in parts:
            answered[asked], whole[asked] = True, answers
        return answered, whole[answered]

    def _select(self, rows: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N S"]:
        """Return the columns that vary; a column of zeros where none does."""
        return selected(rows, self.columns_)

    def _categorical(self) -> Bool[np.ndarray, " S"]:
        """Return which of the columns that `_select` returns hold codes."""
        if not len(self.columns_):
            return np.zeros(1, dtype=bool)
        return self.encoder_.categorical[self.columns_]

    def _seed(self) -> int:
        """Return the seed of the views."""
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _plan(self) -> Plan:
        return Plan(self.rows_per_member, self.subsample, self.columns_per_member)

    def _tell_beyond_training(self, network: Network, n_rows: int, n_columns: int) -> None:
        """Set `beyond_`, and warn of more rows or columns than the network was trained on."""
        assert self.context_ is not None
        told = self.context_.told
        self.beyond_ = tuple(told.values())
        for n, limit, what in (
            (n_rows, network.max_rows, "rows"),
            (n_columns, network.max_columns, "columns"),
        ):
            beyond = limit is not None and n > limit
            if beyond or what in told:
                known = f", but this checkpoint was trained on at most {limit}" if beyond else ""
                done = told.get(what, "predictions may be worse than they could be")
                warnings.warn(f"X has {n} {what}{known}: {done}.", stacklevel=4)

    def __sklearn_clone__(self) -> Any:
        """Return a copy that shares a model in memory, which is read and never changed."""
        parameters = {
            name: value if name == "model" else clone(value, safe=False)
            for name, value in self.get_params(deep=False).items()
        }
        copy = type(self)(**parameters)
        routing = getattr(self, "_metadata_request", None)
        if routing is not None:
            setattr(copy, "_metadata_request", clone(routing, safe=False))  # noqa: B010
        return copy
