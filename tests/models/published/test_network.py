"""Laws of the published table networks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from openpfn import models
from openpfn.batch import TaskBatch
from openpfn.configs.published import PublishedConfig
from openpfn.models.published import network as published

KINDS = ["softmax", "linear"]


def network(attention_type, **changes):
    settings = {
        "d_model": 16,
        "n_heads": 2,
        "n_layers": 3,
        "d_mlp": 24,
        "max_classes": 3,
        **changes,
    }
    return models.PFN(PublishedConfig(attention_type=attention_type, **settings)).eval()


def tasks(n_tasks=2, n_train=12, n_query=6, n_columns=4, **fields) -> Any:
    x = torch.randn(n_tasks, n_train + n_query, n_columns)
    return TaskBatch(x=x, y=torch.randint(3, x.shape[:2]).float(), n_train=n_train, **fields)


@pytest.fixture(params=KINDS)
def model(request):
    return network(request.param)


def close(a, b):
    torch.testing.assert_close(a, b, atol=2e-6, rtol=1e-5)


def test_reading_the_state_gives_the_joint_answer(model):
    batch = tasks()
    close(model.read(batch.x[:, batch.n_train :], model.summarize(batch)), model(batch))


@pytest.mark.parametrize("size", [1, 4096])
def test_small_tiles_change_nothing(model, monkeypatch, size):
    batch = tasks()
    joint = model(batch).detach()
    monkeypatch.setattr(published, "BYTES_PER_TILE", size)
    with torch.no_grad():
        close(model(batch), joint)


def test_a_query_does_not_see_the_others(model):
    batch = tasks()
    state = model.summarize(batch)
    queries = batch.x[:, batch.n_train :]
    close(model.read(queries[:, 2:3], state), model.read(queries, state)[:, 2:3])


def test_row_order_of_the_context_does_not_matter(model):
    batch = tasks()
    order = torch.cat([torch.randperm(batch.n_train), torch.arange(batch.n_train, batch.n_rows)])
    close(
        model(TaskBatch(x=batch.x[:, order], y=batch.y[:, order], n_train=batch.n_train)),
        model(batch),
    )


def test_column_order_does_not_matter(model):
    batch = tasks()
    close(
        model(TaskBatch(x=batch.x[:, :, [2, 0, 3, 1]], y=batch.y, n_train=batch.n_train)),
        model(batch),
    )


def test_units_of_a_column_do_not_matter(model):
    batch = tasks()
    scaled = batch.x * torch.tensor([10.0, 0.5, 3.0, 1.0]) - torch.tensor([5.0, 0.0, 1.0, 7.0])
    torch.testing.assert_close(
        model(TaskBatch(x=scaled, y=batch.y, n_train=batch.n_train)),
        model(batch),
        atol=1e-4,
        rtol=1e-4,
    )


def test_padded_columns_are_never_read(model):
    batch = tasks(n_columns=4, n_features=torch.tensor([4, 2]))
    narrow = TaskBatch(x=batch.x[1:, :, :2], y=batch.y[1:], n_train=batch.n_train)
    close(model(batch)[1:], model(narrow))
    with torch.no_grad():
        close(model(batch)[1:], model(narrow))


def test_a_missing_value_counts_as_the_contexts_mean(model):
    batch = tasks(n_tasks=1)
    holes = batch.x.clone()
    holes[0, -1, 1] = torch.nan
    filled = holes.clone()
    filled[0, -1, 1] = batch.x[0, : batch.n_train, 1].mean()
    close(
        model(TaskBatch(x=holes, y=batch.y, n_train=batch.n_train)),
        model(TaskBatch(x=filled, y=batch.y, n_train=batch.n_train)),
    )


def test_an_empty_column_and_one_context_row_give_finite_answers(model):
    batch = tasks(n_train=1)
    batch.x[:, :, 0] = torch.nan
    assert model(batch).isfinite().all()


def test_classes_that_a_task_lacks_have_probability_zero(model):
    batch = tasks(n_classes=torch.tensor([2, 3]))
    probs = model.predictive(batch).probs
    assert (probs[0, :, 2] == 0).all()
    assert (probs[1] > 0).all()


def test_labels_of_query_rows_are_never_read(model):
    batch = tasks()
    y = batch.y.clone()
    y[:, batch.n_train :] = torch.nan
    close(model(TaskBatch(x=batch.x, y=y, n_train=batch.n_train)), model(batch))


def test_loss_is_the_mean_negative_log_probability(model):
    batch = tasks()
    close(model.loss(batch), -model.predictive(batch).log_prob(batch.y_query).mean())


def test_every_weight_that_matters_learns(model):
    model.loss(tasks()).backward()
    still = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


def test_the_parameter_count_is_the_published_one():
    count = lambda m: sum(p.numel() for p in m.parameters())  # noqa: E731
    assert count(network("linear", d_model=8, n_heads=1, d_mlp=8, n_layers=1, max_classes=2)) == 890
    assert (
        count(network("linear", d_model=16, n_heads=1, d_mlp=32, n_layers=4, max_classes=3))
        == 14_083
    )
    assert (
        count(network("softmax", d_model=96, n_heads=4, d_mlp=192, n_layers=3, max_classes=2))
        == 356_066
    )


def test_a_table_without_columns_or_context_is_refused(model):
    with pytest.raises(ValueError, match="no columns"):
        model(tasks(n_columns=0))
    with pytest.raises(ValueError, match="at least one context row"):
        model(tasks(n_train=0))


@pytest.mark.parametrize("label", [-1.0, 0.5, 99.0, torch.nan])
def test_a_label_that_is_no_class_is_refused(model, label):
    batch = tasks()
    wrong = batch.y.clone()
    wrong[0, 0] = label
    with pytest.raises(ValueError, match="classes or tokens apart"):
        model(replace(batch, y=wrong))
    wrong = batch.y.clone()
    wrong[0, -1] = label
    with pytest.raises(ValueError, match="classes or tokens apart"):
        model.loss(replace(batch, y=wrong))


def test_a_configuration_names_the_wrong_field():
    with pytest.raises(ValueError, match="n_layers is 0"):
        PublishedConfig(n_layers=0)
    with pytest.raises(ValueError, match="not a multiple of n_heads"):
        PublishedConfig(d_model=10, n_heads=4)
    with pytest.raises(ValueError, match="attention_type is 'pooled'"):
        PublishedConfig(attention_type="pooled")
