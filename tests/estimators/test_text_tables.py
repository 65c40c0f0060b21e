"""Laws of the estimators that read the words of a table, with a text encoder of letter groups."""

from __future__ import annotations

import errno
import warnings
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from openpfn.configs.text import TEXT_PRESETS, TextConfig
from openpfn.estimators import saved_file
from openpfn.estimators.text_tables import TextTableClassifier, TextTableRegressor

pytestmark = pytest.mark.slow

TINY = TextConfig(
    d_model=16,
    n_layers=1,
    n_heads=2,
    d_mlp=16,
    version="v1.1",
    matching=True,
    n_buckets=20,
    dropout=0.0,
)
QUICK = {"encoder": "hashing", "max_epochs": 2, "patience": 2, "batch_size": 32}


def table(n: int = 60, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    colours = random.choice(["deep red", "blue", "green"], n).astype(object)
    colours[::11] = None
    sizes = random.normal(size=n)
    sizes[::7] = np.nan
    days = pd.Timestamp("2020-01-01") + pd.to_timedelta(random.integers(0, 900, n), "D")
    words = [f"note {i % 30} about 🦊 شيء" for i in range(n)]
    return pd.DataFrame({"colour": colours, "size": sizes, "day": days, "note": words})


def labels(X: pd.DataFrame) -> np.ndarray:
    return np.where(X["colour"] == "blue", "yes", "no")


@lru_cache
def fitted(kind: type, **options: Any) -> Any:
    X = table()
    y = labels(X) if kind is TextTableClassifier else X["size"].fillna(0).to_numpy() * 3 + 7
    return kind(TINY, **QUICK | options).fit(X, y)


def answers(estimator: Any, X: pd.DataFrame) -> np.ndarray:
    is_classifier = hasattr(estimator, "classes_")
    return estimator.predict_proba(X) if is_classifier else estimator.predict(X)


KINDS = pytest.mark.parametrize("kind", [TextTableClassifier, TextTableRegressor])


@KINDS
def test_a_prediction_does_not_depend_on_the_other_rows(kind):
    estimator, X = fitted(kind), table(12, seed=1)
    together = answers(estimator, X)
    alone = np.concatenate([answers(estimator, X.iloc[[i]]) for i in range(len(X))])
    np.testing.assert_allclose(alone, together, rtol=1e-4, atol=1e-6)


@KINDS
def test_columns_are_found_by_name_in_any_order(kind):
    estimator, X = fitted(kind), table(8, seed=1)
    shuffled = X[["note", "size", "colour", "day"]]
    np.testing.assert_array_equal(answers(estimator, shuffled), answers(estimator, X))


@KINDS
def test_a_missing_column_is_named(kind):
    with pytest.raises(ValueError, match="X lacks 1 column that fit saw: 'size'"):
        fitted(kind).predict(table(3).drop(columns="size"))


@KINDS
def test_unseen_words_missing_values_and_empty_strings_are_answered(kind):
    X = table(6, seed=2)
    X["colour"] = ["never seen", "", None, "red", "x" * 100_000, "blue"]
    X["size"] = [np.nan, 1e30, -1e30, 0.0, 1.0, 2.0]
    X["day"] = pd.NaT
    assert np.isfinite(answers(fitted(kind), X)).all()


@KINDS
@pytest.mark.parametrize("options", [{}, {"n_estimators": 2}])
def test_a_saved_estimator_answers_the_same(kind, options, tmp_path):
    estimator, X = fitted(kind, **options), table(9, seed=1)
    loaded = kind.load(estimator.save(tmp_path / "saved.safetensors"))
    np.testing.assert_array_equal(answers(loaded, X), answers(estimator, X))
    np.testing.assert_array_equal(loaded.predict(X), estimator.predict(X))
    assert loaded.get_params()["n_estimators"] == estimator.n_estimators


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(tmp_path, monkeypatch):
    estimator = fitted(TextTableClassifier)

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(saved_file, "save_file", fail)
    with pytest.raises(OSError, match=r"cannot write .*saved.safetensors: No space left"):
        estimator.save(tmp_path / "saved.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_and_one_of_the_other_kind_are_refused(tmp_path):
    path = fitted(TextTableClassifier).save(tmp_path / "saved.safetensors")
    with pytest.raises(ValueError, match=r"Load it with TextTableClassifier\.load"):
        TextTableRegressor.load(path)
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged"):
        TextTableClassifier.load(path)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        TextTableClassifier.load(tmp_path / "none")


def test_another_text_encoder_is_refused_on_loading(tmp_path):
    class Other:
        fingerprint, width = "other", 512

        def encode(self, texts):
            return np.zeros((len(texts), 512), dtype=np.float32)

    path = fitted(TextTableClassifier).save(tmp_path / "saved.safetensors")
    with pytest.raises(ValueError, match="fingerprint"):
        TextTableClassifier.load(path, encoder=Other())


@KINDS
def test_the_same_random_state_gives_the_same_answers(kind):
    X = table(8, seed=1)
    first, again = (answers(fitted(kind, random_state=s), X) for s in (3, np.int64(3)))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, answers(fitted(kind, random_state=4), X))


def test_the_probabilities_of_several_networks_are_averaged():
    estimator, X = fitted(TextTableClassifier, n_estimators=2), table(8, seed=1)
    assert len(estimator.members_) == 2
    both = estimator.predict_proba(X)
    members, parts = estimator.members_, []
    for member in members:
        estimator.members_ = [member]
        parts.append(estimator.predict_proba(X))
    estimator.members_ = members
    np.testing.assert_allclose(np.mean(parts, axis=0), both)


@pytest.mark.parametrize(
    "names",
    [
        [True, False, True],
        [10, 9, 100],
        [1.0, -2.0, 3.0],
        ["b", "a", "c"],
        [np.datetime64("2021-01-01"), np.datetime64("2020-01-01"), np.datetime64("2022-01-01")],
    ],
    ids=["truths", "ints", "floats", "words", "times"],
)
def test_classes_of_any_type_come_back(names):
    X = table(30)[["colour", "size"]]
    y = np.array(names)[np.arange(30) % 3]
    classifier = TextTableClassifier(TINY, **QUICK).fit(X, y)
    assert classifier.classes_.tolist() == np.unique(y).tolist()
    assert classifier.predict(X).dtype == y.dtype
    np.testing.assert_allclose(classifier.predict_proba(X).sum(axis=1), 1)


def test_a_class_column_belongs_to_its_class():
    """Classes sort as numbers, their words as words: 9 < 10, but "10" < "9"."""
    X = pd.DataFrame({"kind": ["nine", "ten"] * 40})
    y = np.array([9, 10] * 40)
    options = QUICK | {"max_epochs": 10, "patience": 10, "learning_rate": 0.01}
    classifier = TextTableClassifier(TINY, **options).fit(X, y)
    assert classifier.predict(X[:2]).tolist() == [9, 10]


def test_one_class_and_one_number_need_no_network():
    X = table(10)
    classifier = TextTableClassifier(TINY, **QUICK).fit(X, ["a"] * 10)
    assert classifier.predict_proba(X).tolist() == [[1.0]] * 10
    assert TextTableRegressor(TINY, **QUICK).fit(X, [3.0] * 10).predict(X).tolist() == [3.0] * 10


def test_the_time_limit_ends_training(monkeypatch):
    clock = iter(np.arange(0, 1e6, 10.0))
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))
    X = table(40)
    options = QUICK | {"max_epochs": 1000, "patience": 1000}
    estimator = TextTableClassifier(TINY, **options, time_limit=100, n_estimators=3)
    estimator.fit(X, labels(X))
    assert 1 <= len(estimator.members_) <= 3
    assert len(estimator.members_[0].losses) < 20
    assert estimator.predict_proba(X).shape == (40, 2)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"n_estimators": 0}, "n_estimators"),
        ({"time_limit": -1}, "time_limit"),
        ({"adapt": "half"}, "adapt"),
        ({"max_epochs": 0}, "max_epochs"),
        ({"validation_share": 2.0}, "validation_share"),
    ],
)
def test_a_wrong_parameter_is_named(options, name):
    X = table(10)
    with pytest.raises(ValueError, match=name):
        TextTableClassifier(TINY, **QUICK | options).fit(X, labels(X))


@pytest.mark.parametrize("shipped", [["nano"], ["nano", "text-small"]], ids=str)
def test_without_a_pretrained_network_for_the_encoder_fit_says_so(monkeypatch, shipped):
    from openpfn import checkpoint

    monkeypatch.setattr(checkpoint, "shipped_names", lambda: shipped)
    monkeypatch.setitem(TEXT_PRESETS, "text-small", TINY)
    X = table(20)
    with pytest.warns(UserWarning, match="no pretrained network"):
        TextTableClassifier(**QUICK).fit(X, labels(X))


def test_by_default_fit_starts_from_the_shipped_network():
    network, is_pretrained = TextTableClassifier()._starting_network(0)
    assert is_pretrained
    assert network.config.encoder == "minilm"
    assert not TextTableClassifier(TINY, encoder="hashing")._starting_network(0)[1]


def test_a_checkpoint_of_another_kind_is_refused():
    X = table(20)
    with pytest.raises(ValueError, match="holds a TabularConfig"):
        TextTableClassifier("nano", encoder="hashing").fit(X, labels(X))


def test_fit_leaves_the_global_random_state_as_it_was():
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        TextTableClassifier(TINY, **QUICK).fit(table(12), labels(table(12)))
    assert torch.equal(torch.rand(1), expected)
