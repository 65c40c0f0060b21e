"""Count the groups of letters in texts, in memory that grows with the longest word alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

N_GRAM_BUCKETS = 1024
"""Buckets into which the letter groups of a text are hashed."""
LETTERS_AT_ONCE = 100_000
"""Letters that are counted in one go: each takes some 200 bytes meanwhile."""


def letter_groups(texts: list[str]) -> Any:
    """Return counts (N, buckets) of the groups of 2 to 4 letters in each text, as a sparse matrix.

    Groups do not cross the ends of words, so that a long text is counted piece by piece.
    """
    from scipy.sparse import csr_matrix, vstack
    from sklearn.feature_extraction.text import HashingVectorizer

    hashing: Any = HashingVectorizer(
        analyzer="char_wb", ngram_range=(2, 4), n_features=N_GRAM_BUCKETS, alternate_sign=False
    )
    hashing.set_params(norm=None)
    parts = []
    for batch in _batches(texts):
        if len(batch) > 1 or len(batch[0]) <= LETTERS_AT_ONCE:
            parts.append(hashing.transform(batch))
            continue
        total = np.zeros((1, N_GRAM_BUCKETS))
        for piece in _pieces(batch[0]):
            total += hashing.transform([piece]).toarray()
        parts.append(csr_matrix(total))
    return vstack(parts, format="csr") if len(parts) > 1 else parts[0]


def unit_rows(rows: Any) -> Any:
    """Return the rows divided by their length."""
    from sklearn.preprocessing import normalize

    return normalize(rows)


def _batches(texts: list[str]) -> Iterator[list[str]]:
    """Yield neighbouring texts that have few letters together; a long one alone."""
    batch: list[str] = []
    n_letters = 0
    for text in texts:
        if batch and n_letters + len(text) > LETTERS_AT_ONCE:
            yield batch
            batch, n_letters = [], 0
        batch.append(text)
        n_letters += len(text)
    if batch:
        yield batch


def _pieces(text: str) -> Iterator[str]:
    """Yield pieces of a long text, cut between words."""
    start = 0
    while start < len(text):
        end = min(start + LETTERS_AT_ONCE, len(text))
        while end < len(text) and not text[end].isspace():
            end += 1
        yield text[start:end]
        start = end
