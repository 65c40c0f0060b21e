"""Missing cells are filled by what the others tell; cells that are there stay."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from openpfn import PFNClassifier, PFNImputer
from tests.estimators.conftest import KernelBoth, random_network

N = 60


def table() -> pd.DataFrame:
    """Columns of every kind, most of which follow from `a` or from `group`."""
    random = np.random.default_rng(0)
    a, group = random.normal(size=N), random.integers(0, 3, N)
    return pd.DataFrame(
        {
            "a": a,
            "b": 10 * a + 100,
            "group": np.array(["x", "y", "z"])[group],
            "code": group,
            "size": pd.Categorical(np.array(["lo", "mid", "hi"])[group], ["lo", "mid", "hi"]),
            "is_x": group == 0,
            "count": pd.array((50 + 40 * group + random.integers(0, 5, N)), dtype="Int64"),
            "day": pd.Timestamp("2020-03-01") + pd.to_timedelta(200 * group, unit="D"),
            "word": [f"{v:.2f}".replace(".", ",") for v in a],
        },
        index=range(100, 100 + N),
    )


def with_holes(whole: pd.DataFrame, share: float = 0.2) -> pd.DataFrame:
    random = np.random.default_rng(1)
    holes = {}
    for name, cells in whole.items():
        gone = random.random(len(whole)) < share
        plain = cells.astype(object) if cells.dtype == bool else cells
        holes[name] = plain.where(~gone)
    return pd.DataFrame(holes)


@pytest.fixture(scope="module")
def model():
    return KernelBoth()


@pytest.mark.parametrize("sample", [False, True])
def test_a_table_of_every_kind_comes_back_whole_with_the_cells_it_had(model, sample):
    holes = with_holes(table())
    filled = PFNImputer(model=model, sample=sample).fit_transform(holes)
    assert list(filled.columns) == list(holes.columns)
    assert filled.index.tolist() == holes.index.tolist()
    assert not filled.isna().any(axis=None)
    for name in holes:
        assert filled[name].dtype == holes[name].dtype, name
        there = holes[name].notna()
        assert filled.loc[there, name].tolist() == holes.loc[there, name].tolist(), name
    assert set(filled["group"]) == {"x", "y", "z"}
    assert all("," in word and len(word.partition(",")[2]) == 2 for word in filled["word"])
    assert (filled["day"].dt.normalize() == filled["day"]).all()


def test_what_follows_from_other_cells_is_found(model):
    whole = table()
    holes = with_holes(whole)
    filled = PFNImputer(model=model).fit_transform(holes)
    gone = holes["group"].isna()
    assert (filled.loc[gone, "group"] == whole.loc[gone, "group"]).mean() > 0.8
    gone = holes["count"].isna()
    error = (filled.loc[gone, "count"] - whole.loc[gone, "count"]).abs().mean()
    assert error < 0.5 * (whole.loc[gone, "count"] - whole["count"].mean()).abs().mean()


def test_arrays_come_back_as_arrays_and_a_row_does_not_depend_on_others(model):
    X = np.random.default_rng(0).normal(size=(40, 3))
    X[:, 1] += X[:, 0]
    X[::4, 1] = np.nan
    imputer = PFNImputer(model=model).fit(X)
    filled = imputer.transform(X)
    assert isinstance(filled, np.ndarray)
    assert filled.dtype == X.dtype
    assert_allclose(imputer.transform(X[4:9]), filled[4:9], rtol=1e-6)
    there = ~np.isnan(X)
    assert np.array_equal(filled[there], X[there])
    frame = PFNImputer(model=model).set_output(transform="pandas").fit_transform(X)
    assert isinstance(frame, pd.DataFrame)


def test_means_are_filled_in_or_draws_that_vary_as_the_table_does(model):
    random = np.random.default_rng(0)
    X = random.normal(size=(300, 2))
    holes = X.copy()
    holes[:150, 1] = np.nan
    means = PFNImputer(model=model, n_estimators=1).fit_transform(holes)[:150, 1]
    one, again, other = (
        PFNImputer(model=model, sample=True, n_estimators=1, random_state=seed)
        .fit(holes)
        .transform(holes)[:150, 1]
        for seed in (0, 0, 1)
    )
    assert means.std() < 0.7
    assert 0.7 < one.std() < 1.3
    assert np.array_equal(one, again)
    assert not np.allclose(one, other)


def test_new_rows_may_miss_what_no_row_of_fit_missed(model):
    X = np.random.default_rng(0).normal(size=(40, 2))
    imputer = PFNImputer(model=model, n_estimators=1).fit(X)
    assert np.array_equal(imputer.transform(X), X)
    filled = imputer.transform(np.array([[np.nan, 1.0], [np.nan, np.nan]]))
    assert np.isfinite(filled).all()
    assert filled[0, 1] == 1.0


def test_more_categories_than_the_network_has_classes_are_filled(model):
    words = np.array([f"w{i % 25:02d}" for i in range(100)], dtype=object)
    X = np.stack([words, np.arange(100) % 25], axis=1).astype(object)
    X[::10, 0] = None
    filled = PFNImputer(model=model, n_estimators=1).fit_transform(X)
    assert set(filled[:, 0]) <= set(words)


def test_a_column_without_values_stays_and_is_told(model):
    holes = pd.DataFrame({"a": [1.0, 2.0, np.nan, 4.0], "nothing": [np.nan] * 4})
    with pytest.warns(UserWarning, match="column 'nothing' held no values in fit"):
        filled = PFNImputer(model=model, n_estimators=1).fit_transform(holes)
    assert filled["nothing"].isna().all()
    assert filled["a"].notna().all()


@pytest.mark.parametrize("value", [1.5, "red"])
def test_a_constant_column_is_filled_with_its_value(model, value):
    cells = pd.Series([value] * 9 + [None])
    filled = PFNImputer(model=model, n_estimators=1).fit_transform(
        pd.DataFrame({"c": cells, "d": np.arange(10) % 3})
    )
    assert filled["c"].tolist() == [value] * 10


def test_one_row_and_one_column_are_filled(model):
    imputer = PFNImputer(model=model, n_estimators=1)
    assert imputer.fit_transform([[1.0, 2.0]]).tolist() == [[1.0, 2.0]]
    filled = imputer.fit_transform([[1.5], [np.nan], [2.5], [3.5]])
    assert np.isfinite(filled).all()


def test_an_imputer_is_saved_with_its_rows_and_fills_the_same(tmp_path):
    network = random_network()
    holes = with_holes(table())[["group", "is_x", "size", "code"]]
    fitted = PFNImputer(model=network, n_estimators=1, sample=True, random_state=3).fit(holes)
    path = fitted.save(tmp_path / "imputer.safetensors")
    loaded = PFNImputer.load(path)
    pd.testing.assert_frame_equal(loaded.transform(holes), fitted.transform(holes))
    assert loaded.get_params()["sample"] is True
    assert loaded.feature_names_in_.tolist() == list(holes.columns)
    again = pickle.loads(pickle.dumps(fitted))
    pd.testing.assert_frame_equal(again.transform(holes), fitted.transform(holes))
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged"):
        PFNImputer.load(path)


def test_another_estimator_of_the_file_is_named(tmp_path):
    network = random_network()
    X = pd.DataFrame({"a": ["x", "y", "x", "y"], "b": ["u", "v", "u", "v"]})
    path = PFNImputer(model=network).fit(X).save(tmp_path / "imputer.safetensors")
    with pytest.raises(ValueError, match="holds a PFNImputer and does not hold a PFNClassifier"):
        PFNClassifier.load(path)


def test_a_network_that_predicts_classes_alone_is_refused_for_numbers():
    network = random_network()
    X = pd.DataFrame({"size": np.arange(30.0) / 7, "kind": ["a", "b"] * 15})
    with pytest.raises(ValueError, match="column 'size' holds numbers, which the model in memory"):
        PFNImputer(model=network).fit(X)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.array([[np.inf, 1.0], [2.0, 3.0]]), "infinity"),
        (np.empty((0, 2)), r"0 sample\(s\)"),
        (np.empty((2, 0)), r"0 feature\(s\)"),
        (np.ones(3), "1D array"),
    ],
)
def test_what_is_no_table_is_refused(model, X, message):
    with pytest.raises(ValueError, match=message):
        PFNImputer(model=model).fit(X)


def test_other_columns_than_fitted_are_refused(model):
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [3.0, 4.0, 5.0]})
    imputer = PFNImputer(model=model).fit(frame)
    with pytest.raises(ValueError, match="feature names should match"):
        imputer.transform(frame.rename(columns={"a": "c"}))
    with pytest.raises(ValueError, match="must be a whole number of at least 1"):
        PFNImputer(model=model, n_estimators=0).fit(frame)


def test_only_values_that_no_row_had_are_told(model):
    """Rows without a cell are no context of its column, but what they hold is known."""
    X = pd.DataFrame({"kind": ["a", "b", "c"] * 6, "size": [1.5, 2.5, None] * 6})
    imputer = PFNImputer(model=model, n_estimators=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        imputer.fit_transform(X)
    new = pd.DataFrame({"kind": ["d"], "size": [None]}, dtype=object)
    with pytest.warns(UserWarning, match="column 'kind': 1 of 1 value could not be read as known"):
        filled = imputer.transform(new)
    assert filled["kind"].tolist() == ["d"]
