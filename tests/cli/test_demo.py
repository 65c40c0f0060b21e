"""`openpfn demo`: a table and a picture of real predictions."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.metrics import roc_auc_score

from openpfn import checkpoint, cli
from openpfn.benchmark import demo, demo_numbers
from openpfn.plots.demo import Plane, belief_map
from openpfn.tables.load import load
from openpfn.tables.splits import stratified_split
from tests.estimators.conftest import NUMBERS, random_network


@pytest.fixture
def _shipped_networks(tmp_path, monkeypatch):
    """Two small random networks stand in for the shipped ones, two tables for the four."""
    for seed, name in enumerate(["nano", "tiny"]):
        checkpoint.save(tmp_path / "weights" / f"{name}.safetensors", random_network(seed=seed))
    monkeypatch.setattr("openpfn.checkpoint.location.SHIPPED", tmp_path / "weights")
    monkeypatch.setattr(demo, "TABLES", ("iris", "wine"))


@pytest.mark.slow
@pytest.mark.usefixtures("_shipped_networks")
def test_the_demo_prints_every_method_and_draws_a_picture(tmp_path, capsys):
    assert cli.main(["demo", "--splits", "1", "--out", str(tmp_path / "folder" / "demo.png")]) == 0
    printed = capsys.readouterr().out
    for word in (
        "iris",
        "wine",
        "mean of all",
        "openpfn nano",
        "openpfn tiny",
        *demo.other_methods(),
    ):
        assert word in printed
    assert (tmp_path / "folder" / "demo.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("_shipped_networks")
def test_given_checkpoints_replace_the_shipped_ones(tmp_path):
    path = checkpoint.save(tmp_path / "runs" / "mine" / "best.safetensors", random_network())
    assert list(demo.our_methods([str(path)])) == ["openpfn mine"]
    assert list(demo.our_methods([])) == ["openpfn nano", "openpfn tiny"]


@pytest.mark.slow
@pytest.mark.usefixtures("_shipped_networks")
def test_numbers_are_shown_where_a_network_predicts_them(tmp_path, capsys, monkeypatch):
    forest = RandomForestRegressor(5, random_state=0)
    monkeypatch.setattr(demo_numbers, "other_regressors", lambda: {"random forest": forest})
    monkeypatch.setattr(demo, "other_methods", dict)
    monkeypatch.setattr(demo, "TABLES", ("iris",))
    assert cli.main(["demo", "--splits", "1", "--out", str(tmp_path / "demo.png")]) == 0
    assert "diabetes" not in capsys.readouterr().out
    assert not (tmp_path / "demo-numbers.png").exists()
    checkpoint.save(tmp_path / "weights" / "nano.safetensors", random_network(NUMBERS))
    assert cli.main(["demo", "--splits", "1", "--out", str(tmp_path / "demo.png")]) == 0
    printed = capsys.readouterr().out.partition("A number: diabetes")[2]
    assert "openpfn nano" in printed
    assert "random forest" in printed
    assert "openpfn tiny" not in printed
    assert (tmp_path / "demo-numbers.png").read_bytes().startswith(b"\x89PNG")


def test_wrong_options_are_told(capsys):
    for arguments, message in (
        (["--splits", "0"], "splits is 0"),
        (["--out", "demo.txt"], "must end in .png"),
    ):
        with pytest.raises(SystemExit, match="2"):
            cli.main(["demo", *arguments])
        assert message in capsys.readouterr().err
    assert cli.main(["demo", "--checkpoint", "no-such"]) == 2
    assert "no checkpoint at no-such" in capsys.readouterr().err


def test_an_evaluation_is_what_scikit_learn_says():
    forest = RandomForestClassifier(20, random_state=0)
    result = demo.evaluate(forest, ["wine"], n_splits=2, most_context=60)
    assert result[["table", "split", "n_context"]].to_numpy().tolist() == [
        ["wine", 0, 60],
        ["wine", 1, 60],
    ]
    wine = load("wine")
    context, query = stratified_split(wine.y, 60, seed=1)
    fitted = RandomForestClassifier(20, random_state=0).fit(
        wine.X.iloc[context], wine.y.iloc[context]
    )
    probabilities = fitted.predict_proba(wine.X.iloc[query])
    y = wine.y.iloc[query]
    assert result["auc"][1] == pytest.approx(roc_auc_score(y, probabilities, multi_class="ovr"))
    assert result["accuracy"][1] == fitted.score(wine.X.iloc[query], y)
    true = probabilities[np.arange(len(y)), np.searchsorted(fitted.classes_, y)]
    assert result["log_loss"][1] == pytest.approx(-np.log(np.clip(true, 1e-16, 1)).mean())


def test_a_map_has_the_colours_of_its_classes_where_they_are_certain():
    beliefs = np.zeros((2, 2, 2))
    beliefs[:, 0, 0] = beliefs[:, 1, 1] = 1
    plane = Plane(
        "some",
        ("a", "b"),
        (0.0, 1.0, 0.0, 1.0),
        np.array([[0.1, 0.5], [0.9, 0.5]]),
        np.array([0, 1]),
    )
    image = belief_map(Figure().subplots(), beliefs, plane).images[0].get_array()
    assert image is not None
    assert np.array_equal(image[0], image[1])
    assert image[0, 0, 2] > image[0, 0, 0]  # blue left
    assert image[0, 1, 0] > image[0, 1, 2]  # orange right
