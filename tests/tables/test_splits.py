"""Every row is context or query, every class has its share."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openpfn.tables.splits import context_size, stratified_split


@given(
    seed=st.integers(0, 10**6),
    n_classes=st.integers(1, 8),
    n_rows=st.integers(20, 200),
    share=st.floats(0.05, 0.9),
)
def test_classes_have_their_share(seed, n_classes, n_rows, share):
    y = np.random.default_rng(seed).integers(0, n_classes, n_rows)
    n_context = max(1, int(share * n_rows))
    context, query = stratified_split(y, n_context, seed=seed)
    assert len(context) == n_context
    assert sorted([*context, *query]) == list(range(n_rows))
    counts, in_context = (
        np.bincount(y, minlength=n_classes),
        np.bincount(y[context], minlength=n_classes),
    )
    if n_context >= 2 * n_classes:
        assert (in_context[counts > 0] > 0).all()
        assert (np.abs(in_context - counts * n_context / n_rows) < n_classes + 1).all()


def test_rare_classes_are_seen():
    context, _ = stratified_split(["a"] * 98 + ["b", "c"], 10)
    assert {98, 99} <= set(context)


def test_the_seed_decides_and_query_rows_can_be_fewer():
    y = np.arange(60) % 3
    assert np.array_equal(stratified_split(y, 20, seed=1)[0], stratified_split(y, 20, seed=1)[0])
    assert not np.array_equal(
        stratified_split(y, 20, seed=1)[0], stratified_split(y, 20, seed=2)[0]
    )
    context, query = stratified_split(y, 20, n_query=7)
    assert len(query) == 7
    assert not set(context) & set(query)


@pytest.mark.parametrize(("n_context", "n_query"), [(0, None), (10, None), (6, 5), (5, 0)])
def test_impossible_splits_are_refused(n_context, n_query):
    with pytest.raises(ValueError, match="from 10 rows"):
        stratified_split(np.zeros(10), n_context, n_query=n_query)


def test_context_is_half_the_rows_up_to_a_limit():
    assert (context_size(50), context_size(1000), context_size(1000, most=30)) == (25, 150, 30)
