"""Tasks from many real tables: whose rows and columns they are, and how a network learns them."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch

from openpfn.batch import TaskBatch
from openpfn.configs import TabularConfig
from openpfn.configs.prior import PriorConfig
from openpfn.models import PFN
from openpfn.priors.mixture import MixturePrior
from openpfn.priors.table_pool import TablePool, pooled
from openpfn.training.teaching import TaughtLoss

N_ROWS = 90
SHAPES = {"min_features": 1, "max_features": 3, "max_seq_len": 40}


@pytest.fixture
def folder(tmp_path):
    """Two tables: one of numbers, and one that holds words, gaps and free text too."""
    random = np.random.default_rng(0)
    sums = pd.DataFrame(random.normal(size=(N_ROWS, 3)), columns=list("abc"))
    sums["total"] = sums.sum(axis=1)
    shops = pd.DataFrame(
        {
            "town": random.choice(["Bern", "Chur", "Genf"], N_ROWS),
            "sales": np.where(random.random(N_ROWS) < 0.2, np.nan, random.gamma(2, 50, N_ROWS)),
            "note": [f"note {i} of many words" for i in range(N_ROWS)],
            "open": random.choice(["yes", "no"], N_ROWS),
        }
    )
    entries = []
    for name, table, target, task in (
        ("sums", sums, "total", "regression"),
        ("shops", shops, "open", "classification"),
    ):
        table.to_csv(tmp_path / f"{name}.csv", index=False)
        entries.append({"name": name, "file": f"{name}.csv", "target": target, "task": task})
    (tmp_path / "index.json").write_text(json.dumps(entries))
    return tmp_path


def draw(folder, n_tasks: int = 40, seed: int = 0, **changes) -> TaskBatch:
    config = PriorConfig(tables=str(folder), **(SHAPES | changes))
    return TablePool(config).sample(n_tasks, torch.Generator().manual_seed(seed))


def test_the_pool_knows_what_can_be_predicted(folder):
    sums, shops = pooled(str(folder))
    assert (sums.classes, sums.numbers) == ((), (0, 1, 2, 3))
    assert (shops.classes, shops.numbers) == ((0, 2), (1,))  # the note is left out
    assert shops.categorical.tolist() == [True, False, True]


def test_cells_of_a_task_are_cells_of_one_table(folder):
    batch = draw(folder, regression_share=1.0)
    tables = [table.cells for table in pooled(str(folder))]
    for x, width in zip(batch.x, batch.n_features, strict=True):
        numbers = [x[:, j] for j in range(int(width)) if len(x[:, j].unique()) > 10]
        assert all(
            any(
                set(column[column.isfinite()].tolist()) <= set(known.tolist())
                for table in tables
                for known in table.T
            )
            for column in numbers
        )


def test_numbers_are_scaled_by_the_context(folder):
    batch = draw(folder, regression_share=1.0)
    context = batch.y_context
    torch.testing.assert_close(context.mean(1), torch.zeros(len(context)), atol=1e-5, rtol=0)
    torch.testing.assert_close(context.std(1), torch.ones(len(context)), atol=1e-5, rtol=0)
    assert batch.n_classes is None


def test_classes_are_numbered_without_gaps_and_known_to_the_context(folder):
    batch = draw(folder, max_classes=4)
    assert batch.n_classes is not None
    assert batch.n_classes.max() <= 4
    for y, n in zip(batch.y, batch.n_classes, strict=True):
        assert set(y.tolist()) == set(y[: batch.n_train].tolist()) == set(range(int(n)))


def test_a_column_that_tells_the_target_is_left_out(tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 2))
    table = pd.DataFrame({"celsius": x[:, 0], "fahrenheit": 32 + 1.8 * x[:, 0], "wind": x[:, 1]})
    table.to_csv(tmp_path / "weather.csv", index=False)
    entry = {"name": "weather", "file": "weather.csv", "target": "wind", "task": "regression"}
    (tmp_path / "index.json").write_text(json.dumps([entry]))
    batch = draw(tmp_path, regression_share=1.0, min_features=2)
    narrow = batch.n_features == 1
    assert 0 < narrow.sum() < len(narrow)


def test_the_seed_decides(folder):
    first, again, other = draw(folder), draw(folder), draw(folder, seed=1)
    torch.testing.assert_close(first.x, again.x, equal_nan=True)
    assert not torch.equal(first.y, other.y)


def test_a_column_may_have_any_name(tmp_path):
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 3)), columns=["self", "x", "y"])
    table.to_csv(tmp_path / "odd.csv", index=False)
    entry = {"name": "odd", "file": "odd.csv", "target": "self", "task": "regression"}
    (tmp_path / "index.json").write_text(json.dumps([entry]))
    assert draw(tmp_path, regression_share=1.0).n_tasks == 40


def test_tables_that_are_too_short_are_told_of(folder):
    with pytest.raises(ValueError, match=r"no table of .* has 200 rows"):
        draw(folder, max_seq_len=200)
    with pytest.raises(FileNotFoundError, match=r"no index\.json"):
        draw(folder / "elsewhere")


def test_a_mixture_says_which_tasks_are_real(folder):
    config = PriorConfig(
        tables=str(folder), parts=("scm_mlp", "table_pool"), part_weights=(0.5, 0.5), **SHAPES
    )
    batch = MixturePrior(config).sample(40, torch.Generator().manual_seed(0))
    is_real = batch.latents["is_real"]
    assert 0 < is_real.sum() < 40
    assert torch.equal(batch.latents["depth"] > 0, is_real == 0)


def test_a_pupil_learns_real_tasks_from_their_own_classes(folder):
    config = TabularConfig(d_model=8, n_layers=1, n_heads=1, d_mlp=8, max_classes=10)
    torch.manual_seed(0)
    pupil, teacher = PFN(config).eval(), PFN(config).eval()
    for network in (pupil, teacher):  # a new network answers all alike
        for weights in network.parameters():
            weights.data += 0.3 * torch.randn_like(weights)
    batch = draw(folder, 6)
    taught = TaughtLoss(pupil, teacher)(batch)
    torch.testing.assert_close(taught, pupil.loss(batch))
    unreal = TaskBatch(**{**vars(batch), "latents": {}})
    assert not torch.isclose(TaughtLoss(pupil, teacher)(unreal), taught)
