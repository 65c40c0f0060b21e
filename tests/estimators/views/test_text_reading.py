"""Estimators on tables with text: any way of reading it, saved and loaded, row by row."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from openpfn import PFNClassifier, PFNRegressor
from openpfn.estimators.views import text_reading as text
from openpfn.tables.columns.texts import Sentences, WordsAndLetters
from tests.estimators.conftest import NUMBERS, KernelNetwork, KernelRegression, random_network

RANDOM = np.random.default_rng(0)
N = 140
WORDS = np.array("broken screen lost key fine happy angry red blue green".split())
PLACES = np.stack([RANDOM.choice(10, 3, replace=False) for _ in range(N)])
TABLE = pd.DataFrame(
    {
        "note": [f"{' '.join(WORDS[places])} {i}" for i, places in enumerate(PLACES)],
        "size": RANDOM.normal(size=N),
        "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(RANDOM.integers(0, 400, N), "D"),
    }
)
y = RANDOM.normal(size=10)[PLACES].sum(axis=1)
LABELS = np.array(["a", "b", "c"])[np.digitize(y, np.quantile(y, [0.3, 0.6]))]


class CountedLetters:
    """An encoder of sentences that counts letters."""

    fingerprint, width = "counts", 26

    def encode(self, texts: list[str]) -> np.ndarray:
        letters = "abcdefghijklmnopqrstuvwxyz"
        return np.array([[one.count(c) for c in letters] for one in texts], dtype=np.float32)


@pytest.fixture
def encoder(monkeypatch):
    """A sentence encoder that stands in for an installed one."""
    found = CountedLetters()
    monkeypatch.setattr(text, "_encoder", lambda name: found)
    monkeypatch.setattr(text, "_is_on_disk", lambda name: name == "minilm")
    return found


@pytest.mark.parametrize("kind", [PFNClassifier, PFNRegressor])
def test_what_texts_say_of_the_target_is_seen(kind):
    is_class = kind is PFNClassifier
    target = (y > np.median(y)).astype(int) if is_class else y
    model = KernelNetwork() if is_class else KernelRegression()
    found = {}
    for option in ({"text": "drop"}, {"text_scores": False}, {}):
        fitted = kind(model=model, n_estimators=1, **option).fit(TABLE[:100], target[:100])
        found[str(option)] = fitted.score(TABLE[100:], target[100:])
    assert found["{}"] > max(found["{'text': 'drop'}"], found["{'text_scores': False}"]) + 0.1


@pytest.mark.slow
@pytest.mark.parametrize("kind", [PFNClassifier, PFNRegressor])
@pytest.mark.parametrize("reading", ["string", "encoder", "drop"])
def test_a_saved_estimator_reads_text_as_before(tmp_path, kind, reading, encoder):
    target = LABELS if kind is PFNClassifier else y
    fitted = kind(model=random_network(NUMBERS), n_estimators=1, text=reading).fit(TABLE, target)
    loaded = kind.load(fitted.save(tmp_path / "fitted.safetensors"))
    assert loaded.text == reading
    assert (loaded.text_scores_ is None) == (reading == "drop")
    assert_array_equal(loaded.predict(TABLE[:9]), fitted.predict(TABLE[:9]))


@pytest.mark.slow
def test_a_row_alone_is_predicted_as_among_others():
    odd = pd.DataFrame(
        {
            "note": [
                None,
                "",
                "😀 broken",
                "מפתח אבד",
                "key " * 50_000,
                "y" * 100_000,
                "red key 1",
            ],
            "size": [0.1, np.nan, 1, 2, 3, 4, 5],
            "day": [pd.NaT, *[pd.Timestamp("2024-02-29")] * 6],
        }
    )
    fitted = PFNClassifier(model=random_network(), n_estimators=2).fit(TABLE, LABELS)
    alone = [fitted.predict_proba(odd.iloc[i : i + 1])[0] for i in range(len(odd))]
    assert np.isfinite(alone).all()
    assert_array_equal(fitted.predict_proba(odd), alone)


@pytest.mark.slow
def test_neither_row_order_nor_dtypes_matter():
    order = RANDOM.permutation(N)
    plain = PFNClassifier(model=random_network(), n_estimators=1).fit(TABLE, LABELS)
    expected = plain.predict_proba(TABLE[:9])
    held = TABLE.assign(note=TABLE["note"].astype("string"), day=TABLE["day"].astype(str))
    for table, rows in ((TABLE, order), (held, slice(None)), (TABLE.astype(object), order)):
        again = PFNClassifier(model=random_network(), n_estimators=1)
        again.fit(table.iloc[rows], LABELS[rows])
        assert_array_equal(again.predict_proba(table[:9]), expected)


def test_text_where_numbers_were_and_numbers_where_text_was():
    fitted = PFNClassifier(model=random_network(), n_estimators=1).fit(TABLE, LABELS)
    with pytest.warns(UserWarning, match="'size': 1 of 1 value could not be read as numbers"):
        words = fitted.predict_proba(TABLE[:1].assign(size="a large one"))
    assert_array_equal(words, fitted.predict_proba(TABLE[:1].assign(size=np.nan)))
    numbers = fitted.predict_proba(TABLE[:1].assign(note=12.0))
    assert_array_equal(numbers, fitted.predict_proba(TABLE[:1].assign(note="12")))


def test_without_text_nothing_is_added():
    table = TABLE.drop(columns="note")
    fitted = PFNClassifier(model=random_network(), n_estimators=1).fit(table, LABELS)
    assert fitted.text_scores_ is None
    for option in ({"text": "drop"}, {"text_scores": False}):
        other = PFNClassifier(model=random_network(), n_estimators=1, **option)
        assert_array_equal(
            other.fit(table, LABELS).predict_proba(table[:9]), fitted.predict_proba(table[:9])
        )


def test_text_alone_cannot_be_dropped():
    with pytest.raises(ValueError, match=r"nothing but text \(note\).*text='drop'"):
        PFNClassifier(model=KernelNetwork(), text="drop").fit(TABLE[["note"]], LABELS)


def test_an_unknown_reading_is_refused():
    with pytest.raises(ValueError, match="text is 'embed', must be one of auto, string"):
        PFNClassifier(model=KernelNetwork(), text="embed").fit(TABLE, LABELS)


def reading_of(reading: str) -> type:
    """What a column of text is read by."""
    fitted = PFNClassifier(model=KernelNetwork(), n_estimators=1, text=reading)
    return type(fitted.fit(TABLE, LABELS).encoder_.encoders[0])


def test_without_a_sentence_encoder_auto_reads_words_and_letters():
    assert reading_of("auto") is WordsAndLetters


def test_auto_asks_a_sentence_encoder_for_no_more_than_it_reads_in_half_a_minute(
    encoder, monkeypatch
):
    assert reading_of("auto") is reading_of("encoder") is Sentences
    monkeypatch.setattr(text, "MOST_LETTERS", 100)
    assert reading_of("auto") is reading_of("string") is WordsAndLetters
    assert reading_of("encoder") is Sentences


def test_another_sentence_encoder_than_at_fit_is_refused(tmp_path, encoder):
    model = random_network(NUMBERS)
    fitted = PFNRegressor(model=model, n_estimators=1, text="encoder").fit(TABLE, y)
    path = fitted.save(tmp_path / "fitted.safetensors")
    encoder.fingerprint = "others"
    with pytest.raises(ValueError, match="fingerprint counts, but the one found here has others"):
        PFNRegressor.load(path).predict(TABLE[:1])


def test_a_missing_sentence_encoder_says_what_to_install(monkeypatch):
    text._encoder.cache_clear()
    monkeypatch.delenv("OPENPFN_E5", raising=False)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match="text encoder"):
        PFNClassifier(model=KernelNetwork(), text="encoder").fit(TABLE, LABELS)


def test_resampling_reads_text_without_its_targets():
    believer = PFNRegressor(model=random_network(NUMBERS), n_estimators=1).believer(
        TABLE[:30], y[:30]
    )
    assert believer.fitted.text_scores_ is None
    assert believer.features(TABLE[:3]).shape[-1] == 4 + 4
