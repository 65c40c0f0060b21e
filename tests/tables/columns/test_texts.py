"""Columns of text become the same numbers whatever holds them, however long or empty they are."""

from __future__ import annotations

import decimal

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from openpfn.tables.columns.texts import N_SHOWN, NoText, Sentences, WordsAndLetters
from openpfn.tables.encode import TableEncoder
from openpfn.tables.values import plain_values

RANDOM = np.random.default_rng(0)
NOTES = [
    f"{' '.join(RANDOM.choice(['broken', 'screen', 'lost', 'key', 'fine'], 3))} {i}"
    for i in range(60)
]
TABLE = pd.DataFrame({"note": NOTES, "size": RANDOM.normal(size=60)})
ODD = [None, "", "   ", "😀🎉 lost", "מפתח אבד", "x" * 200_000, "lost key " * 2_000, "\x00", "a"]


class CountedLetters:
    """An encoder of sentences that counts five letters."""

    name, fingerprint = "letters", "abcde"

    def encode(self, texts: list[str]) -> np.ndarray:
        counts = [[text.count(letter) for letter in "abcde"] for text in texts]
        return np.array(counts, dtype=np.float32)


def fitted(values: list | pd.Series = NOTES) -> WordsAndLetters:
    return WordsAndLetters.fit(plain_values(pd.Series(values)))


def test_few_components_are_shown_and_many_features_kept():
    numbers, texts = TableEncoder(WordsAndLetters.fit).fit(TABLE).read(TABLE)
    assert numbers.shape == (60, N_SHOWN + 1)
    assert texts.shape == (60, 8192)
    assert TableEncoder().fit(TABLE).read(TABLE)[1] is None


def test_letters_and_words_count_the_same():
    features = fitted().features_of(["lost key", "fine"])
    assert_allclose(features[:, :4096].multiply(features[:, :4096]).sum(axis=1), 1)
    assert_allclose(features[:, 4096:].multiply(features[:, 4096:]).sum(axis=1), 1)


def test_odd_texts_are_read_and_missing_ones_are_missing():
    encoded = fitted()(pd.Series(ODD, dtype=object))
    assert np.isnan(encoded[0]).all()
    assert np.isfinite(encoded[1:]).all()
    assert_array_equal(encoded[1], 0)


@pytest.mark.slow
def test_a_text_alone_is_read_as_among_others():
    encoder, texts = fitted(), pd.Series([*NOTES[:9], *ODD], dtype=object)
    alone = np.concatenate([encoder(texts.iloc[i : i + 1]) for i in range(len(texts))])
    assert_array_equal(alone, encoder(texts))


@pytest.mark.parametrize("dtype", ["str", "string", "object", "string[pyarrow]", "category"])
def test_the_dtype_that_holds_texts_does_not_matter(dtype):
    encoder, expected = fitted(), fitted()(pd.Series([*NOTES[:5], None], dtype=object))
    assert_array_equal(encoder(pd.Series([*NOTES[:5], None]).astype(dtype)), expected)


def test_equal_contents_of_mixed_types_are_equal_texts():
    one = pd.Series(["lost", 3, decimal.Decimal("2.5"), b"key"], dtype=object)
    other = pd.Series(["lost", "3", 2.5, "key"], dtype=object)
    assert_array_equal(fitted()(one), fitted()(other))


def test_row_order_of_the_context_does_not_matter():
    order = RANDOM.permutation(60)
    assert_array_equal(fitted(list(np.array(NOTES)[order])).components, fitted().components)


def test_a_sentence_encoder_is_asked_once_for_each_text():
    asked: list[str] = []

    class Counting(CountedLetters):
        def encode(self, texts: list[str]) -> np.ndarray:
            asked.extend(texts)
            return super().encode(texts)

    encoder = Sentences(Counting(), np.empty(0), np.eye(5))
    vectors = encoder(pd.Series(["abba", "deed", "abba", None], dtype=object))
    expected = np.array([[1, 1, 0, 0, 0], [0, 0, 0, 1, 1], [1, 1, 0, 0, 0]]) / np.sqrt(2)
    assert_allclose(vectors[:3], expected)
    assert np.isnan(vectors[3]).all()
    assert sorted(asked) == ["", "abba", "deed"]


def test_sentences_are_told_apart_by_their_principal_components():
    encoder = Sentences.fit_vectors(plain_values(TABLE["note"]), CountedLetters(), 2)
    vectors = CountedLetters().encode(NOTES).astype(float)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    expected = np.linalg.svd(vectors - vectors.mean(axis=0))[2][:2].T
    assert_allclose(np.abs(encoder.components.T @ expected), np.eye(2), atol=1e-4)


def test_words_and_letters_are_read_beside_a_sentence_encoder():
    encoder = Sentences.fit(plain_values(TABLE["note"]), CountedLetters())
    features = encoder.features_of(NOTES)
    assert features.shape == (60, 8192 + 5)
    assert (features[:, :8192] != fitted().features_of(NOTES)).nnz == 0


def test_dropped_text_gives_no_columns():
    encoder = TableEncoder(NoText.fit).fit(TABLE)
    assert_array_equal(encoder.transform(TABLE), TABLE[["size"]])


@pytest.mark.parametrize("fit_text", [WordsAndLetters.fit, NoText.fit, None])
def test_the_state_tells_how_texts_were_read(fit_text):
    encoder = (TableEncoder(fit_text) if fit_text else TableEncoder()).fit(TABLE)
    again = TableEncoder.from_state(*encoder.state())
    assert type(again.encoders[0]) is type(encoder.encoders[0])
    assert_array_equal(again.transform(TABLE), encoder.transform(TABLE))


def test_a_state_from_before_there_was_a_choice_is_read():
    encoder = TableEncoder().fit(TABLE)
    plain, arrays = encoder.state()
    for entry in plain["columns"]:
        entry.pop("encoder", None)
    assert_array_equal(
        TableEncoder.from_state(plain, arrays).transform(TABLE), encoder.transform(TABLE)
    )
