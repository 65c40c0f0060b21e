"""Regression tasks from a real table: which columns are targets, and whose rows they are."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from priors.people import draw, made, people

from openpfn import RealTableConfig
from openpfn.tables.load import Table

pytestmark = pytest.mark.filterwarnings("ignore:columns of free text")


@pytest.fixture
def table() -> pd.DataFrame:
    return people()


def test_a_share_of_the_batches_has_columns_of_numbers_as_targets(table):
    prior = made(table, regression_share=0.5)
    batches = [draw(prior, 3, seed) for seed in range(30)]
    of_numbers = [batch for batch in batches if batch.n_classes is None]
    assert 8 <= len(of_numbers) <= 22
    targets = set()
    for batch in of_numbers:
        rows, columns = batch.latents["rows"], batch.latents["columns"]
        assert batch.n_columns == prior.n_features - 1
        (left_out,) = set(range(prior.n_features)) - set(columns[0].tolist())
        targets.add(prior.column_names[left_out])
        assert torch.equal(batch.y, prior.numbers[rows, left_out])
        assert batch.y.isfinite().all()
        assert set(rows.flatten().tolist()) <= set(prior.rows_of_part["train"].tolist())
        assert all(len(set(task.tolist())) == 30 for task in rows)
    assert {"age", "height"} <= targets
    assert targets.isdisjoint({"city", "member"})
    again = draw(prior, 3, 5)
    assert torch.equal(again.y, batches[5].y)


def test_without_a_share_the_tasks_are_the_same_as_ever(table):
    assert torch.equal(draw(made(table)).y, draw(made(table, regression_share=0.0)).y)
    assert draw(made(table)).n_classes is not None


def test_a_table_of_numbers_has_tasks_of_numbers(table):
    prices = Table("prices", table[["age", "city"]], table["height"], {}, "regression")
    prior = made(prices, regression_share=1.0)
    batch = draw(prior)
    assert batch.n_classes is None
    heights = torch.tensor(table["height"].to_numpy(), dtype=torch.float32)
    assert torch.equal(batch.y, heights[batch.latents["rows"]])
    test = prior.for_evaluation()
    seen = set(batch.latents["rows"].flatten().tolist())
    assert seen.isdisjoint(draw(test).latents["rows"].flatten().tolist())
    with pytest.raises(ValueError, match="Set it to 1"):
        made(prices, regression_share=0.5)
    in_memory = made(table, target="height", regression_share=1.0)
    assert "height" not in in_memory.column_names
    assert set(draw(in_memory).y.flatten().tolist()) <= set(heights.tolist())


def test_a_query_row_s_number_changes_nothing_of_the_context(table):
    changed = table.copy()
    prior = made(table, regression_share=1.0)
    batch = draw(prior, 1)
    row = int(batch.latents["rows"][0, -1])
    changed.loc[row, ["age", "height"]] += 1
    other = draw(made(changed, regression_share=1.0), 1)
    assert torch.equal(other.latents["rows"], batch.latents["rows"])
    same = (other.x == batch.x) | (other.x.isnan() & batch.x.isnan())
    assert same[:, :-1].all()
    assert torch.equal(other.y[:, :-1], batch.y[:, :-1])
    assert other.y[0, -1] == batch.y[0, -1] + 1


def test_numbers_that_a_table_cannot_give_are_told(table):
    with pytest.raises(ValueError, match="no column of numbers"):
        made(table[["city", "member", "y"]], regression_share=0.5)
    with pytest.raises(ValueError, match="regression_share is 2"):
        RealTableConfig(regression_share=2.0)
