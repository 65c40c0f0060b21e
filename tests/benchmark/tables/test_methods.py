"""Methods: found by name, complete, honest about what is missing, and fitted on the context
alone."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from openpfn import checkpoint
from openpfn.benchmark.metrics import crps_of_quantiles
from openpfn.benchmark.tables import methods
from openpfn.benchmark.tables.methods import FLOOR, PEERS, method, resolve
from openpfn.benchmark.tables.prepare import Reader
from openpfn.benchmark.tables.suites import load_table
from openpfn.configs import TabularConfig
from openpfn.configs.presets import preset
from openpfn.configs.sequence import RegressionConfig
from openpfn.configs.text import TextConfig
from openpfn.estimators.text_tables import TextTableClassifier, TextTableRegressor
from openpfn.estimators.views import text_reading as text
from openpfn.models import PFN

INSTALLED = sorted(name for name, peer in PEERS.items() if methods._is_installed(peer.package))


@pytest.fixture(autouse=True)
def _own_methods_are_importable(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


@pytest.fixture
def small_checkpoint(tmp_path):
    torch.manual_seed(0)
    return checkpoint.save(tmp_path / "mine.safetensors", PFN(preset("micro")))


@pytest.mark.slow
@pytest.mark.parametrize("name", INSTALLED)
def test_every_peer_reads_words_dates_text_and_holes(folder, name):
    table = load_table(str(folder), "words")
    context, query = np.arange(0, 120, 2), np.arange(1, 120, 2)
    for task in sorted(method(name).tasks):
        y = table.y if task == "classification" else table.X["size"].fillna(0).to_numpy() + table.y
        options = {"iterations": 10} if name.startswith("catboost") else {}
        estimator = (
            method(name)
            .build(task, table.kinds, 0, "cpu", **options)
            .fit(table.X.iloc[context], y[context])
        )
        if task == "classification":
            p = estimator.predict_proba(table.X.iloc[query])
            assert p.shape == (60, 2)
            np.testing.assert_allclose(p.sum(1), 1, atol=1e-6)
            assert name == FLOOR or (p.argmax(1) == y[query]).mean() > 0.6
        else:
            error = np.abs(estimator.predict(table.X.iloc[query]) - y[query]).mean()
            assert name == FLOOR or error < np.abs(y[query] - y[context].mean()).mean()
            estimator.fit_distribution(table.X.iloc[context], y[context])
            levels = [0.05, 0.25, 0.5, 0.75, 0.95]
            _, quantiles = estimator.predict_numbers(table.X.iloc[query], levels)
            assert quantiles.shape == (60, 5)
            assert (np.diff(quantiles, axis=1) >= 0).all()
            floor = np.tile(np.quantile(y[context], levels), (60, 1))
            scores = [crps_of_quantiles(y[query], np.array(levels), q) for q in (quantiles, floor)]
            assert name == FLOOR or scores[0] < scores[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["logistic", "random_forest"])
def test_one_query_row_does_not_change_what_another_gets(folder, name):
    table = load_table(str(folder), "words")
    estimator = (
        method(name)
        .build("classification", table.kinds, 0, "cpu")
        .fit(table.X.iloc[:60], table.y[:60])
    )
    alone = estimator.predict_proba(table.X.iloc[60:61])
    strange = pd.concat([table.X.iloc[60:61], table.X.iloc[61:80].assign(size=1e6)])
    np.testing.assert_allclose(estimator.predict_proba(strange)[:1], alone)


def test_the_floor_comes_first_and_nothing_twice():
    assert [m.name for m in resolve(("knn", "logistic", "knn", "constant"))] == [
        FLOOR,
        "knn",
        "logistic",
    ]


def test_the_default_is_every_installed_peer_and_shipped_checkpoint():
    found = [m.name for m in resolve(("default",))]
    usual = {name for name in INSTALLED if PEERS[name].is_default}
    assert set(found) == {*usual, *checkpoint.shipped_names("tabular")}


def test_peers_for_text_are_asked_for_by_name():
    assert not {"skrub", "catboost_text", "boosting_sentences"} & set(methods.default_names())
    assert {PEERS[name].package for name in ("skrub", "catboost_text")} == {"skrub", "catboost"}


class Recorder:
    """A classifier that keeps what it is fitted with."""

    def fit(self, columns, y, **options):
        self.columns, self.options = columns, options


def test_an_estimator_of_words_is_told_which_columns_are_categories_and_texts(folder):
    table = load_table(str(folder), "words")
    reader = Reader(Recorder(), "words", table.kinds).fit(table.X, table.y)
    categories = [reader.estimator.columns.columns[i] for i in reader.fitting["cat_features"]]
    assert set(reader.estimator.columns[categories[0]]) == {"0", "1", "2"}
    columns = list(reader.estimator.columns.columns)
    assert [columns[i] for i in reader.fitting["text_features"]] == ["text 3"]
    names = table.X.assign(remark=[f"name {i}" for i in range(120)])
    named = Reader(Recorder(), "words", table.kinds).fit(names, table.y).fitting
    assert named["text_features"] == []
    assert columns.index("text 3") in named["cat_features"]
    query = reader.read(table.X[:5].assign(remark=[None, "", "good", "bad", "number 7"]))
    assert query["text 3"].tolist() == ["", "", "good", "bad", "number 7"]
    assert list(query.columns) == list(reader.estimator.columns.columns)


def test_boosted_trees_get_the_components_of_a_sentence_encoder(folder, monkeypatch):
    class Lengths:
        fingerprint = "lengths"

        def encode(self, texts):
            return np.array([[len(text), text.count("o"), 1] for text in texts], dtype=np.float32)

    monkeypatch.setattr(text, "_encoder", lambda name: Lengths())
    table = load_table(str(folder), "words")
    reader = Reader(Recorder(), "sentences", table.kinds).fit(table.X, table.y)
    with_letters = Reader(Recorder(), "codes", table.kinds).fit(table.X, table.y)
    assert reader.estimator.columns.shape[1] == with_letters.estimator.columns.shape[1] - 8 + 3


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setattr(methods, "_is_installed", lambda package: package != "lightgbm")
    with pytest.raises(ValueError, match=r'lightgbm.*pip install "openpfn\[bench\]"'):
        resolve(("lightgbm",))
    assert "lightgbm" not in methods.default_names()
    assert methods.missing_by_default() == ["lightgbm"]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("logistik", "Did you mean 'logistic'"),
        ("svm3000", "Choose from"),
        ("own_methods:Farthest", "cannot load"),
        ("nowhere.at.all:Thing", "cannot load"),
        ("own_methods:Shapeless", "no classifier or regressor"),
    ],
)
def test_an_unknown_method_is_told(word, message):
    with pytest.raises((ValueError, TypeError), match=message):
        method(word)


def test_anybodys_estimator_is_found_by_module_and_class(folder):
    table = load_table(str(folder), "words")
    found = method("own_methods:Nearest")
    assert found.tasks == {"classification"}
    estimator = found.build("classification", table.kinds, 0, "cpu").fit(
        table.X.iloc[:60], table.y[:60]
    )
    np.testing.assert_allclose(estimator.predict_proba(table.X.iloc[:60]), np.eye(2)[table.y[:60]])


@pytest.mark.slow
def test_a_checkpoint_is_a_method_with_its_hash(folder, small_checkpoint):
    found = method(f"pfn:{small_checkpoint}")
    assert found.name == "pfn:mine"
    assert found.checkpoint_sha256 == methods.sha256_of(small_checkpoint)
    table = load_table(str(folder), "words")
    estimator = found.build("classification", table.kinds, 0, "cpu").fit(
        table.X.iloc[:60], table.y[:60]
    )
    assert estimator.predict_proba(table.X.iloc[60:]).shape == (60, 2)


@pytest.mark.parametrize(
    ("head", "regression_head", "tasks"),
    [
        ("categorical", None, {"classification"}),
        ("categorical", "quantiles", {"classification", "regression"}),
        (None, "bars", {"regression"}),
    ],
)
def test_a_checkpoint_does_what_it_has_heads_for(tmp_path, head, regression_head, tasks):
    config = TabularConfig(
        d_model=8, n_heads=2, n_layers=1, d_mlp=8, head=head, regression_head=regression_head
    )
    path = checkpoint.save(tmp_path / "mine.safetensors", PFN(config))
    assert method(f"pfn:{path}").tasks == tasks


def test_a_network_of_sequences_is_refused_by_name(tmp_path):
    config = RegressionConfig(
        d_model=8, n_layers=1, n_heads=2, input_dim=1, bucket_type="mixture", d_vocab=8
    )
    path = checkpoint.save(tmp_path / "lines.safetensors", PFN(config))
    with pytest.raises(
        ValueError, match=r"lines\.safetensors holds a network of another kind \(RegressionConfig\)"
    ):
        method(f"pfn:{path}")


def test_a_network_that_reads_text_is_measured_by_its_own_estimators(tmp_path):
    config = TextConfig(d_model=8, n_layers=1, n_heads=2, d_mlp=8, d_text=16)
    path = checkpoint.save(tmp_path / "words.safetensors", PFN(config))
    found = method(f"pfn:{path}")
    assert found.tasks == {"classification", "regression"}
    for task, estimator in (
        ("classification", TextTableClassifier),
        ("regression", TextTableRegressor),
    ):
        reader = found.build(task, {}, 3, "cpu")
        assert type(reader.estimator) is estimator
        assert reader.estimator.get_params()["random_state"] == 3
    with pytest.raises(ValueError, match=r"reads text and has no option \+calibrate"):
        method(f"pfn:{path}+calibrate")


def test_other_networks_are_never_downloaded(monkeypatch, tmp_path):
    seen = {}

    class Classifier:
        def __init__(self, **options):
            seen.update(options)

    package = types.ModuleType("tabicl")
    package.TabICLClassifier = Classifier  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tabicl", package)
    monkeypatch.setattr(methods, "_is_installed", lambda package: True)
    monkeypatch.setattr(methods, "version", lambda package: "2.2")
    weights = tmp_path / "weights.ckpt"
    weights.write_bytes(b"weights")
    method(f"tabicl:{weights}").build("classification", {}, 3, "cpu")
    assert seen == {
        "model_path": str(weights),
        "allow_auto_download": False,
        "device": "cpu",
        "random_state": 3,
        "n_jobs": 1,
    }
    with pytest.raises(ValueError, match="tabpfn needs its weights"):
        method("tabpfn")
    with pytest.raises(FileNotFoundError, match="no weights at"):
        method("tabicl:nowhere.ckpt")


def test_options_of_our_networks_are_switched_on_by_name(small_checkpoint, tmp_path):
    one = method(f"pfn:{small_checkpoint}+fine_tune+calibrate")
    assert one.name == "pfn:mine+fine_tune+calibrate"
    estimator = one.build("classification", {}, 3, "cpu", n_estimators=2).estimator
    assert (estimator.fine_tune, estimator.calibrate, estimator.target_statistics) == (1, 1, False)
    plain = method(f"pfn:{small_checkpoint}")
    assert plain.build("classification", {}, 3, "cpu").estimator.fine_tune is False
    with pytest.raises(ValueError, match=r"unknown option 'finetune' .* \+fine_tune, \+calibrate"):
        method("tiny+finetune")
    named = tmp_path / "a+fine_tune.safetensors"
    named.write_bytes(small_checkpoint.read_bytes())
    assert method(f"pfn:{named}").switches == ()


def test_options_are_switched_off_by_name(small_checkpoint):
    one = method(f"pfn:{small_checkpoint}+no_stacking+calibrate")
    assert one.name == "pfn:mine+no_stacking+calibrate"
    estimator = one.build("classification", {}, 3, "cpu").estimator
    assert (estimator.stacking, estimator.calibrate) == (False, True)
    on = method(f"pfn:{small_checkpoint}+stacking")
    assert on.build("regression", {}, 3, "cpu").estimator.stacking is True
    with pytest.raises(
        ValueError, match=r"unknown option 'no_nonsense'.* \+no_… to switch one off"
    ):
        method("tiny+no_nonsense")
