"""Tasks from a real table: whose rows they are, what was fitted to which of them, and the files
they go into."""

from __future__ import annotations

import warnings
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot
from priors.people import draw, made, people

from openpfn import (
    PriorConfig,
    PriorDumpDataLoader,
    RealTableConfig,
    TabularConfig,
    TrainingConfig,
    create_h5_prior_from_dataset,
    plot_metric,
    train,
)
from openpfn.batch import TaskBatch
from openpfn.data.dump_reader import read_contents
from openpfn.priors.mixture import MixturePrior
from openpfn.priors.real_tables import RealTable, codes_of_context
from openpfn.randomness import draw_without_replacement
from openpfn.tables.encode import TableEncoder
from openpfn.tables.load import Table


@pytest.fixture
def table() -> pd.DataFrame:
    return people()


@pytest.fixture(autouse=True)
def _text_is_announced():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "columns of free text")
        yield


def test_no_row_comes_twice_in_a_task(table):
    for total, n_train in ((30, 20), (60, 2), (140, 100)):  # 140: all rows of the part
        rows = draw(made(table, total_rows=total, train_rows=n_train), 12).latents["rows"]
        assert all(len(task.unique()) == total for task in rows)


def test_train_and_test_tasks_share_no_row_and_leave_none_out(table):
    seen = [
        set(draw(made(table, part=part), 200).latents["rows"].flatten().tolist())
        for part in ("train", "test")
    ]
    assert not seen[0] & seen[1]
    assert seen[0] | seen[1] == set(range(200))
    assert len(seen[1]) == 60
    other = set(
        draw(made(table, part="test", split_seed=1), 200).latents["rows"].flatten().tolist()
    )
    assert other != seen[1]


def test_both_parts_hold_the_share_of_each_class(table):
    table["y"] = np.where(np.arange(200) < 20, "rare", "common")
    prior = made(table)
    counts = {
        part: prior.labels[rows].bincount().tolist() for part, rows in prior.rows_of_part.items()
    }
    assert counts == {"train": [126, 14], "test": [54, 6]}


class Listener(torch.nn.Module):
    """Remembers the rows of the table that it is trained and evaluated on."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.rows: dict[bool, set[int]] = {True: set(), False: set()}

    def loss(self, batch: TaskBatch) -> torch.Tensor:
        self.rows[torch.is_grad_enabled()] |= set(batch.latents["rows"].flatten().tolist())
        return self.weight.square().sum()


@pytest.mark.slow
def test_a_network_is_evaluated_on_rows_that_training_never_sees(table):
    settings = TrainingConfig(
        num_steps=3, batch_size=20, n_workers=0, save_checkpoint=False, eval_every=1, eval_batches=2
    )
    model = train(made(table), Listener(), settings)
    trained, evaluated = model.rows[True], model.rows[False]
    assert len(trained) == 140
    assert len(evaluated) == 60
    assert not trained & evaluated


def test_every_choice_of_rows_is_equally_likely():
    drawn = draw_without_replacement(60_000, 2, 4, torch.Generator().manual_seed(0))
    counts = (drawn[:, 0] * 4 + drawn[:, 1]).bincount(minlength=16)[
        [1, 2, 3, 4, 6, 7, 8, 9, 11, 12, 13, 14]
    ]
    assert counts.sum() == 60_000
    assert ((counts - 5000) ** 2 / 5000).sum() < 31  # χ² of 11 degrees of freedom: p = 0.001


@pytest.mark.slow
def test_a_task_is_what_an_encoder_fitted_to_its_context_makes_of_its_rows(table):
    prior, batch = made(table), draw(made(table))
    assert prior.column_names[:3] == ["age", "city", "member"]
    used = ["age", "city", "member", "height"]
    kinds = {"age": "numeric", "city": "categorical", "member": "boolean", "height": "numeric"}
    index = [prior.column_names.index(name) for name in used]
    for x, rows in zip(batch.x, batch.latents["rows"], strict=True):
        frame = table.loc[rows.tolist(), used]
        expected = TableEncoder().fit(frame.iloc[: batch.n_train], kinds).transform(frame)
        np.testing.assert_allclose(x[:, index].numpy(), expected, rtol=1e-6)
    towns = draw(made(table), 400).x[..., prior.column_names.index("city")]
    assert (
        towns[:, 20:].isnan().float().mean() > towns[:, :20].isnan().float().mean()
    )  # some towns only among query rows


def test_a_query_row_changes_nothing_but_itself(table):
    batch = draw(made(table))
    row = int(batch.latents["rows"][0, -1])  # a query row of the first task
    changed = table.copy()
    changed.loc[row, ["age", "city", "height"]] = [
        1e4,
        "Cork" if table.loc[row, "city"] != "Cork" else "Oslo",
        -1e4,
    ]
    other = draw(made(changed))
    is_row = batch.latents["rows"] == row
    as_query = is_row[:, batch.n_train :].any(1)
    assert as_query[0]
    untouched = as_query.unsqueeze(1) & ~is_row
    assert torch.equal(batch.x[untouched].nan_to_num(-7), other.x[untouched].nan_to_num(-7))
    assert not torch.equal(
        batch.x[as_query.unsqueeze(1) & is_row].nan_to_num(-7),
        other.x[as_query.unsqueeze(1) & is_row].nan_to_num(-7),
    )


def test_codes_are_places_among_what_the_context_holds():
    x = torch.tensor([[[5.0], [2.0], [float("nan")], [5.0], [9.0], [2.0], [3.0], [float("nan")]]])
    assert codes_of_context(x, 4)[0, :, 0].nan_to_num(-1).tolist() == [1, 0, -1, 1, -1, 0, -1, -1]
    assert codes_of_context(torch.full((1, 3, 1), float("nan")), 2).isnan().all()


@pytest.mark.slow
def test_the_seed_decides_everything(table):
    assert torch.equal(
        draw(made(table), seed=5).latents["rows"], draw(made(table), seed=5).latents["rows"]
    )
    assert not torch.equal(
        draw(made(table), seed=5).latents["rows"], draw(made(table), seed=6).latents["rows"]
    )


def test_columns_are_the_first_ones_or_drawn_anew_for_each_task(table):
    first = draw(made(table, num_features=3))
    assert first.latents["columns"].tolist() == [[0, 1, 2]] * 40
    assert first.categorical.tolist() == [[False, True, True]] * 40
    shuffled = draw(made(table, num_features=3, shuffle_columns_for_each_task=True), 300)
    columns = shuffled.latents["columns"]
    assert all(len(task.unique()) == 3 for task in columns)
    assert len(columns.unique()) == len(made(table).column_names)
    assert len({tuple(task) for task in columns.tolist()}) > 50
    assert torch.equal(shuffled.categorical, (columns == 1) | (columns == 2))


def test_columns_that_say_nothing_and_free_text_are_left_out(table):
    with pytest.warns(UserWarning, match="free text in a table in memory are left out: remark"):
        prior = made(table)
    assert set(prior.column_names) == {"age", "city", "member", "since", "height"}


def test_labels_keep_the_table_s_order_unless_they_are_shuffled():
    table = people().assign(y=np.repeat(["a", "b", "c", "d"], 50))
    letters = np.array(["a", "b", "c", "d"])
    batch = draw(made(table))
    for y, rows in zip(batch.y.long(), batch.latents["rows"], strict=True):
        assert letters[y].tolist() == table["y"][rows.tolist()].tolist()
    batch = draw(made(table, shuffle_classes_for_each_task=True))
    maps = set()
    for y, rows in zip(batch.y.long().tolist(), batch.latents["rows"], strict=True):
        pairs = set(zip(y, table["y"][rows.tolist()], strict=True))
        assert len(pairs) == 4  # still one number for each class
        maps.add(tuple(sorted(pairs)))
    assert len(maps) > 10


@pytest.mark.slow
def test_rare_classes_reach_every_task_and_every_context():
    table = people(600).assign(y=np.where(np.arange(600) < 6, "rare", "common"))
    batch = draw(made(table), 200)
    assert batch.n_classes.tolist() == [2] * 200
    assert (batch.y_context.amax(1) == 1).all()
    assert all(len(task.unique()) == 30 for task in batch.latents["rows"])
    assert ((batch.y == 1).sum(1) == 1).float().mean() > 0.8  # no more of them than needed
    assert len(batch.latents["rows"][batch.y == 1].unique()) == 4  # any of the four in this part


def test_a_task_may_hold_fewer_classes_than_the_table_and_numbers_them_without_gaps():
    table = people().assign(y=np.repeat(np.arange(20), 10))
    batch = draw(made(table, total_rows=8, train_rows=6))
    assert batch.n_classes.max() <= 8
    assert len(batch.n_classes.unique()) > 1
    assert all(task.max() + 1 == k for task, k in zip(batch.y, batch.n_classes, strict=True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"target": None},
            "say which column of the DataFrame is the target. Its columns are age, city",
        ),
        ({"target": "z"}, "the DataFrame has no column 'z'"),
        ({"target": "height"}, "200 distinct values in 200 rows: these are numbers or names"),
        ({"target": "country"}, "has 1 class, wanted at least 2"),
        (
            {"total_rows": 150},
            "the train part of a table in memory has 140 rows, but a task takes total_rows=150",
        ),
        ({"part": "test", "total_rows": 61}, "the test part of a table in memory has 60 rows"),
        (
            {"num_features": 20},
            "num_features is 20, but a table in memory has 7 columns that can be used: age, city",
        ),
        ({"test_share": 0.001}, "too few to keep a test_share of 0.001 apart"),
    ],
)
def test_a_table_that_cannot_give_such_tasks_is_told(table, changes, message):
    with pytest.raises(ValueError, match=message):
        made(table, **changes)


def test_a_part_of_one_class_and_a_regression_table_are_told(table):
    with pytest.raises(
        ValueError, match="all rows in the test part of a table in memory are of one class"
    ):
        made(table.assign(y=["only"] + ["other"] * 199), part="test")
    with pytest.raises(ValueError, match="prices has numbers to predict"):
        made(Table("prices", table[["age"]], table["height"], {}, "regression"))
    with pytest.raises(
        ValueError, match="column 'age' of a table in memory has values beyond float32"
    ):
        made(table.assign(age=table["age"].fillna(np.inf)))
    with pytest.raises(ValueError, match="no column of numbers or categories"):
        made(table[["country", "nothing", "y"]])


@pytest.mark.parametrize(
    ("field", "value"),
    [("test_share", 1.0), ("train_rows", 1), ("train_rows", 100), ("num_features", 0)],
)
def test_an_impossible_field_is_named(field, value):
    with pytest.raises(ValueError, match=field):
        RealTableConfig(**{field: value})


def test_a_mixture_of_synthetic_and_real_tables_is_refused():
    with pytest.raises(ValueError, match="real_tables is not a class made with a PriorConfig"):
        MixturePrior(PriorConfig(parts=("scm_mlp", "real_tables"), part_weights=(1.0, 1.0)))


@pytest.mark.slow
def test_dumps_hold_the_tasks_of_both_parts(table, tmp_path):
    paths = create_h5_prior_from_dataset(
        table,
        tmp_path / "new" / "train.h5",
        tmp_path / "test.h5",
        200,
        30,
        20,
        4,
        shuffle_columns_for_each_task=False,
        target="y",
        seed=3,
    )
    assert paths == (tmp_path / "new" / "train.h5", tmp_path / "test.h5")
    contents = [read_contents(path) for path in paths]
    assert [c.n_tasks for c in contents] == [140, 60]
    assert [c.attributes["header"]["prior_config"]["part"] for c in contents] == ["train", "test"]
    for path, part in zip(paths, ("train", "test"), strict=True):
        with h5py.File(path) as file:
            assert file["X"].shape[1:] == (30, 4)
            assert set(file["single_eval_pos"][:]) == {20}
            assert file["max_num_classes"][:] == [2]
        prior = made(table, part=part, num_features=4, split_seed=3)
        batches = list(PriorDumpDataLoader(path, 1, 500, shuffle=False))
        numbers = prior.numbers[prior.rows_of_part[part], 3]
        assert set(batches[0].x[..., 3].flatten().tolist()) <= set(numbers.tolist())
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["test.h5", "train.h5"]


@pytest.mark.slow
def test_dumps_repeat_under_a_seed_and_missing_values_can_be_filled(tmp_path, table):
    def values(seed, **options):
        name = f"{seed}{sorted(options)}"
        create_h5_prior_from_dataset(
            table,
            tmp_path / f"{name}a.h5",
            tmp_path / f"{name}b.h5",
            10,
            30,
            20,
            None,
            target="y",
            seed=seed,
            **options,
        )
        with h5py.File(tmp_path / f"{name}a.h5") as file:
            return file["X"][:]

    np.testing.assert_array_equal(values(1), values(1, overwrite=True))
    assert not np.array_equal(values(1, overwrite=True), values(2), equal_nan=True)
    assert np.isnan(values(4)).any()
    assert not np.isnan(values(4, fill_missing=True)).any()


def test_dumps_are_not_overwritten_and_appear_whole_or_not_at_all(table, tmp_path, monkeypatch):
    (tmp_path / "test.h5").write_bytes(b"mine")
    with pytest.raises(FileExistsError, match=r"test\.h5 exists already"):
        create_h5_prior_from_dataset(
            table, tmp_path / "train.h5", tmp_path / "test.h5", 10, 30, 20, 2, target="y"
        )
    original = RealTable.sample
    monkeypatch.setattr(
        RealTable,
        "sample",
        lambda self, *a: 1 / 0 if self.config.part == "test" else original(self, *a),
    )
    with pytest.raises(ZeroDivisionError):
        create_h5_prior_from_dataset(
            table,
            tmp_path / "train.h5",
            tmp_path / "test.h5",
            10,
            30,
            20,
            2,
            target="y",
            overwrite=True,
        )
    assert [p.name for p in tmp_path.iterdir()] == ["test.h5"]
    assert (tmp_path / "test.h5").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_tasks": 1}, "num_tasks is 1, of which 0 would go into the test file"),
        ({"test_filename": "train.h5"}, "are both"),
        ({"dataset_id": "irys"}, "irys"),
        (
            {"dataset_id": "wine", "target": "colour"},
            "bundled table wine is 'target', not 'colour'",
        ),
    ],
)
def test_wrong_arguments_are_told(changes, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = {
        "dataset_id": "iris",
        "train_filename": "train.h5",
        "test_filename": "test.h5",
    } | changes
    with pytest.raises(ValueError, match=message):
        create_h5_prior_from_dataset(**arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_walk_through_from_a_table_to_a_figure(tmp_path, monkeypatch):
    """Two files of tasks, a network trained on one and evaluated on the other, its history on disk,
    a figure of it."""
    monkeypatch.chdir(tmp_path)
    names = "h5_files/TRAIN_cancer.h5", "h5_files/TEST_cancer.h5"
    create_h5_prior_from_dataset(
        "breast_cancer", *names, num_tasks=100, total_rows=40, train_rows=30, num_features=6
    )
    prior = PriorDumpDataLoader(names[0], num_steps=40, batch_size=10)
    eval_loader = PriorDumpDataLoader(names[1], num_steps=3, batch_size=10)
    network = TabularConfig(
        d_model=16, n_heads=2, n_layers=2, d_mlp=32, max_classes=2, attention_type="linear"
    )
    settings = TrainingConfig(
        num_steps=60,
        batch_size=10,
        learning_rate=3e-3,
        log_every=20,
        eval_every=20,
        checkpoint_dir="run",
        precision="float32",
    )
    model = train(prior, network, settings, eval_data_generator=eval_loader)
    assert model.history["eval_auc"].iloc[-1] > 0.9
    model.history.to_csv("history.csv", index=False)
    histories = {"linear": pd.read_csv("history.csv"), "as written": pd.read_csv("run/history.csv")}
    for kind in ("train loss vs time", "train loss vs step", "ROC vs time", "ROC vs step"):
        assert len(plot_metric(kind, histories).lines) == 2
    pyplot.savefig("ROC vs step.png")
    pyplot.close("all")
    assert Path("ROC vs step.png").stat().st_size > 5000
