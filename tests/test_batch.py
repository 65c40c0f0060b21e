"""`TaskBatch` refuses tasks that contradict themselves, cannot be changed, and keeps its parts
together."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
import torch

from openpfn.batch import TaskBatch


def batch(**changes) -> TaskBatch:
    parts = {
        "x": torch.randn(3, 5, 2),
        "y": torch.arange(15.0).view(3, 5),
        "n_train": 3,
        "n_features": torch.tensor([1, 2, 2]),
        "n_classes": torch.tensor([2, 3, 4]),
        "categorical": torch.tensor([[True, False]] * 3),
        "latents": {"weights": torch.arange(3.0)},
    }
    return TaskBatch(**parts | changes)


@pytest.mark.parametrize("n_train", [-1, 6])
def test_more_context_rows_than_rows_are_refused(n_train):
    with pytest.raises(ValueError, match=f"n_train is {n_train}, but the tasks have 5 rows"):
        batch(n_train=n_train)


@pytest.mark.parametrize("n_train", [0, 5])
def test_all_rows_or_none_may_be_context(n_train):
    whole = batch(n_train=n_train)
    assert (whole.y_context.shape[1], whole.y_query.shape[1]) == (n_train, 5 - n_train)


@pytest.mark.parametrize("shape", [(3, 4, 2), (2, 5, 2)])
def test_inputs_and_targets_of_other_tasks_or_rows_are_refused(shape):
    wrong = batch()  # past the shapes that the tests check everywhere: users have the guard alone
    object.__setattr__(wrong, "x", torch.randn(shape))
    with pytest.raises(ValueError, match=r"x has shape .* and y \(3, 5\).*must agree"):
        wrong.__post_init__()


def test_it_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        batch().n_train = 4  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(TypeError):
        TaskBatch(None, torch.zeros(1, 2), 1).latents["new"] = torch.zeros(1)  # pyright: ignore[reportIndexIssue]


def test_its_sizes_are_those_of_its_tensors():
    whole = batch()
    assert (whole.n_tasks, whole.n_rows, whole.n_columns) == (3, 5, 2)
    assert batch(x=None).n_columns == 0
    assert torch.equal(torch.cat([whole.y_context, whole.y_query], 1), whole.y)


@pytest.mark.parametrize("index", [slice(1, 3), torch.tensor([1, 2]), torch.tensor([0, 1, 1]) > 0])
def test_selected_tasks_keep_everything_that_is_theirs(index):
    whole = batch()
    some = whole.tasks(index)
    assert some.n_train == whole.n_train
    for name in ("x", "y", "n_features", "n_classes", "categorical"):
        assert torch.equal(getattr(some, name), getattr(whole, name)[1:])
    assert torch.equal(some.latents["weights"], whole.latents["weights"][1:])


def test_a_function_reaches_every_tensor():
    doubled = batch().map(lambda tensor: tensor.repeat(2, *[1] * (tensor.dim() - 1)))
    assert doubled.n_tasks == 6
    assert {len(t) for t in (doubled.x, doubled.n_features, doubled.latents["weights"])} == {6}  # pyright: ignore[reportArgumentType]
    meta = batch().to("meta")
    assert {t.device.type for t in (meta.x, meta.y, meta.categorical, meta.latents["weights"])} == {  # pyright: ignore[reportOptionalMemberAccess]
        "meta"
    }
