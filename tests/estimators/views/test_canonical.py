"""Laws of the canonical order of classes."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from openpfn.estimators.views.canonical import canonical_order


@given(seed=st.integers(0, 10**6), n_classes=st.integers(1, 6), n_distinct=st.integers(1, 4))
def test_names_and_row_order_do_not_decide(seed, n_classes, n_distinct):
    random = np.random.default_rng(seed)
    rows = random.integers(0, n_distinct, size=(24, 2)).astype(float)
    rows[random.random(rows.shape) < 0.1] = np.nan
    labels = random.permutation(np.arange(24) % n_classes)
    rename, shuffle = random.permutation(n_classes), random.permutation(24)
    order, tied = canonical_order(rows, labels, n_classes)
    renamed_order, renamed_tied = canonical_order(rows[shuffle], rename[labels][shuffle], n_classes)
    assert renamed_tied == tied
    in_a_tie = {place for group in tied for place in group}
    for place in set(range(n_classes)) - in_a_tie:
        assert renamed_order[place] == rename[order[place]]
    for group in tied:
        assert set(renamed_order[group]) == set(rename[order[group]])


def test_frequent_classes_come_first_then_small_means():
    rows = np.array([[5.0], [5.0], [1.0], [3.0], [9.0], [0.0]])
    order, tied = canonical_order(rows, np.array([0, 0, 1, 2, 2, 1]), 3)
    assert order.tolist() == [1, 0, 2]
    assert tied == []


def test_classes_with_the_same_rows_tie():
    rows = np.array([[1.0, 0.0], [2.0, 1.0], [2.0, 1.0], [1.0, -0.0], [4.0, 4.0]])
    order, tied = canonical_order(rows, np.array([0, 0, 1, 1, 2]), 3)
    assert order.tolist() == [0, 1, 2]
    assert tied == [[0, 1]]


def test_equal_means_are_told_apart_by_the_rows():
    rows = np.array([[0.0], [4.0], [1.0], [3.0]])
    assert canonical_order(rows, np.array([1, 1, 0, 0]), 2)[0].tolist() == [1, 0]
    assert canonical_order(rows, np.array([0, 0, 1, 1]), 2)[0].tolist() == [0, 1]
