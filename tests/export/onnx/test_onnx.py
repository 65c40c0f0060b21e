"""ONNX files answer what the network answers, for any table."""

from __future__ import annotations

import json
import runpy
import threading
import urllib.request
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from export.c_library import random_network

from openpfn.batch import TaskBatch
from openpfn.checkpoint.fingerprint import fingerprint_of
from openpfn.configs.presets import preset
from openpfn.configs.published import PublishedConfig
from openpfn.export.onnx.checking import (
    TOLERANCE,
    Session,
    compared_table,
    largest_difference,
)
from openpfn.export.onnx.graphs import LEVELS, FitPass, WholePass, named_tensors, rebuilt
from openpfn.export.onnx.write import SIZES, state_of, write_onnx

RICH = replace(
    preset("nano"),
    d_model=16,
    n_heads=2,
    n_layers=2,
    d_mlp=16,
    n_thinking_rows=3,
    column_shifts=(0, 1, 3),
    regression_head="quantiles",
)
"""All that nano has, in small."""


@pytest.fixture(scope="module")
def rich():
    return random_network(RICH)


def batch_of(table, numbers=False):
    x = np.concatenate([table["x_context"], table["x_query"]], axis=1)
    y = table["y_context"]
    padded = np.concatenate([y, np.zeros((1, table["x_query"].shape[1]), dtype=y.dtype)], axis=1)
    n_classes = None if numbers else torch.tensor([int(y.max()) + 1])
    categorical = torch.from_numpy(table["categorical"])
    return TaskBatch(
        torch.from_numpy(x),
        torch.from_numpy(padded),
        n_train=y.shape[1],
        n_classes=n_classes,
        categorical=categorical,
    )


@pytest.mark.parametrize("targets", ["classes", "numbers"])
def test_the_graph_computes_what_the_network_does(rich, targets):
    table = compared_table(targets, 40, 5, 7)
    batch = batch_of(table, targets == "numbers")
    names = ("x_context", "y_context", "x_query", "categorical")
    with torch.no_grad():
        answers = WholePass(rich, targets)(*(torch.from_numpy(table[name]) for name in names))
        predictive = rich.predictive(batch)
    if targets == "classes":
        torch.testing.assert_close(answers[0].softmax(dim=-1), predictive.probs)
    else:
        torch.testing.assert_close(answers[0], predictive.mean)
        torch.testing.assert_close(answers[1][..., 0], predictive.quantile(LEVELS[0]))
        torch.testing.assert_close(answers[1][..., -1], predictive.quantile(LEVELS[-1]))


def test_a_state_is_rebuilt_from_its_tensors(rich):
    given = state_of(FitPass(rich, "numbers"), *SIZES)
    tensors = dict(named_tensors(given))
    again = dict(named_tensors(rebuilt(given, iter(tensors.values()))))
    assert list(again) == list(tensors)
    assert all(again[name] is tensor for name, tensor in tensors.items())


@pytest.mark.compile
@pytest.mark.parametrize("steps", [False, True])
@pytest.mark.parametrize("targets", ["classes", "numbers"])
def test_onnxruntime_answers_what_the_network_does(rich, tmp_path, targets, steps):
    paths = write_onnx(rich, tmp_path / "net.onnx", targets=targets, steps=steps)
    assert [path.name for path in paths] == (
        ["net-fit.onnx", "net-predict.onnx"] if steps else ["net.onnx"]
    )
    assert largest_difference(rich, paths, targets) < TOLERANCE
    properties = {p.key: p.value for p in onnx.load(paths[0]).metadata_props}
    assert properties["openpfn.fingerprint"] == fingerprint_of(rich)
    table = compared_table(targets, 20, 3, 4)
    answers = Session(paths).answers(table)
    assert answers[0].shape == ((1, 4, 10) if targets == "classes" else (1, 4))


@pytest.mark.compile
@pytest.mark.parametrize("name", ["linear", "induced", "local"])
def test_other_mechanisms_go_into_onnx(tmp_path, name):
    model = random_network(attention_type=name)
    paths = write_onnx(model, tmp_path / "net.onnx")
    assert largest_difference(model, paths, "classes") < TOLERANCE


@pytest.mark.compile
@pytest.mark.parametrize("attention", ["softmax", "linear"])
def test_published_networks_go_into_onnx(tmp_path, attention):
    config = PublishedConfig(
        d_model=16, n_heads=2, n_layers=2, d_mlp=16, max_classes=3, attention_type=attention
    )
    model = random_network(config)
    paths = write_onnx(model, tmp_path / "net.onnx", steps=True)
    assert largest_difference(model, paths, "classes") < TOLERANCE


def test_other_weights_are_noticed(rich):
    table = compared_table("classes", 20, 3, 4)
    names = ("x_context", "y_context", "x_query", "categorical")
    given = [torch.from_numpy(table[name]) for name in names]
    with torch.no_grad():
        ours = WholePass(rich, "classes")(*given)[0]
        other = WholePass(random_network(RICH, seed=1), "classes")(*given)[0]
    assert not torch.allclose(ours, other, atol=1e-2)


def test_what_onnx_cannot_carry_is_refused(rich, tmp_path):
    with pytest.raises(ValueError, match="no operator for a Cholesky"):
        write_onnx(random_network(attention_type="ridge"), tmp_path / "net.onnx")
    with pytest.raises(ValueError, match="predicts classes alone"):
        write_onnx(random_network(), tmp_path / "net.onnx", targets="numbers")
    with pytest.raises(ValueError, match="no network of tables"):
        write_onnx(torch.nn.Linear(2, 2), tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.compile
def test_the_server_of_the_recipe_answers(tmp_path):
    write_onnx(random_network(max_classes=3), tmp_path / "net.onnx", steps=True)
    table = compared_table("classes", 20, 3, 2)
    shown = np.concatenate([table["x_context"][0], table["y_context"][0][:, None]], axis=1)
    cells = [["" if np.isnan(value) else repr(float(value)) for value in row] for row in shown]
    (tmp_path / "rows.csv").write_text("\n".join(map(",".join, [["a", "b", "c", "y"], *cells])))
    recipe = runpy.run_path(str(Path(__file__).parents[3] / "recipes" / "onnx_server.py"))
    served = recipe["server"](tmp_path / "net.onnx", tmp_path / "rows.csv", 0)
    thread = threading.Thread(target=served.handle_request)
    thread.start()
    body = json.dumps(np.nan_to_num(table["x_query"][0]).tolist()).encode()
    with urllib.request.urlopen(f"http://localhost:{served.server_port}", data=body) as answer:
        chances = np.array(json.load(answer))
    thread.join()
    served.server_close()
    asked = table | {
        "x_query": np.nan_to_num(table["x_query"]),
        "categorical": np.zeros((1, 3), dtype=bool),
    }
    paths = [tmp_path / "net-fit.onnx", tmp_path / "net-predict.onnx"]
    logits = torch.from_numpy(Session(paths).answers(asked)[0][0])
    np.testing.assert_allclose(chances, logits.softmax(dim=-1).numpy(), atol=1e-6)
