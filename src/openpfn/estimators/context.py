"""Context rows as the network holds them: read once, then asked about any number of query rows."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.special import log_softmax

from openpfn.batch import TaskBatch
from openpfn.estimators.ensemble import Member, View
from openpfn.estimators.network import Network, find_network, nested_bytes

QUERY_MULTIPLE = 8
"""Query rows are read in multiples of this: matrix kernels then treat all rows alike, and a row
gets the same bits alone or in a batch."""
CELLS_PER_PASS = 8192
"""Cells that pass through the network at once on a CPU: more do not fit its caches and take longer
per cell."""


_MODES = threading.Lock()
_ASKED: dict[int, tuple[int, bool]] = {}
"""How many calls read a model now, and whether it was in training before the first of them."""


class Context:
    """The context of one classification task, seen through the views of an ensemble.

    `labels` are class indices 0 … n_classes − 1. Views of the same width pass through the network
    as one batch of tasks. States that do not fit into `memory_limit` bytes are computed anew for
    each prediction. A context that came from a file without rows has none, only `groups` of views
    and their `states`. Threads may ask it at the same time: the first of them reads the context.
    """

    def __init__(
        self,
        network: Network,
        members: list[Member],
        rows: Float[np.ndarray, "n D"] | None,
        labels: Int[np.ndarray, " n"] | None,
        categorical: Bool[np.ndarray, " D"],
        n_classes: int,
        device: str,
        memory_limit: int | None,
    ) -> None:
        self.members, self.rows, self.labels, self.categorical = members, rows, labels, categorical
        self.n_rows = 0 if rows is None else len(rows)
        self.n_classes, self.device, self.memory_limit = n_classes, device, memory_limit
        self.source, self.fingerprint = network.source, network.fingerprint
        self.network: Network | None = network
        self.groups: list[list[View]] | None = None
        self.states: list[Any] = []
        self._reading = threading.RLock()

    def read(self) -> Context:
        """Show the context to the network; `mean_log_probs` does so where it was not yet done."""
        network = self.ready_network()
        assert self.rows is not None, "a context without rows keeps its states"
        groups = self._grouped(
            [View.fit(member, self.rows, self.categorical) for member in self.members], network
        )
        kept, states = 0, []
        for group in groups:
            state = self._summarize(group, network) if self._within_limit(kept) else None
            kept += nested_bytes(state)
            states.append(state if self._within_limit(kept) else None)
        with self._reading:
            self.groups, self.states = groups, states
        return self

    def views_and_states(self) -> list[tuple[list[View], Any]]:
        """Return the groups of views, each with its state, or None where that is not kept."""
        with self._reading:
            if self.groups is None:
                self.read()
            assert self.groups is not None
            return list(zip(self.groups, self.states, strict=True))

    def resume(self, groups: list[list[View]], states: list[Any], n_rows: int) -> Context:
        """Take up the views and states that another context of these rows had, and return self."""
        self.groups, self.states, self.n_rows = groups, states, n_rows
        return self

    @property
    def state_bytes(self) -> int:
        """Bytes of the states that are kept."""
        return nested_bytes(self.states)

    def mean_log_probs(self, rows: Float[np.ndarray, "Q D"]) -> Float[np.ndarray, "Q k"]:
        """Return log-probabilities of the classes, averaged over the views (not summing to one)."""
        network = self.ready_network()
        total = np.zeros((len(rows), self.n_classes))
        for group, kept in self.views_and_states():
            state = kept if kept is not None else self._summarize(group, network)
            views = np.stack([view(rows) for view in group])  # (B, Q, V)
            for part in self._parts(views, network):
                logits = self._ask(network, views[:, part], state)  # (B, q, classes)
                log_probs = log_softmax(logits.astype(np.float64), axis=-1)
                for view, answer in zip(group, log_probs, strict=True):
                    total[part] += answer[:, view.class_order(self.n_classes)]
        return total / len(self.members)

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
                        "this classifier was fitted with other weights than checkpoint"
                        f" {self.source!r} holds now. Fit it again, or bring back the checkpoint it"
                        " was fitted with."
                    )
                self.network = network
            return self.network

    def __getstate__(self) -> dict[str, Any]:
        """Leave weights from a checkpoint, and states, out of pickles and copies.

        Both come back when needed. Without rows the states cannot: they stay.
        """
        state = self.__dict__ | ({} if self.rows is None else {"groups": None, "states": []})
        if self.source is not None:
            state["network"] = None
        del state["_reading"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reading = threading.RLock()

    def example_state(self, group: list[View]) -> Any:
        """Return a state of the same make as that of `group`, of two rows of zeros."""
        labels = np.stack([view.show_classes(np.arange(2), self.n_classes) for view in group])
        return self._show(
            np.zeros((len(group), 2, group[0].width), dtype=np.float32),
            labels,
            group,
            self.ready_network(),
        )

    def _summarize(self, group: list[View], network: Network) -> Any:
        assert self.rows is not None
        assert self.labels is not None
        labels = np.stack([view.show_classes(self.labels, self.n_classes) for view in group])
        return self._show(np.stack([view(self.rows) for view in group]), labels, group, network)

    def _show(
        self,
        rows: Float[np.ndarray, "B n V"],
        labels: Int[np.ndarray, "B n"],
        group: list[View],
        network: Network,
    ) -> Any:
        batch = TaskBatch(
            x=torch.from_numpy(rows),
            y=torch.from_numpy(labels.astype(np.float32)),
            n_train=labels.shape[1],
            n_classes=torch.full((len(group),), self.n_classes),
            categorical=torch.from_numpy(np.stack([view.categorical for view in group])),
        )
        with _evaluating(network.model):
            return network.model.summarize(batch.to(network.device))

    def _ask(
        self, network: Network, views: Float[np.ndarray, "B q V"], state: Any
    ) -> Float[np.ndarray, "B q k"]:
        n_rows = views.shape[1]
        padding = np.repeat(views[:, -1:], -n_rows % QUERY_MULTIPLE, axis=1)
        x = torch.from_numpy(np.concatenate([views, padding], axis=1)).to(network.device)
        with _evaluating(network.model):
            logits = network.model.read(x, state)
        return logits[:, :n_rows, : self.n_classes].float().cpu().numpy()

    def _grouped(self, views: list[View], network: Network) -> list[list[View]]:
        """Return views of the same width together, as many as should be read at once."""
        groups: list[list[View]] = []
        for width, same in groupby(
            sorted(views, key=lambda view: view.width), key=lambda view: view.width
        ):
            alike = list(same)
            size = self._cells(network, width) // ((width + 1) * self.n_rows)
            size = min(max(size, 1), len(alike))
            groups += [alike[start : start + size] for start in range(0, len(alike), size)]
        return groups

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


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """Run without gradients and in evaluation mode; a model in training goes back to it after the
    last of the calls that read it."""
    with _MODES:
        n_calls, was_training = _ASKED.get(id(model), (0, getattr(model, "training", False)))
        if n_calls == 0 and was_training:
            model.eval()
        _ASKED[id(model)] = n_calls + 1, was_training
    try:
        with torch.inference_mode():
            yield
    finally:
        with _MODES:
            n_calls, was_training = _ASKED.pop(id(model))
            if n_calls > 1:
                _ASKED[id(model)] = n_calls - 1, was_training
            elif was_training:
                model.train()
