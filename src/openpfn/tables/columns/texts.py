"""Columns of many different words, as few numbers: by their letters and words, by a sentence
encoder, or not at all."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from openpfn.tables.columns.base import ColumnEncoder
from openpfn.tables.schema import Kind
from openpfn.tables.spelling.letters import letter_groups, unit_rows, word_groups
from openpfn.tables.values import ColumnValues, as_word

MOST_TEXT_COMPONENTS = 8
"""Numbers that a column of text becomes at most, where no target is learnt from it."""
N_SHOWN = 4
"""The same of a column whose text scores a network is shown too."""
LETTER_BUCKETS = 4096
WORD_BUCKETS = 4096


@runtime_checkable
class SentenceModel(Protocol):
    """An encoder of sentences, known by its name and the fingerprint of its weights."""

    name: str
    fingerprint: str

    def encode(self, texts: list[str]) -> Float[np.ndarray, "n width"]:
        """Return one vector per text."""
        ...


@dataclass
class Text(ColumnEncoder):
    """Encoder of texts: the principal components of their letter groups, weighted by how rare each
    is (tf-idf)."""

    kind: ClassVar[Kind] = "text"

    rarity: Float[np.ndarray, " buckets"]
    """Inverse document frequency of each bucket."""
    components: Float[np.ndarray, "buckets k"]
    """Directions of largest variance."""

    @property
    def n_out(self) -> int:
        return self.components.shape[1]

    @classmethod
    def fit(cls, values: ColumnValues) -> Text:
        # sorted, so that sums round alike in whatever order the rows come
        counts = letter_groups(sorted(texts_of(values)))
        rarity = _rarity(counts)
        weighted = unit_rows(counts.multiply(rarity).tocsr())
        return cls(rarity, _directions(weighted, MOST_TEXT_COMPONENTS, np.float64))

    def encode(self, values: ColumnValues) -> Float[np.ndarray, "N k"]:
        weighted = unit_rows(letter_groups(texts_of(values)).multiply(self.rarity).tocsr())
        return np.where(values.missing[:, None], np.nan, weighted @ self.components)


class WideText(ColumnEncoder):
    """Encoder of texts by many features, of which a network is shown a few principal components.

    What a target has to do with the texts is learnt from all features.
    """

    kind: ClassVar[Kind] = "text"

    components: Float[np.ndarray, "F k"]
    """Directions of largest variance, in single precision, which halves a saved file."""

    @property
    def n_out(self) -> int:
        return self.components.shape[1]

    @abstractmethod
    def features_of(self, texts: list[str]) -> Any:
        """Return the features (n, F) of texts, as a sparse matrix."""

    def features(self, values: ColumnValues) -> Any:
        """Return the features (N, F) of each row, none where a value is missing; each different
        text is looked at once."""
        texts = contents_of(values)
        distinct = list(dict.fromkeys(texts)) or [""]
        place = {text: i for i, text in enumerate(distinct)}
        found = self.features_of(distinct)[np.array([place[text] for text in texts], dtype=int)]
        return found.multiply(~values.missing[:, None]).tocsr()

    def reduce(self, features: Any, values: ColumnValues) -> Float[np.ndarray, "N k"]:
        """Return the principal components of features; NaN where a value is missing."""
        return np.where(values.missing[:, None], np.nan, features @ self.components)

    def encode(self, values: ColumnValues) -> Float[np.ndarray, "N k"]:
        return self.reduce(self.features(values), values)


@dataclass
class WordsAndLetters(WideText):
    """Encoder of texts by their words, pairs of words and letter groups, each weighted by how rare
    it is and how often the text has it (tf-idf, tf being 1 + log)."""

    rarity: Float[np.ndarray, " buckets"]
    """Inverse document frequency of each bucket, those of letters first."""
    components: Float[np.ndarray, "F k"]

    @classmethod
    def fit(cls, values: ColumnValues) -> WordsAndLetters:
        # sorted, so that sums round alike in whatever order the rows come
        texts = sorted(contents_of(values))
        encoder = cls(_rarity(_grams(texts)), np.empty((0, 0)))
        return replace(encoder, components=_directions(encoder.features_of(texts), N_SHOWN))

    def features_of(self, texts: list[str]) -> Any:
        counts = _grams(texts)
        counts.data = 1 + np.log(counts.data)
        weighted = counts.multiply(self.rarity).tocsc()
        parts = weighted[:, :LETTER_BUCKETS], weighted[:, LETTER_BUCKETS:]
        return side_by_side([unit_rows(part.tocsr()) for part in parts])


@dataclass
class Sentences(WideText):
    """Encoder of texts by the vectors of a sentence encoder, each of length 1, and by their words
    and letters."""

    model: Any
    """The `SentenceModel`."""
    rarity: Float[np.ndarray, " buckets"]
    """That of `WordsAndLetters`; empty where only the vectors are read."""
    components: Float[np.ndarray, "F k"]

    @classmethod
    def fit(cls, values: ColumnValues, model: SentenceModel) -> Sentences:
        texts = sorted(contents_of(values))
        encoder = cls(model, _rarity(_grams(texts)), np.empty((0, 0)))
        return replace(encoder, components=_directions(encoder.features_of(texts), N_SHOWN))

    @classmethod
    def fit_vectors(cls, values: ColumnValues, model: SentenceModel, n: int) -> Sentences:
        """Return the encoder of the vectors alone, as `n` principal components."""
        encoder = cls(model, np.empty(0), np.empty((0, 0)))
        vectors = encoder.features_of(sorted(contents_of(values))).toarray()
        return replace(encoder, components=_directions(vectors - vectors.mean(axis=0), n))

    def features_of(self, texts: list[str]) -> Any:
        from scipy.sparse import csr_matrix

        vectors = csr_matrix(np.asarray(self.model.encode(texts), dtype=np.float64))
        if not len(self.rarity):
            return unit_rows(vectors)
        words = WordsAndLetters(self.rarity, self.components).features_of(texts)
        return side_by_side([words, unit_rows(vectors)])


@dataclass
class NoText(ColumnEncoder):
    """Encoder that leaves a column of text out."""

    kind: ClassVar[Kind] = "text"

    @property
    def n_out(self) -> int:
        return 0

    @classmethod
    def fit(cls, values: ColumnValues) -> NoText:
        return cls()

    def encode(self, values: ColumnValues) -> Float[np.ndarray, "N 0"]:
        return np.empty((len(values), 0))


TEXT_ENCODERS: dict[str, Any] = {
    encoder.__name__: encoder for encoder in (Text, WordsAndLetters, Sentences, NoText)
}
"""Encoders of columns of text, by the name under which a saved file records them."""


def texts_of(values: ColumnValues) -> list[str]:
    """Return the texts; empty where one is missing."""
    if values.form != "objects":
        return [word or "" for word in values.words()]
    return [
        "" if missing else str(value)
        for value, missing in zip(values.data, values.missing.tolist(), strict=True)
    ]


def _grams(texts: list[str]) -> Any:
    """Return counts of letter groups and of words, side by side, as a sparse matrix."""
    return side_by_side([letter_groups(texts, LETTER_BUCKETS), word_groups(texts, WORD_BUCKETS)])


def contents_of(values: ColumnValues) -> list[str]:
    """Return the texts, whatever types hold them: 3, 3.0 and "3" are one text; empty where one is
    missing."""
    if values.form != "objects":
        return [word or "" for word in values.words()]
    return [
        "" if missing else value if isinstance(value, str) else as_word(value)
        for value, missing in zip(values.data, values.missing.tolist(), strict=True)
    ]


def side_by_side(parts: list[Any]) -> Any:
    """Return sparse matrices of the same rows as one."""
    from scipy.sparse import hstack

    return hstack(parts, format="csr")


def _rarity(counts: Any) -> Float[np.ndarray, " buckets"]:
    n_texts_with = np.bincount(counts.indices, minlength=counts.shape[1])
    return np.log((1 + counts.shape[0]) / (1 + n_texts_with)) + 1


def _directions(rows: Any, most: int, dtype: Any = np.float32) -> Float[np.ndarray, "W k"]:
    """Return the first right singular vectors of `rows`, their largest entry positive."""
    from sklearn.utils.extmath import randomized_svd

    n_components = min(most, *rows.shape)
    directions = randomized_svd(rows, n_components, random_state=0)[2].T
    largest = np.abs(directions).argmax(axis=0)
    signs = np.sign(directions[largest, np.arange(n_components)])
    return (directions * signs).astype(dtype)
