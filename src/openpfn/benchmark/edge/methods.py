"""The methods of `openpfn benchmark edge`: libraries of networks, league A, which is fitted on the
chip, and league B, which is trained on a computer and takes no more bytes than the network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from openpfn import checkpoint
from openpfn.benchmark.edge import off_chip, on_chip
from openpfn.benchmark.edge.config import EdgeConfig
from openpfn.benchmark.edge.costs import (
    installed,
    learner_costs,
    library_costs,
    on_cores,
    shown_rows,
)
from openpfn.export.budget import budget
from openpfn.export.c_code import write_library
from openpfn.export.options import CodeOptions
from openpfn.export.values import LARGEST_VALUE, varies_too_little
from openpfn.export.verification.host import HostLibrary

MEASURE = "cortex-m4f"
"""The core whose bytes are matched."""


class Method(ABC):
    """What is fitted on context rows and asked about query rows."""

    league: str
    """network, A or B."""

    @abstractmethod
    def answer(
        self,
        x: Float[np.ndarray, "n D"],
        y: Int[np.ndarray, " n"],
        query: Float[np.ndarray, "Q D"],
        n_classes: int,
        seed: int,
    ) -> Float[np.ndarray, "Q k"]:
        """Return the probabilities of the classes for `query`, after fitting `x` and `y`."""


@dataclass(frozen=True)
class NetworkMethod(Method):
    """An exported network, compiled for this machine."""

    library: HostLibrary
    league: str = "network"

    def answer(self, x: Any, y: Any, query: Any, n_classes: int, seed: int) -> np.ndarray:
        x, query = carried_values(x, query)
        status = self.library.fit(x, y, n_classes)
        assert status == "ok", status
        return self.library.predict_proba(query, n_classes).astype(np.float64)


@dataclass(frozen=True)
class ChipMethod(Method):
    """A method of league A, compiled for this machine."""

    learner: on_chip.HostLearner
    league: str = "A"

    def answer(self, x: Any, y: Any, query: Any, n_classes: int, seed: int) -> np.ndarray:
        x, query = carried_values(x, query)
        self.learner.fit(x, y, n_classes)
        return self.learner.predict_proba(query, n_classes).astype(np.float64)


@dataclass(frozen=True)
class ComputerMethod(Method):
    """A method of league B."""

    name: str
    n_bytes: int
    """What it may take."""
    precision_bytes: int
    league: str = "B"

    def answer(self, x: Any, y: Any, query: Any, n_classes: int, seed: int) -> np.ndarray:
        x, query = filled(x, query)
        present, labels = np.unique(y, return_inverse=True)
        size = (self.n_bytes, self.precision_bytes)
        trained = off_chip.fit_within(self.name, x, labels, *size, seed)
        p = np.zeros((len(query), n_classes))
        p[:, present] = trained.predict_proba(query)
        return p


def build(config: EdgeConfig, place: Path) -> tuple[dict[str, Method], list[dict[str, Any]]]:
    """Return the methods by name, and facts of each: its league, and its costs on the cores.

    Raises ValueError where a checkpoint fits no backend, or a peer is unknown.
    """
    wanted = peers_of(config)
    methods, facts = libraries(config, place)
    limits = (max(config.rows), config.max_features, config.max_classes)
    for name in (name for name in wanted if name in on_chip.LEARNERS):
        source = on_chip.learner_source(name)
        methods[name] = ChipMethod(on_chip.HostLearner(source, *limits))
        cores = on_cores(learner_costs, source, config.cores)
        facts.append({"method": name, "league": "A", "cores": cores})
    allowed = allowed_bytes(config, facts)
    shown = shown_rows()
    for name in (name for name in wanted if name in off_chip.PACKAGES):
        methods[name] = ComputerMethod(name, allowed, config.precision_bytes)
        size = (allowed, config.precision_bytes, config.seed)
        trained = off_chip.fit_within(name, shown.x, shown.y, *size)
        cores = on_cores(learner_costs, trained.source(), config.cores)
        one = {"method": name, "league": "B", "cores": cores, "allowed_bytes": allowed}
        facts.append(one)
    return methods, facts


def peers_of(config: EdgeConfig) -> Sequence[str]:
    """Return the peers' names. Raises ValueError for one that is unknown or not installed."""
    known = [*on_chip.LEARNERS, *off_chip.present()]
    if config.peers is None:
        return known
    for name in config.peers:
        if name not in known:
            package = off_chip.PACKAGES.get(name)
            hint = f" Install {package}." if package else f" Choose among {', '.join(known)}."
            raise ValueError(f"there is no peer {name!r} here.{hint}")
    return config.peers


def libraries(config: EdgeConfig, place: Path) -> tuple[dict[str, Method], list[dict[str, Any]]]:
    """Return the exported libraries by name, and facts of each. Raises ValueError where a
    checkpoint fits no backend."""
    methods: dict[str, Method] = {}
    facts = []
    for source in config.checkpoints:
        model, refusals = checkpoint.load(source).model, []
        for backend in config.backends:
            name = f"{short_name(source)} {backend}"
            options = CodeOptions(backend, config.max_features, config.max_classes)
            try:
                write_library(model, place / name, options, source)
            except ValueError as refusal:  # ridge attention in whole numbers, for one
                refusals.append(str(refusal))
                continue
            methods[name] = NetworkMethod(HostLibrary(place / name))
            told = budget(model.config, 50, 5, 3, backend, max_classes=config.max_classes)
            one = {
                "method": name,
                "league": "network",
                "backend": backend,
                "told_bytes": told.flash_bytes(True) + told.context_bytes + told.scratch_bytes,
                "cores": on_cores(library_costs, place / name, config.cores),
            }
            facts.append(one)
        if len(refusals) == len(config.backends):
            raise ValueError(f"{source} cannot be exported: {refusals[0]}")
    return methods, facts


def allowed_bytes(config: EdgeConfig, facts: Sequence[dict[str, Any]]) -> int:
    """Return the bytes that league B may take: flash and memory of the first checkpoint's library
    on a Cortex-M4F, as measured, or as told where that core is not measured."""
    wanted = f"{short_name(config.checkpoints[0])} {config.matched_backend}"
    found = [one for one in facts if one["method"] == wanted]
    if not found:
        raise ValueError(
            f"{config.checkpoints[0]} has no library with {config.matched_backend}, whose bytes are"
            " the measure. Give another --precision-bytes."
        )
    measured = found[0]["cores"].get(MEASURE)
    return measured["flash"] + measured["ram"] if measured else found[0]["told_bytes"]


def not_installed(config: EdgeConfig) -> list[str]:
    """Return cores and peers that are left out, since what they need is not installed."""
    cores = [core for core in config.cores if core not in installed(config.cores)]
    peers = [name for name in off_chip.PACKAGES if name not in off_chip.present()]
    return cores + (peers if config.peers is None else [])


def short_name(source: str) -> str:
    """Return the name of a checkpoint: a shipped one's, a file's or a run folder's."""
    path = Path(source)
    return path.parent.name if path.stem == "latest" else path.stem


def carried_values(
    x: Float[np.ndarray, "n D"], query: Float[np.ndarray, "Q D"]
) -> tuple[np.ndarray, np.ndarray]:
    """Return context and query rows as the C library takes them: sizes limited, and zeros for
    columns that hardly vary in the context rows."""
    x, query = (
        np.clip(rows, -LARGEST_VALUE, LARGEST_VALUE).astype(np.float32) for rows in (x, query)
    )  # NaN stays
    still = varies_too_little(x)
    x[:, still], query[:, still] = 0, 0
    return x, query


def filled(x: np.ndarray, query: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return context and query rows with the context's means in place of missing values."""
    present = ~np.isnan(x)
    mean = np.where(present, x, 0).sum(axis=0) / np.maximum(present.sum(axis=0), 1)
    return np.where(present, x, mean), np.where(np.isnan(query), mean, query)
