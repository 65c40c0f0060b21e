"""Laws of the two-way table network."""

import dataclasses

import pytest
import torch

from openpfn.batch import TaskBatch
from openpfn.configs import PRESETS, TabularConfig, preset
from openpfn.models import PFN
from openpfn.models.tabular import layers
from openpfn.models.tabular import network as tabular

VARIANTS = {
    "plain": TabularConfig(
        d_model=16,
        d_mlp=16,
        n_layers=2,
        scalar_embedding="linear",
        target_aware=False,
        separate_query_weights=False,
    ),
    "linear": TabularConfig(d_model=16, d_mlp=16, n_layers=2, attention_type="linear"),
    "everything": TabularConfig(
        d_model=16,
        d_mlp=16,
        n_layers=2,
        n_thinking_rows=3,
        use_ranks=True,
        categorical_flags=True,
        column_shifts=(0, 1, 3),
        norm="layer",
    ),
    "one layer": TabularConfig(d_model=16, d_mlp=16, n_layers=1, missing_flags=False),
    "loops": TabularConfig(d_model=16, d_mlp=16, n_layers=2, n_loops=2),
}


@pytest.fixture(params=VARIANTS)
def model(request):
    return lively(VARIANTS[request.param])


def lively(config: TabularConfig):
    """A network whose zero-initialised outputs are drawn at random, so that every part shows."""
    torch.manual_seed(0)
    model = PFN(config)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return model.eval()


def tasks(
    n_rows: int = 14, n_columns: int = 5, n_train: int = 9, seed: int = 0, **changes
) -> TaskBatch:
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(3, n_rows, n_columns, generator=draw)
    y = torch.randint(0, 3, (3, n_rows), generator=draw).float()
    return dataclasses.replace(
        TaskBatch(x=x, y=y, n_train=n_train, n_classes=torch.full((3,), 3)), **changes
    )


def test_one_joint_pass_equals_reading_the_kept_state(model):
    batch = tasks(n_features=torch.tensor([5, 3, 4]))
    state = model.summarize(batch)
    torch.testing.assert_close(
        model(batch), model.read(batch.x[:, batch.n_train :], state), atol=1e-5, rtol=1e-5
    )


def test_a_context_read_in_tiles_leaves_the_state_of_one_pass(model, monkeypatch):
    batch = tasks(n_rows=40, n_train=37, n_features=torch.tensor([5, 3, 4]))
    whole = model.read(batch.x[:, 37:], model.summarize(batch))
    monkeypatch.setattr(tabular, "CELLS_PER_TILE", 3 * 6 * 5)  # 5 of the 37 rows at a time
    monkeypatch.setattr(layers, "BYTES_PER_TILE", 3 * 6 * 5 * 16 * 4)
    embedded = count_rows(monkeypatch, model)
    with torch.no_grad():
        state = model.summarize(batch)
        assert embedded == [5] * 7 + [2]
        torch.testing.assert_close(model.read(batch.x[:, 37:], state), whole, atol=1e-5, rtol=1e-5)


def count_rows(monkeypatch, model) -> list[int]:
    """The rows of every call of the cell encoder from now on."""
    counts, forward = [], model.cell_encoder.forward

    def counted(x, statistics):
        counts.append(x.shape[1])
        return forward(x, statistics)

    monkeypatch.setattr(model.cell_encoder, "forward", counted)
    return counts


def test_the_answers_to_query_rows_are_never_read(model):
    batch = tasks()
    hidden = dataclasses.replace(
        batch, y=torch.cat([batch.y_context, torch.full_like(batch.y_query, torch.nan)], dim=1)
    )
    torch.testing.assert_close(model(batch), model(hidden), atol=0, rtol=0)


def test_an_answer_does_not_depend_on_the_other_query_rows(model):
    batch = tasks()
    state = model.summarize(batch)
    rows = batch.x[:, batch.n_train :]
    alone = torch.cat([model.read(rows[:, i : i + 1], state) for i in range(rows.shape[1])], dim=1)
    torch.testing.assert_close(model.read(rows, state), alone, atol=1e-5, rtol=1e-5)


def test_row_order_of_the_context_does_not_matter(model):
    batch = tasks()
    order = torch.cat(
        [torch.randperm(9, generator=torch.Generator().manual_seed(1)), torch.arange(9, 14)]
    )
    shuffled = dataclasses.replace(batch, x=batch.x[:, order], y=batch.y[:, order])
    torch.testing.assert_close(model(batch), model(shuffled), atol=2e-5, rtol=1e-4)


def test_column_order_does_not_matter_without_grouping():
    model = lively(dataclasses.replace(VARIANTS["everything"], column_shifts=(0,)))
    batch = tasks()
    turned = dataclasses.replace(batch, x=batch.x[:, :, [3, 1, 4, 0, 2]])
    torch.testing.assert_close(model(batch), model(turned), atol=2e-5, rtol=1e-4)


def test_padding_changes_nothing(model):
    batch = tasks(n_columns=4)
    padded = dataclasses.replace(
        batch, x=torch.nn.functional.pad(batch.x, (0, 3)), n_features=torch.full((3,), 4)
    )
    torch.testing.assert_close(model(batch), model(padded), atol=2e-5, rtol=1e-4)


def test_shifting_and_scaling_a_column_changes_nothing(model):
    batch = tasks()
    moved = dataclasses.replace(
        batch, x=batch.x * torch.tensor([1, 10, 0.5, 3, 100.0]) + torch.tensor([0, 5, -2, 1, 50.0])
    )
    torch.testing.assert_close(model(batch), model(moved), atol=1e-3, rtol=1e-3)


def test_constant_missing_and_huge_columns_give_finite_answers(model):
    batch = tasks()
    x = batch.x.clone()
    x[:, :, 0], x[:, :, 1], x[:, :, 2], x[:, 3, 3] = 7.0, torch.nan, x[:, :, 2] * 1e12, torch.nan
    assert model(dataclasses.replace(batch, x=x))[..., :3].isfinite().all()


def test_a_constant_column_says_nothing_whatever_its_value(model):
    batch = tasks()
    answers = []
    for value in (0.0, 1e6 + 0.1):
        x = batch.x.clone()
        x[:, :, 0] = value
        answers.append(model(dataclasses.replace(batch, x=x)))
    torch.testing.assert_close(*answers, atol=1e-5, rtol=1e-5)


def test_missing_cells_are_told_from_the_mean():
    model = lively(VARIANTS["linear"])
    batch = tasks()
    gone, mean = batch.x.clone(), batch.x.clone()
    gone[:, 12, 0] = torch.nan
    mean[:, 12, 0] = batch.x[:, :9, 0].mean(dim=1)
    difference = (
        model(dataclasses.replace(batch, x=gone)) - model(dataclasses.replace(batch, x=mean))
    )[:, 3, :3]
    assert difference.abs().max() > 1e-3


def test_classes_that_a_task_does_not_have_get_no_probability(model):
    batch = tasks(n_classes=torch.tensor([3, 4, 5]))
    assert (model.predictive(batch).probs[0, :, 3:] == 0).all()


@pytest.mark.parametrize(("n_train", "n_rows", "n_columns"), [(1, 2, 1), (1, 5, 3), (8, 9, 1)])
def test_single_rows_and_columns_work(model, n_train, n_rows, n_columns):
    batch = tasks(n_rows=n_rows, n_columns=n_columns, n_train=n_train)
    assert model(batch)[..., :3].isfinite().all()
    assert model.loss(batch).isfinite()


def test_gradients_are_finite_and_reach_every_weight(model):
    batch = tasks(
        categorical=torch.tensor([[True, False, True, False, False]] * 3),
        x=tasks().x.masked_fill(tasks().x > 1, torch.nan),
    )
    model.loss(batch).backward()
    for name, weight in model.named_parameters():
        if "embed" in name or "classes" in name:
            continue  # rows of unused features and classes have no gradient
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
        assert weight.grad.abs().max() > 0, name


def test_loops_are_the_same_layers_one_after_the_other():
    config = dataclasses.replace(VARIANTS["loops"], separate_query_weights=False)
    looped = lively(config)
    written_out = PFN(dataclasses.replace(config, n_layers=4, n_loops=1)).eval()
    weights = dict(looped.state_dict())
    for name in list(weights):
        if name.startswith("layers."):
            _, layer, rest = name.split(".", 2)
            weights[f"layers.{int(layer) + 2}.{rest}"] = weights[name]
    written_out.load_state_dict(weights)
    torch.testing.assert_close(looped(tasks()), written_out(tasks()))


def test_a_table_without_columns_or_context_is_refused(model):
    with pytest.raises(ValueError, match="at least one column"):
        model(TaskBatch(x=None, y=torch.zeros(1, 3), n_train=2))
    with pytest.raises(ValueError, match="at least one context row"):
        model(tasks(n_train=0))


def test_more_classes_than_the_network_knows_are_refused(model):
    with pytest.raises(ValueError, match="a task has 11 classes"):
        model(tasks(n_classes=torch.tensor([3, 11, 2])))


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [("micro", 850, 1000), ("tiny", 13e3, 15e3), ("nano", 15e4, 1e6), ("small", 2e6, 5e6)],
)
def test_presets_have_the_sizes_they_promise(name, least, most):
    assert least <= sum(weight.numel() for weight in PFN(preset(name)).parameters()) <= most


def test_unknown_presets_and_fields_are_named():
    with pytest.raises(ValueError, match=f"one of {', '.join(PRESETS)}"):
        preset("giant")
    with pytest.raises(ValueError, match="n_heads"):
        TabularConfig(d_model=10, n_heads=4)
