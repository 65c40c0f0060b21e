"""Laws of reading prior dumps: what was written comes back, once per epoch, in anybody's format."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from drawn_dumps import contents_of, draw, write

from openpfn.batch import TaskBatch
from openpfn.data.dump_reader import DumpHeader, PriorDumpDataLoader, read_contents


def assert_same_task(got: TaskBatch, wanted: TaskBatch, task: int, of: int) -> None:
    assert got.x is not None
    assert wanted.x is not None
    assert got.n_features is not None
    assert wanted.n_features is not None
    d = int(wanted.n_features[of])
    assert int(got.n_features[task]) == d
    torch.testing.assert_close(
        got.x[task, :, :d], wanted.x[of, :, :d], rtol=0, atol=0, equal_nan=True
    )
    assert (got.x[task, :, d:] == 0).all()
    assert torch.equal(got.y[task], wanted.y[of])
    assert got.n_train == wanted.n_train
    assert int(got.n_classes[task]) == int(wanted.n_classes[of])  # type: ignore[index]


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    written = [draw(i) for i in range(6)]
    loader = PriorDumpDataLoader(write(tmp_path / "d.h5", written), 6, 4, shuffle=False)
    for wanted, got in zip(written, loader, strict=True):
        assert got.n_columns == int(wanted.n_features.max())  # type: ignore[union-attr]
        assert got.categorical is not None
        assert wanted.categorical is not None
        assert torch.equal(got.categorical, wanted.categorical[:, : got.n_columns])
        for task in range(4):
            assert_same_task(got, wanted, task, task)


@pytest.mark.slow
def test_every_task_comes_once_per_epoch_whatever_the_order_and_the_batch_size(
    tmp_path: Path,
) -> None:
    batches = [draw(i, n_rows=12, n_train=6) for i in range(5)]
    path = write(tmp_path / "d.h5", batches)
    wanted = sorted(float(y.sum() + x.nan_to_num().sum()) for b in _trimmed(batches) for x, y in b)
    for shuffle in (False, True):
        for size in (1, 3, 4, 7, 100):
            loader = PriorDumpDataLoader(path, None, size, shuffle=shuffle)
            assert loader.batches_per_epoch == -(-20 // size)
            got = []
            for _, batch in zip(range(loader.batches_per_epoch), loader, strict=False):
                assert batch.x is not None
                got += [
                    float(batch.y[i].sum() + batch.x[i].nan_to_num().sum())
                    for i in range(batch.n_tasks)
                ]
            np.testing.assert_allclose(sorted(got), wanted, rtol=1e-5)


def _trimmed(batches: list[TaskBatch]) -> Iterator[list[tuple[torch.Tensor, torch.Tensor]]]:
    for batch in batches:
        assert batch.x is not None
        assert batch.n_features is not None
        yield [
            (batch.x[i, :, : int(batch.n_features[i])], batch.y[i]) for i in range(batch.n_tasks)
        ]


def test_batches_hold_one_split_and_one_number_of_rows(tmp_path: Path) -> None:
    path = write(
        tmp_path / "d.h5",
        [draw(i, n_rows=12 if i % 2 else 15, n_train=(5, 7)[i // 3 % 2]) for i in range(12)],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loader = PriorDumpDataLoader(path, 20, 8)
    contents = loader.contents
    for batch in loader:
        assert (batch.n_rows, batch.n_train) in set(
            zip(contents.n_rows.tolist(), contents.n_train.tolist(), strict=True)
        )
        assert batch.y.isfinite().all()


def test_small_batches_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "d.h5", [draw(i, n_rows=12, n_train=4 + i) for i in range(6)])
    with pytest.warns(UserWarning, match=r"hold 4\.0 tasks on average, not 32"):
        PriorDumpDataLoader(path, 10, 32)


def test_tasks_with_fewer_classes_than_asked_never_come(tmp_path: Path) -> None:
    path = write(tmp_path / "d.h5", [draw(i, n_rows=12, n_train=6) for i in range(8)])
    n_three = int((read_contents(path).n_distinct == 3).sum())
    loader = PriorDumpDataLoader(path, None, 4, min_classes=3)
    seen = 0
    for _, batch in zip(range(loader.batches_per_epoch), loader, strict=False):
        assert batch.n_classes is not None
        assert (batch.n_classes == 3).all()
        seen += batch.n_tasks
    assert 0 < seen == n_three < 32
    with pytest.raises(ValueError, match=r"none of the 32 tasks .* has 4 classes"):
        PriorDumpDataLoader(path, 10, 4, min_classes=4)


def test_another_epoch_has_another_order_and_the_same_seed_the_same(tmp_path: Path) -> None:
    path = write(tmp_path / "d.h5", [draw(i, n_rows=12, n_train=6) for i in range(8)])

    def epochs(seed: int) -> list[list[float]]:
        loader = PriorDumpDataLoader(path, 16, 4, seed=seed)
        sums = [float(batch.x.nan_to_num().sum()) for batch in loader if batch.x is not None]
        return [sums[:8], sums[8:]]

    first, again, other = epochs(0), epochs(0), epochs(1)
    assert first == again
    assert first[0] != first[1]
    np.testing.assert_allclose(sum(first[0]), sum(first[1]), rtol=1e-3, atol=1e-3)
    assert first[0] != other[0]


@pytest.mark.slow
@pytest.mark.parametrize("start", [0, 3, 7, 8, 13])
def test_a_loader_started_later_continues_the_same_sequence(tmp_path: Path, start: int) -> None:
    path = write(tmp_path / "d.h5", [draw(i, n_rows=12, n_train=6) for i in range(8)])
    whole = [b.y for b in PriorDumpDataLoader(path, 20, 4)]
    loader = PriorDumpDataLoader(path, 20, 4, start=start)
    rest = [b.y for b in loader]
    assert loader.position == 20
    assert len(rest) == 20 - start
    assert all(torch.equal(a, b) for a, b in zip(whole[start:], rest, strict=True))
    assert len(list(loader)) == 20  # the next pass is whole


def test_the_keys_of_other_toolkits_are_there(tmp_path: Path) -> None:
    batches = [draw(i) for i in range(3)]
    found = contents_of(write(tmp_path / "d.h5", batches))
    assert found["X"].shape == (12, 20, 6)
    assert found["X"].dtype == np.float32
    assert found["y"].shape == (12, 20)
    for name in ("num_features", "num_datapoints", "single_eval_pos", "train_test_split_index"):
        assert found[name].shape == (12,)
        assert found[name].dtype == np.int32
    np.testing.assert_array_equal(
        found["single_eval_pos"], np.repeat([b.n_train for b in batches], 4)
    )
    np.testing.assert_array_equal(found["train_test_split_index"], found["single_eval_pos"])
    np.testing.assert_array_equal(
        found["num_datapoints"], np.repeat([b.n_rows for b in batches], 4)
    )
    assert found["max_num_classes"][0] == 3
    assert found["original_batch_size"][0] == 4
    assert found["problem_type"] == b"classification"
    for task in range(12):  # zeros pad rows and columns
        assert (found["X"][task, :, found["num_features"][task] :] == 0).all()
        assert (found["X"][task, found["num_datapoints"][task] :] == 0).all()
        assert (found["y"][task, found["num_datapoints"][task] :] == 0).all()


@pytest.mark.parametrize("split_key", ["single_eval_pos", "train_test_split_index"])
@pytest.mark.parametrize("with_rows", [True, False])
def test_dumps_of_other_toolkits_are_read(tmp_path: Path, split_key: str, with_rows: bool) -> None:
    random_state = np.random.default_rng(0)
    x = np.zeros((10, 9, 4), np.float32)
    y = np.zeros((10, 9), np.float32)
    rows = np.repeat([9, 9 if not with_rows else 7], 5)
    for task in range(10):
        x[task, : rows[task], :3] = random_state.normal(size=(rows[task], 3))
        y[task, : rows[task]] = np.arange(rows[task]) % (2 + task % 2)
    with h5py.File(tmp_path / "theirs.h5", "w") as hdf5:
        hdf5.create_dataset("X", data=x, chunks=(5, 9, 4), compression="lzf")
        hdf5["y"], hdf5["num_features"], hdf5[split_key] = (
            y,
            np.full(10, 3, np.int32),
            np.repeat([4, 5], 5).astype(np.int32),
        )
        hdf5["max_num_classes"] = np.array((3,))
        if with_rows:
            hdf5["num_datapoints"], hdf5["original_batch_size"] = (
                rows.astype(np.int32),
                np.array((5,)),
            )
            hdf5.create_dataset("problem_type", data="classification", dtype=h5py.string_dtype())
    loader = PriorDumpDataLoader(tmp_path / "theirs.h5", 2, 5, shuffle=False)
    for begin, batch in zip((0, 5), loader, strict=True):
        n = rows[begin]
        assert (batch.n_rows, batch.n_train, batch.n_columns) == (n, 4 + begin // 5, 3)
        np.testing.assert_array_equal(batch.x, x[begin : begin + 5, :n, :3])
        np.testing.assert_array_equal(batch.y, y[begin : begin + 5, :n])
        assert batch.n_classes is not None
        assert batch.n_classes.tolist() == [2 + task % 2 for task in range(begin, begin + 5)]
        assert batch.categorical is None
    assert PriorDumpDataLoader(tmp_path / "theirs.h5", 2, 5, min_classes=3).batches_per_epoch == 2


def test_regression_dumps_have_no_classes(tmp_path: Path) -> None:
    batch = TaskBatch(x=torch.randn(4, 10, 2), y=torch.randn(4, 10), n_train=5)
    path = write(
        tmp_path / "d.h5", [batch], DumpHeader(max_seq_len=10, max_features=2, batch_size=4)
    )
    found = contents_of(path)
    assert found["problem_type"] == b"regression"
    assert "max_num_classes" not in found
    (got,) = PriorDumpDataLoader(path, 1, 4, shuffle=False, min_classes=2)
    assert got.n_classes is None
    assert torch.equal(got.y, batch.y)


def test_the_dictionaries_hold_what_the_batches_hold(tmp_path: Path) -> None:
    path = write(tmp_path / "d.h5", [draw(i) for i in range(3)])
    for batch, content in zip(
        PriorDumpDataLoader(path, 3, 4), PriorDumpDataLoader(path, 3, 4).as_dict(), strict=True
    ):
        torch.testing.assert_close(content["x"], batch.x, equal_nan=True)
        assert torch.equal(content["y"], batch.y)  # type: ignore[arg-type]
        assert torch.equal(content["target_y"], batch.y)  # type: ignore[arg-type]
        assert content["train_test_split_index"] == content["single_eval_pos"] == batch.n_train


def test_filled_dumps_hold_the_mean_of_the_known_context_rows(tmp_path: Path) -> None:
    x = torch.tensor([[[1.0, torch.nan], [3.0, torch.nan], [torch.nan, 5.0], [100.0, torch.nan]]])
    header = DumpHeader(max_seq_len=4, max_features=2, batch_size=1, max_classes=2, missing="mean")
    path = write(
        tmp_path / "d.h5", [TaskBatch(x=x, y=torch.tensor([[0.0, 1, 0, 1]]), n_train=3)], header
    )
    np.testing.assert_array_equal(contents_of(path)["X"][0], [[1, 5], [3, 5], [2, 5], [100, 5]])
