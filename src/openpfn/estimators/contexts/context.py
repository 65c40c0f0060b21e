"""Context rows as the network holds them: read once, then asked about any number of query rows."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from openpfn.batch import TaskBatch
from openpfn.estimators.network import Network, find_network, nested_bytes, with_difference
from openpfn.estimators.views.ensemble import Member, View, context_rows
from openpfn.models.modes import in_evaluation
from openpfn.models.tabular.joining import joined
from openpfn.models.tabular.network import TabularPFN

QUERY_MULTIPLE = 8
"""Query rows are read in multiples of this: matrix kernels then treat all rows alike, and a row
gets the same bits alone or in a batch."""
CELLS_PER_PASS = 8192
"""Cells that pass through the network at once on a CPU: more do not fit its caches and take longer
per cell."""
BYTES_JOINED = 2**28
"""Bytes of states up to which views of one shape are asked together: it spares small contexts most
of the calls, and of larger ones the calls are not what takes time."""


class Context(ABC):
    """The context of one task, seen through the views of an ensemble.

    Views of as many columns, rows and classes pass through the network as one batch of tasks.
    States that do not fit into `memory_limit` bytes are computed anew for each prediction. `told`
    says what was done about each limit of the network that the table goes beyond. A context that
    came from a file without rows has none, only `groups` of views and their `states`. Threads may
    ask it at the same time: the first of them reads the context.
    """

    def __init__(
        self,
        network: Network,
        members: list[Member],
        rows: Float[np.ndarray, "n D"] | None,
        targets: Int[np.ndarray, " n"] | Float[np.ndarray, " n"] | None,
        categorical: Bool[np.ndarray, " D"],
        device: str,
        memory_limit: int | None,
    ) -> None:
        self.members, self.rows, self.categorical = members, rows, categorical
        self.targets = targets
        self.n_rows = 0 if rows is None else len(rows)
        self.device, self.memory_limit = device, memory_limit
        self.source, self.fingerprint = network.source, network.fingerprint
        self.difference = network.difference
        self.network: Network | None = network
        self.order: Int[np.ndarray, " n"] | None = None
        """Places of the rows in the table that was fitted; None where it is not known."""
        self.groups: list[list[View]] | None = None
        self.states: list[Any] = []
        self.told: dict[str, str] = {}
        self._reading = threading.RLock()

    @property
    @abstractmethod
    def n_classes(self) -> int | None:
        """Number of classes; None where the targets are numbers."""

    @abstractmethod
    def shown(
        self, view: View, targets: Int[np.ndarray, " n"] | Float[np.ndarray, " n"]
    ) -> Int[np.ndarray, " n"] | Float[np.ndarray, " n"]:
        """Return `targets` as `view` shows them to the network."""

    @abstractmethod
    def mean_answers(self, rows: Float[np.ndarray, "Q D"]) -> Float[np.ndarray, "Q V"]:
        """Return what the views answer on average: log-probabilities, or quantiles."""

    def read(self) -> None:
        """Show the context to the network; `answers` does so where it was not yet done."""
        network = self.ready_network()
        assert self.rows is not None, "a context without rows keeps its states"
        groups = self._grouped(
            [
                View.fit(member, self.rows, self.categorical, self.targets)
                for member in self.members
            ],
            network,
        )
        kept, states = 0, []
        for group in groups:
            state = self._summarize(group, network) if self._within_limit(kept) else None
            kept += nested_bytes(state)
            states.append(state if self._within_limit(kept) else None)
        with self._reading:
            self.groups, self.states = self._together(groups, states, network)

    def views_and_states(self) -> list[tuple[list[View], Any]]:
        """Return the groups of views, each with its state, or None where that is not kept."""
        with self._reading:
            if self.groups is None:
                self.read()
            assert self.groups is not None
            return list(zip(self.groups, self.states, strict=True))

    def resume(self, groups: list[list[View]], states: list[Any], n_rows: int) -> None:
        """Take up the views and states that another context of these rows had."""
        self.groups, self.states, self.n_rows = groups, states, n_rows

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what it keeps beside views and states, by name."""
        return {}

    def take_up(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take up what `arrays` returned. Raises ValueError for others."""
        if arrays:
            raise ValueError(f"a {type(self).__name__} keeps no {', '.join(arrays)}.")

    @property
    def state_bytes(self) -> int:
        """Bytes of the states that are kept."""
        return nested_bytes(self.states)

    def answers(
        self, rows: Float[np.ndarray, "Q D"], ask: str = "read"
    ) -> Iterator[tuple[list[View], Any, slice, Float[Tensor, "B q outputs"]]]:
        """Yield the network's answers to `rows`, some rows at a time, for each group of views: the
        views, their state, which rows these are, and the logits (in memory of the processor).

        `ask` names the network's method that answers; `embedded` gives embeddings in their place.
        """
        network = self.ready_network()
        for group, kept in self.views_and_states():
            state = kept if kept is not None else self._summarize(group, network)
            views = np.stack([view(rows) for view in group])  # (B, Q, V)
            for part in self._parts(views, network):
                yield group, state, part, self._ask(network, views[:, part], state, ask)

    def ready_network(self) -> Network:
        """Return the network.

        After unpickling it is loaded again, and must have the weights that the context was fitted
        with; else ValueError is raised.
        """
        with self._reading:
            if self.network is None:
                network = find_network(self.source, None, self.device)
                if network.fingerprint != self.fingerprint:
                    raise ValueError(
                        "this estimator was fitted with other weights than checkpoint"
                        f" {self.source!r} holds now. Fit it again, or bring back the checkpoint it"
                        " was fitted with."
                    )
                self.network = with_difference(network, self.difference)
            return self.network

    def __getstate__(self) -> dict[str, Any]:
        """Leave weights from a checkpoint, and states, out of pickles and copies.

        Both come back when needed. Without rows the states cannot: they stay.
        """
        state = vars(self) | ({} if self.rows is None else {"groups": None, "states": []})
        if self.source is not None:
            state["network"] = None
        del state["_reading"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._reading = threading.RLock()

    def example_state(self, group: list[View]) -> Any:
        """Return a state of the same make as that of `group`, of two rows of zeros."""
        targets = np.stack([self.shown(view, self.two_targets(view)) for view in group])
        rows = np.zeros((len(group), 2, group[0].width), dtype=np.float32)
        return self._show(rows, targets, group, self.ready_network())

    def two_targets(self, view: View) -> Int[np.ndarray, " 2"]:
        """Return two targets that `view` can show."""
        return np.arange(2)

    def _summarize(self, group: list[View], network: Network) -> Any:
        assert self.rows is not None
        assert self.targets is not None
        rows, targets = [], []
        for view in group:
            chosen = context_rows(view.member, self.targets)
            some = slice(None) if chosen is None else chosen
            rows.append(view(self.rows[some]))
            targets.append(self.shown(view, self.targets[some]))
        return self._show(np.stack(rows), np.stack(targets), group, network)

    def _show(
        self,
        rows: Float[np.ndarray, "B n V"],
        targets: Int[np.ndarray, "B n"] | Float[np.ndarray, "B n"],
        group: list[View],
        network: Network,
    ) -> Any:
        batch = self.batch(rows, targets, group, targets.shape[1], network.device.type)
        with in_evaluation(network.model), torch.inference_mode():
            if self.memory_limit is not None and isinstance(network.model, TabularPFN):
                return network.model.summarize(batch.to(network.device), self.memory_limit)
            return network.model.summarize(batch.to(network.device))

    def batch(
        self,
        rows: Float[np.ndarray, "B N V"],
        targets: Int[np.ndarray, "B N"] | Float[np.ndarray, "B N"],
        group: list[View],
        n_context: int,
        device: str = "cpu",
    ) -> TaskBatch:
        """Return rows and targets, the context first, as tasks for a network on such a device."""
        n_classes = self.n_classes
        n_shown = torch.tensor([view.member.n_shown(n_classes or 0) for view in group])
        # Metal has no float64, which numbers are centred in
        single = n_classes is not None or device == "mps"
        return TaskBatch(
            x=torch.from_numpy(rows),
            y=torch.from_numpy(targets.astype(np.float32 if single else np.float64)),
            n_train=n_context,
            n_classes=None if n_classes is None else n_shown,
            categorical=torch.from_numpy(np.stack([view.categorical for view in group])),
        )

    def _ask(
        self, network: Network, views: Float[np.ndarray, "B q V"], state: Any, ask: str
    ) -> Float[Tensor, "B q outputs"]:
        n_rows = views.shape[1]
        padding = np.repeat(views[:, -1:], -n_rows % QUERY_MULTIPLE, axis=1)
        x = torch.from_numpy(np.concatenate([views, padding], axis=1)).to(network.device)
        with in_evaluation(network.model), torch.inference_mode():
            logits = getattr(network.model, ask)(x, state)
        return logits[:, :n_rows].float().cpu()

    def _grouped(self, views: list[View], network: Network) -> list[list[View]]:
        """Return views of the same shape together, as many as should be read at once."""
        groups: list[list[View]] = []
        for (width, n_rows, _), same in groupby(sorted(views, key=self._shape), key=self._shape):
            alike = list(same)
            size = self._cells(network, width) // ((width + 1) * n_rows)
            size = min(max(size, 1), len(alike))
            groups += [alike[start : start + size] for start in range(0, len(alike), size)]
        return groups

    def _together(
        self, groups: list[list[View]], states: list[Any], network: Network
    ) -> tuple[list[list[View]], list[Any]]:
        """Return the groups of views of the same shape, and their states, as one each: those that
        were kept, as far as `BYTES_JOINED` and twice the memory go."""
        if not isinstance(network.model, TabularPFN):
            return groups, states
        runs: list[tuple[Any, list[int]]] = []
        n_bytes = 0
        for i, (group, state) in enumerate(zip(groups, states, strict=True)):
            shape, n_own = self._shape(group[0]), nested_bytes(state)
            fits = n_bytes + n_own <= BYTES_JOINED and self._within_limit(2 * (n_bytes + n_own))
            if state is not None and runs and runs[-1][0] == shape and fits:
                runs[-1][1].append(i)
                n_bytes += n_own
            else:
                runs.append((None if state is None else shape, [i]))
                n_bytes = n_own
        return (
            [[view for i in places for view in groups[i]] for _, places in runs],
            [
                None if shape is None else joined([states[i] for i in places])
                for shape, places in runs
            ],
        )

    def _shape(self, view: View) -> tuple[int, int, int]:
        """Return the number of columns, rows and classes that `view` shows to the network."""
        chosen = context_rows(view.member, self.targets)
        n_rows = self.n_rows if chosen is None else len(chosen)
        return view.width, n_rows, view.member.n_shown(self.n_classes or 0)

    def _parts(self, views: Float[np.ndarray, "B Q V"], network: Network) -> Iterator[slice]:
        n_views, n_rows, width = views.shape
        size = (
            self._cells(network, width)
            // ((width + 1) * n_views)
            // QUERY_MULTIPLE
            * QUERY_MULTIPLE
        )
        size = max(size, QUERY_MULTIPLE)
        return (slice(start, min(start + size, n_rows)) for start in range(0, n_rows, size))

    def _cells(self, network: Network, width: int) -> int:
        """Return how many cells may pass through the network at once."""
        within = (
            2**62
            if self.memory_limit is None
            else self.memory_limit // network.bytes_per_cell(width, self.n_rows)
        )
        return min(within, CELLS_PER_PASS) if network.device.type == "cpu" else within

    def _within_limit(self, n_bytes: int) -> bool:
        return self.memory_limit is None or n_bytes <= self.memory_limit
