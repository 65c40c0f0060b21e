"""A saved classifier predicts as the one in memory, from one file without pickle."""

from __future__ import annotations

import decimal
import json

import joblib
import numpy as np
import pandas as pd
import pytest
from safetensors import safe_open

from openpfn import PFNClassifier, checkpoint
from tests.estimators.conftest import random_network

RANDOM = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "size": RANDOM.normal(size=60),
        "colour": RANDOM.choice(["red", "green", "blue"], 60),
        "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(RANDOM.integers(0, 900, 60), unit="D"),
        "note": [
            f"{word} number {i}"
            for i, word in enumerate(RANDOM.choice(["old", "new", "broken"], 60))
        ],
    }
)
SHOWN = FRAME, np.arange(60) % 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "y",
    [
        np.array(["b", "A", "c"] * 20),
        np.array(["b", "A"] * 30, dtype=object),
        np.arange(60) % 4,
        np.array([True, False] * 30),
        np.ones(60),
    ],
    ids=["words", "objects", "numbers", "truth", "one class"],
)
def test_a_loaded_classifier_predicts_the_same(tmp_path, network, y):
    fitted = PFNClassifier(
        model=network, n_estimators=5, softmax_temperature=0.8, random_state=3
    ).fit(FRAME, y)
    loaded = PFNClassifier.load(fitted.save(tmp_path / "fitted.safetensors"))
    assert np.array_equal(loaded.predict_proba(FRAME), fitted.predict_proba(FRAME))
    assert loaded.predict(FRAME).dtype == fitted.predict(FRAME).dtype
    assert loaded.predict(FRAME).tolist() == fitted.predict(FRAME).tolist()
    assert loaded.encoder_.describe() == fitted.encoder_.describe()
    assert loaded.feature_names_in_.tolist() == list(FRAME.columns)
    assert loaded.get_params()["softmax_temperature"] == 0.8


@pytest.mark.slow
def test_a_loaded_classifier_can_be_saved_and_fitted_again(tmp_path, network):
    y = np.arange(60) % 3
    once = PFNClassifier.load(
        PFNClassifier(model=network).fit(FRAME, y).save(tmp_path / "once.safetensors")
    )
    twice = PFNClassifier.load(once.save(tmp_path / "twice.safetensors"))
    assert np.array_equal(twice.predict_proba(FRAME), once.predict_proba(FRAME))
    assert np.array_equal(once.fit(FRAME, y).predict_proba(FRAME), twice.predict_proba(FRAME))


@pytest.mark.slow
def test_weights_of_shipped_checkpoints_are_named_not_embedded(tmp_path, monkeypatch):
    weights = tmp_path / "weights"
    monkeypatch.setattr("openpfn.checkpoint.location.SHIPPED", weights)
    checkpoint.save(weights / "mini.safetensors", random_network(seed=1))
    fitted = PFNClassifier("mini").fit(*SHOWN)
    slim, full = (
        fitted.save(tmp_path / "slim.safetensors"),
        fitted.save(tmp_path / "full.safetensors", embed_weights=True),
    )
    with safe_open(slim, framework="np") as file:
        assert "checkpoint" not in file.keys()  # noqa: SIM118
        assert json.loads(file.metadata()["openpfn_estimator"])["context"]["source"] == "mini"
    expected = fitted.predict_proba(FRAME)
    assert np.array_equal(PFNClassifier.load(slim).predict_proba(FRAME), expected)
    checkpoint.save(weights / "mini.safetensors", random_network(seed=2))
    with pytest.raises(ValueError, match="other weights than checkpoint 'mini'"):
        PFNClassifier.load(slim)
    assert np.array_equal(PFNClassifier.load(full).predict_proba(FRAME), expected)
    checkpoint.save(weights / "earlier" / "mini-1.safetensors", random_network(seed=1))
    found = PFNClassifier.load(slim)
    assert np.array_equal(found.predict_proba(FRAME), expected)
    assert np.array_equal(PFNClassifier("mini-1").fit(*SHOWN).predict_proba(FRAME), expected)


def test_a_network_in_memory_cannot_be_saved_by_name(tmp_path, network):
    fitted = PFNClassifier(model=network).fit(FRAME, np.arange(60) % 2)
    with pytest.raises(ValueError, match="embed_weights"):
        fitted.save(tmp_path / "some.safetensors", embed_weights=False)
    assert list(tmp_path.iterdir()) == []


def test_files_of_other_kinds_are_refused(tmp_path, network):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        PFNClassifier.load(tmp_path / "absent.safetensors")
    weights = checkpoint.save(tmp_path / "weights.safetensors", network)
    with pytest.raises(ValueError, match="does not hold a PFNClassifier"):
        PFNClassifier.load(weights)
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        PFNClassifier.load(tmp_path / "junk.safetensors")


@pytest.mark.slow
def test_joblib_keeps_a_fitted_classifier(tmp_path, network):
    fitted = PFNClassifier(model=network).fit(FRAME, np.arange(60) % 2)
    joblib.dump(fitted, tmp_path / "fitted.joblib")
    assert np.array_equal(
        joblib.load(tmp_path / "fitted.joblib").predict_proba(FRAME), fitted.predict_proba(FRAME)
    )


MONTHS = pd.date_range("2020-01", periods=4, freq="MS")
DAYS = np.array(["2020-01-01", "2020-01-02"], dtype="datetime64[D]")


@pytest.mark.slow
@pytest.mark.parametrize(
    "names",
    [np.arange(4), MONTHS, MONTHS.to_period("M"), [("a", 1), ("a", 2), ("b", 1), ("b", 2)]],
    ids=["numbers", "dates", "periods", "pairs"],
)
def test_columns_of_any_name_are_saved(tmp_path, network, names):
    table = pd.DataFrame(RANDOM.normal(size=(20, 4)))
    table.columns = pd.Index(names)
    fitted = PFNClassifier(model=network, n_estimators=1).fit(table, np.arange(20) % 2)
    loaded = PFNClassifier.load(fitted.save(tmp_path / "fitted.safetensors"))
    assert [c.name for c in loaded.encoder_.columns] == [c.name for c in fitted.encoder_.columns]
    assert np.array_equal(loaded.predict_proba(table), fitted.predict_proba(table))


@pytest.mark.slow
@pytest.mark.parametrize(
    "labels",
    [
        DAYS,
        pd.to_datetime(DAYS),
        DAYS.astype(object),
        pd.period_range("2020-01", periods=2, freq="M"),
        np.array([1, 2], dtype="m8[s]"),
        [decimal.Decimal("0.5"), decimal.Decimal("1.5")],
        np.array([0, 1], dtype=">i4"),
        np.array(["a", "b"], dtype=np.dtypes.StringDType()),
        [0.0, 1.0],
    ],
    ids=lambda labels: str(getattr(labels, "dtype", type(labels[0]).__name__)),
)
def test_labels_of_any_type_are_fitted_and_saved(tmp_path, network, labels):
    y = [labels[i] for i in np.arange(20) % 2]
    y = np.array(y, dtype=labels.dtype) if isinstance(labels, np.ndarray) else pd.Series(y)
    X = RANDOM.normal(size=(20, 2))
    fitted = PFNClassifier(model=network, n_estimators=1).fit(X, y)
    loaded = PFNClassifier.load(fitted.save(tmp_path / "fitted.safetensors"))
    assert loaded.classes_.dtype == fitted.classes_.dtype
    assert loaded.classes_.tolist() == fitted.classes_.tolist()
    assert loaded.predict(X).tolist() == fitted.predict(X).tolist()


@pytest.mark.slow
def test_parameters_of_numpys_types_are_saved(tmp_path, network):
    fitted = PFNClassifier(
        model=network,
        n_estimators=np.int64(2),
        softmax_temperature=np.float32(0.5),
        memory_limit=np.int64(10**9),
    ).fit(FRAME, np.arange(60) % 2)
    loaded = PFNClassifier.load(fitted.save(tmp_path / "fitted.safetensors"))
    assert np.array_equal(loaded.predict_proba(FRAME), fitted.predict_proba(FRAME))


def test_classes_that_no_file_holds_are_refused(tmp_path, network):
    fitted = PFNClassifier(model=network).fit(FRAME, np.arange(60) % 2)
    fitted.classes_ = np.array([frozenset("a"), frozenset("b")], dtype=object)
    with pytest.raises(ValueError, match="classes cannot be saved: a frozenset"):
        fitted.save(tmp_path / "fitted.safetensors")
