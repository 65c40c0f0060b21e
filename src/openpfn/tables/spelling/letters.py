"""Count the groups of letters and the words in texts, in memory proportional to the letters there
are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float

N_GRAM_BUCKETS = 1024
"""Buckets into which the letter groups of a text are hashed."""
GROUP_SIZES = (2, 3, 4)
"""Letters of a group."""
LETTERS_AT_ONCE = 100_000
"""Letters that are counted in one go: each takes some 300 bytes meanwhile."""


def letter_groups(texts: list[str], n_buckets: int = N_GRAM_BUCKETS) -> Any:
    """Return counts (N, buckets) of the groups of 2 to 4 letters in each text, as a sparse matrix.

    Groups do not cross the ends of words, so that each word of a long text is counted once.
    """
    from scipy.sparse import csr_matrix, vstack

    hashing = _hashing("char_wb", GROUP_SIZES[0], GROUP_SIZES[-1], n_buckets)
    parts = [
        hashing.transform(batch)
        if len(batch) > 1 or len(batch[0]) <= LETTERS_AT_ONCE
        else csr_matrix(_counts_of_long_text(batch[0], hashing))
        for batch in _batches(texts)
    ]
    return vstack(parts, format="csr") if len(parts) > 1 else parts[0]


def word_groups(texts: list[str], n_buckets: int = N_GRAM_BUCKETS) -> Any:
    """Return counts (N, buckets) of the words and pairs of neighbouring words in each text, as a
    sparse matrix."""
    return _hashing("word", 1, 2, n_buckets).transform(texts)


def unit_rows(rows: Any) -> Any:
    """Return the rows divided by their length."""
    from sklearn.preprocessing import normalize

    return normalize(rows)


def _hashing(analyzer: str, fewest: int, most: int, n_buckets: int) -> Any:
    from sklearn.feature_extraction.text import HashingVectorizer

    hashing: Any = HashingVectorizer(
        analyzer=analyzer,  # type: ignore[arg-type]
        ngram_range=(fewest, most),
        n_features=n_buckets,
        alternate_sign=False,
    )
    return hashing.set_params(norm=None)


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


def _counts_of_long_text(text: str, hashing: Any) -> Float[np.ndarray, "1 buckets"]:
    """Counts of one text: those of its distinct words, times how often each comes."""
    repeated = Counter(text.lower().split())
    total = np.zeros((1, hashing.n_features))
    for batch in _batches(list(repeated)):
        if len(batch[0]) > LETTERS_AT_ONCE:
            total += repeated[batch[0]] * _counts_of_long_word(batch[0], hashing.n_features)
        else:
            n_times = np.array([[repeated[word] for word in batch]], dtype=np.float64)
            total += n_times @ hashing.transform(batch)
    return total


def _counts_of_long_word(word: str, n_buckets: int) -> Float[np.ndarray, "1 buckets"]:
    """Counts of one word, piece by piece; pieces overlap by the groups that cross their ends."""
    padded = f" {word} "
    total = np.zeros((1, n_buckets))
    for size in GROUP_SIZES:
        hashing = _hashing("char", size, size, n_buckets)
        for start in range(0, len(padded) - size + 1, LETTERS_AT_ONCE):
            piece = padded[start : start + LETTERS_AT_ONCE + size - 1]
            total += hashing.transform([piece]).toarray()
    return total
