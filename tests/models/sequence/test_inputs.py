"""What sequence networks refuse, in words; and what of any precision, or with no rows, they read
all the same."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
import torch
from sequence_networks import MASKS, classification, regression, rows, unsupervised
from torch.distributions import Normal

from openpfn.batch import TaskBatch
from openpfn.models.inputs import check_tensors

X, Y = rows()
CLASSES = Y.abs().floor().clamp(0, 2)
TOKENS = torch.tensor([[0, 3, 1]])


def categorical() -> Any:
    return classification(y_type="categorical")


def refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("mask", MASKS)
def test_rows_of_another_shape_are_refused(mask):
    model = regression(mask_type=mask)
    # the annotations of the calls themselves are checked in tests alone, and would speak first
    refused(
        lambda: model.check(X, Y, torch.randn(2, 4, 5)),
        ValueError,
        "x_query has 5 columns, but input_dim is 3",
    )
    refused(
        lambda: model.check(X, Y, torch.randn(3, 4, 3)),
        ValueError,
        r"x_query has shape \(3, 4, 3\)",
    )
    refused(
        lambda: check_tensors(x=X, x_query=[[0.0]]),
        TypeError,
        "x_query is a list, expected a tensor",
    )
    prompt = torch.randn(4, 2), torch.randn(4)
    refused(
        lambda: model.generate(Normal(0.0, 1.0), 2, *prompt),
        ValueError,
        "prompt_x has 2 columns, but input_dim is 3",
    )
    refused(lambda: model.loss(TaskBatch(X, Y, n_train=6)), ValueError, "n_train is 6 of 6 rows")
    refused(
        lambda: unsupervised().loss(TaskBatch(None, CLASSES, n_train=6)),
        ValueError,
        "n_train is 6 of 6 rows",
    )


@pytest.mark.parametrize("mask", MASKS)
def test_a_prompt_with_missing_values_is_refused(mask):
    model, missing = regression(mask_type=mask), torch.full_like(Y[0], math.nan)
    refused(
        lambda: model.predict_on_prompt(X[0], missing), ValueError, "y holds NaN or infinite values"
    )
    refused(
        lambda: model.generate(Normal(0.0, 1.0), 2, X[0] / 0, Y[0]),
        ValueError,
        "prompt_x holds NaN or infinite values",
    )


@pytest.mark.parametrize("label", [3.0, -1.0, 0.5, math.nan])
def test_a_class_that_there_is_not_is_refused(label):
    wrong = CLASSES.clone()
    wrong[0, 1] = label
    refused(
        lambda: classification().loss(TaskBatch(X, wrong, n_train=0)),
        ValueError,
        "tells 3 classes or tokens apart: 0 … 2",
    )
    refused(lambda: categorical()(X, wrong), ValueError, "tells 3 classes or tokens apart: 0 … 2")


@pytest.mark.parametrize("token", [4, -1])
def test_a_token_that_there_is_not_is_refused(token):
    model, wrong = unsupervised(), torch.tensor([[0, 1, token]])
    for call in (
        lambda: model(wrong),
        lambda: model.generate(2, wrong),
        lambda: model.predict_on_prompt(wrong),
    ):
        refused(call, ValueError, "tells 4 classes or tokens apart: 0 … 3")


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
@pytest.mark.parametrize("point", [False, True])
def test_temperatures_are_above_0_in_every_call(point, temperature):
    buckets = {"bucket_type": None, "d_vocab": None, "y_min": None, "y_max": None}
    model = regression(prediction_type="point", **buckets) if point else regression()
    for logits in (True, False):
        call = partial(model.predict_on_prompt, temperature=temperature, return_logits=logits)
        refused(partial(call, X, Y), ValueError, "temperature is")
    refused(
        lambda: model.generate(Normal(0.0, 1.0), 2, temperature=temperature),
        ValueError,
        "temperature is",
    )


def test_rows_of_any_precision_are_read():
    model = regression()
    assert torch.equal(model(X.double(), Y.double()), model(X, Y))
    assert torch.equal(model(X.double(), Y, X[:, :2].double()), model(X, Y, X[:, :2]))


@pytest.mark.parametrize("mask", MASKS)
def test_no_rows_have_no_predictions(mask):
    assert regression(mask_type=mask)(X[:, :0], Y[:, :0]).shape == (2, 0, 8)
    assert regression(mask_type=mask)(X[:0], Y[:0]).shape == (0, 6, 8)


@pytest.mark.parametrize("make", [classification, categorical])
def test_the_belief_about_one_row_can_be_drawn_from(make):
    drawn = make().predict_on_prompt(X[0], CLASSES[0, :5]).sample(torch.Generator().manual_seed(0))
    assert drawn.shape == ()
    assert unsupervised().predict_on_prompt(TOKENS[0]).sample().shape == ()
