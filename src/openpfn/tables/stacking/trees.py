"""`RandomTrees`: leaves of random trees as the features of a ridge regression."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_array

from openpfn.tables.stacking.arrays import Arrays
from openpfn.tables.stacking.features import level_spans
from openpfn.tables.stacking.questions import Questions, leaf_numbers

N_TREES = 256
DEPTHS = (2, 7)
"""Fewest and most questions of a tree."""
N_CODINGS = 4
"""Random orders in which trees may meet the levels of a category."""


@dataclass(frozen=True)
class RandomTrees(Arrays):
    """Oblivious trees whose questions are drawn at random, whatever the targets (Geurts et al.
    2006 call them totally randomised): each asks all rows the same few questions, and the answers
    are the leaf. Two rows are the more alike the more leaves they share.
    """

    filled: Float[np.ndarray, " D"]
    """Medians, which take the place of missing numbers."""
    is_code: Bool[np.ndarray, " D"]
    known: Float[np.ndarray, " K"]
    """Levels of the first column of codes in order, then of the second, and so on."""
    ends: Int[np.ndarray, " C"]
    """Where each column's levels end."""
    places: Float[np.ndarray, "codings KC"]
    """Place of each level in each order, and after the levels of a column that of all others."""
    column: Int[np.ndarray, "trees S"]
    """Of which column each question is, in the order in which `values` has them."""
    threshold: Float[np.ndarray, "trees S"]
    """Whether the value is above this; infinite beyond a tree's last question."""

    @classmethod
    def fit(cls, rows: Float[np.ndarray, "n D"], is_code: Bool[np.ndarray, " D"]) -> RandomTrees:
        """Return trees whose questions part `rows`; `is_code` marks the columns of codes."""
        random = np.random.default_rng(0)
        missing = np.isnan(rows)
        none = missing.all(axis=0)
        filled = np.where(none, 0.0, np.nanmedian(np.where(none, 0.0, rows), axis=0))
        levels = [np.unique(rows[~missing[:, j], j]) for j in np.flatnonzero(is_code)]
        sizes = np.array([len(one) + 1 for one in levels], dtype=np.int64)
        fewest, most = DEPTHS
        depth = random.integers(fewest, most + 1, N_TREES)[:, None]
        trees = cls(
            filled,
            is_code,
            np.concatenate([np.empty(0), *levels]),
            np.cumsum(sizes - 1),
            random.random((N_CODINGS, sizes.sum())),
            np.zeros((0, most), dtype=np.int64),
            np.zeros((0, most)),
        )
        column, threshold = Questions(trees.values(rows), trees.weight, random).draw(N_TREES, most)
        is_asked = np.arange(most) < depth
        return replace(trees, column=column, threshold=np.where(is_asked, threshold, np.inf))

    def values(self, rows: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N A"]:
        """Return what can be asked about: the columns of numbers, then each order of each column of
        codes."""
        numbers = rows[:, ~self.is_code]
        parts = [np.where(np.isnan(numbers), self.filled[~self.is_code], numbers)]
        for i, (j, start, end) in enumerate(level_spans(self.is_code, self.ends)):
            levels = self.known[start:end]
            place = np.searchsorted(levels, rows[:, j])  # NaN comes after all
            found = np.append(levels, np.nan)[place] == rows[:, j]
            places = self.places[:, start + i : end + i + 1]
            parts.append(places[:, np.where(found, place, end - start)].T)
        return np.concatenate(parts, axis=1)

    @property
    def weight(self) -> Float[np.ndarray, " A"]:
        """How likely questions about each of `values` are: a category is asked about as often as a
        number, whatever its orders."""
        of_codes = np.full(N_CODINGS * int(self.is_code.sum()), 1 / N_CODINGS)
        return np.concatenate([np.ones(int((~self.is_code).sum())), of_codes])

    @property
    def n_leaves(self) -> int:
        """Number of leaves of all trees together."""
        return int(self._first_leaf()[-1])

    def leaves(self, values: Float[np.ndarray, "N A"]) -> Int[np.ndarray, "N trees"]:
        """Return the leaf in each tree of rows, of which these are the `values`; no two trees share
        a leaf."""
        return leaf_numbers(values, self.column, self.threshold) + self._first_leaf()[:-1]

    def __call__(self, values: Float[np.ndarray, "N A"]) -> csr_array:
        """Return 1 for the leaves that each of N rows is in, as a sparse matrix (N, leaves)."""
        leaves = self.leaves(values)
        ends = np.arange(0, leaves.size + 1, leaves.shape[1])
        shape = len(values), self.n_leaves
        return csr_array((np.ones(leaves.size), leaves.ravel(), ends), shape=shape)

    def _first_leaf(self) -> Int[np.ndarray, " trees1"]:
        n_questions = np.isfinite(self.threshold).sum(axis=1)
        return np.concatenate([[0], np.cumsum(1 << n_questions)])
