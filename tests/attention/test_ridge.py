"""Ridge attention against the closed form of ridge regression."""

import pytest
import torch
from sklearn.linear_model import Ridge

from openpfn.attention.ridge import FLOOR, RidgeAttention


def lively(d_model: int, n_heads: int, **options) -> RidgeAttention:
    attention = RidgeAttention(d_model, n_heads, **options).double()
    for weight in attention.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    return attention


def test_each_head_predicts_what_ridge_regression_of_values_on_keys_predicts():
    attention = lively(8, 2)
    torch.nn.init.eye_(attention.to_out.weight)
    context, rows = torch.randn(1, 30, 8).double(), torch.randn(1, 5, 8).double()
    answers = attention.read(rows, attention.finalize(attention.summarize(context))).detach()
    key, value = (
        part.detach().squeeze(0).numpy()
        for part in attention.to_key_value(context).chunk(2, dim=-1)
    )
    query = attention.to_query(rows).detach().squeeze(0).numpy()
    for head in range(2):
        own = slice(4 * head, 4 * head + 4)
        strength = attention.ridge[head].item() + FLOOR * (key[:, own] ** 2).mean()
        regression = Ridge(alpha=30 * strength, fit_intercept=False).fit(
            key[:, own], value[:, own]
        )  # a sum over 30 rows
        torch.testing.assert_close(
            answers[0, :, own],
            torch.tensor(regression.predict(query[:, own])),
            atol=1e-8,
            rtol=1e-8,
        )


def test_a_context_twice_over_is_the_same_context():
    attention = lively(8, 2)
    context, rows = torch.randn(3, 7, 8).double(), torch.randn(3, 2, 8).double()
    once, twice = (
        attention.read(rows, attention.finalize(attention.summarize(c)))
        for c in (context, context.repeat(1, 2, 1))
    )
    torch.testing.assert_close(once, twice)


def test_the_ridge_stays_positive_and_begins_where_it_is_told():
    torch.testing.assert_close(RidgeAttention(8, 2, ridge=0.3).ridge, torch.full((2,), 0.3))
    attention = RidgeAttention(8, 2)
    with torch.no_grad():
        attention.raw_ridge.fill_(-30.0)
    assert (attention.ridge > 0).all()


def test_fewer_rows_than_features_and_no_ridge_to_speak_of_can_be_solved():
    attention = RidgeAttention(64, 2)
    with torch.no_grad():
        attention.raw_ridge.fill_(-30.0)
        torch.nn.init.eye_(attention.to_out.weight)
    for scale in (1e-3, 1.0, 1e3):
        context = scale * torch.randn(4, 3, 64)
        assert (
            attention.read(context, attention.finalize(attention.summarize(context)))
            .isfinite()
            .all()
        )


def test_a_broken_row_gives_a_loss_that_is_not_a_number():
    attention = RidgeAttention(8, 2)
    context = torch.randn(2, 5, 8)
    context[0, 0, 0] = torch.nan
    weights = attention.finalize(attention.summarize(context)).weights
    assert not weights[0].isfinite().all()
    assert weights[1].isfinite().all()


def test_the_state_does_not_grow_with_the_context():
    attention = RidgeAttention(8, 2)
    sizes = {
        n: [
            tensor.shape for tensor in attention.finalize(attention.summarize(torch.randn(3, n, 8)))
        ]
        for n in (1, 1000)
    }
    assert sizes[1] == sizes[1000]


def test_the_ridge_must_be_positive():
    with pytest.raises(ValueError, match=r"ridge is 0\.0, must be positive"):
        RidgeAttention(8, 2, ridge=0.0)
