"""Laws of prior dumps: what is written is read back, in anybody's format, whatever kills the
writer."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from openpfn.batch import TaskBatch
from openpfn.data.commit_file import journal_of
from openpfn.data.dump_reader import DumpHeader, DumpWriter, PriorDumpDataLoader, read_contents

HEADER = DumpHeader(
    max_seq_len=20, max_features=6, batch_size=4, max_classes=3, prior="random", seed=7
)


def draw(
    index: int, n_rows: int | None = None, n_train: int | None = None, missing: bool = True
) -> TaskBatch:
    """A batch of four tasks of 2 to 6 columns that depends on `index` alone."""
    generator = torch.Generator().manual_seed(index)
    rows = n_rows or int(torch.randint(10, 21, (1,), generator=generator))
    x = torch.randn(4, rows, 6, generator=generator)
    if missing:
        x[torch.rand(4, rows, 6, generator=generator) < 0.05] = torch.nan
    n_classes = torch.randint(2, 4, (4,), generator=generator)
    y = (torch.rand(4, rows, generator=generator) * n_classes[:, None]).floor()
    y[:, :3] = torch.minimum(torch.arange(3.0), n_classes[:, None] - 1)  # every class occurs
    return TaskBatch(
        x=x,
        y=y,
        n_train=n_train or int(torch.randint(4, rows, (1,), generator=generator)),
        n_features=torch.randint(2, 7, (4,), generator=generator),
        n_classes=n_classes,
        categorical=torch.rand(4, 6, generator=generator) < 0.5,
    )


def write(path: Path, batches: Iterable[TaskBatch], header: DumpHeader = HEADER) -> Path:
    with DumpWriter.create(path, header) as dump:
        for batch in batches:
            dump.append(batch)
    return path


def contents_of(path: Path) -> dict[str, Any]:
    hdf5: Any
    with h5py.File(path, "r") as hdf5:
        return {name: hdf5[name][()] for name in hdf5} | {f"@{k}": v for k, v in hdf5.attrs.items()}


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(
        np.array_equal(a[k], b[k], equal_nan=np.asarray(a[k]).dtype.kind == "f") for k in a
    )


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


# ---- the round trip


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


# ---- other toolkits


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


# ---- what kills a writer


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    path = write(tmp_path / "d.h5", [draw(0)])
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="--resume"):
        DumpWriter.create(path, HEADER)
    assert path.read_bytes() == before
    DumpWriter.create(path, HEADER, replace=True).close()
    with pytest.raises(ValueError, match="holds no task yet"):
        read_contents(path)


def test_a_resumed_dump_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.h5", [draw(i) for i in range(5)])
    for stop in (0, 1, 4):
        path = write(tmp_path / f"{stop}.h5", [draw(i) for i in range(stop)])
        with DumpWriter.resume(path, HEADER) as dump:
            assert dump.n_batches == stop
            for i in range(stop, 5):
                dump.append(draw(i))
        assert same(contents_of(path), contents_of(whole))


def test_a_dump_is_not_continued_with_other_arguments(tmp_path: Path) -> None:
    path = write(tmp_path / "d.h5", [draw(0)])
    with pytest.raises(ValueError, match=r"begun with seed 7 \(now 8\)"):
        DumpWriter.resume(
            path,
            DumpHeader(
                max_seq_len=20, max_features=6, batch_size=4, max_classes=3, prior="random", seed=8
            ),
        )


def test_an_exception_leaves_the_batches_before_it(tmp_path: Path) -> None:
    def endless() -> Iterator[TaskBatch]:
        yield draw(0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "d.h5", endless())
    assert read_contents(tmp_path / "d.h5").n_tasks == 4
    assert not journal_of(tmp_path / "d.h5").exists()


def test_a_dump_can_be_read_by_anybody_after_every_batch(tmp_path: Path) -> None:
    """A plain HDF5 reader of a copy taken while the writer lives sees whole batches."""
    with DumpWriter.create(tmp_path / "d.h5", HEADER) as dump:
        for i in range(4):
            dump.append(draw(i))
            (tmp_path / "copy.h5").write_bytes((tmp_path / "d.h5").read_bytes())
            assert contents_of(tmp_path / "copy.h5")["X"].shape[0] == 4 * (i + 1)


def test_two_writers_of_one_dump_are_refused(tmp_path: Path) -> None:
    with DumpWriter.create(tmp_path / "d.h5", HEADER) as dump:
        dump.append(draw(0))
        with pytest.raises(BlockingIOError):
            DumpWriter.resume(tmp_path / "d.h5", HEADER)
        with pytest.raises(ValueError, match="being written by another process"):
            read_contents(tmp_path / "d.h5")
    assert read_contents(tmp_path / "d.h5").n_tasks == 4


def write_until_killed(path: Path, report: int) -> None:
    with DumpWriter.resume(path, HEADER) as dump:
        os.write(report, b"begins\n")
        while True:
            dump.append(draw(dump.n_batches, n_rows=20, n_train=9))
            os.write(report, b"%d\n" % dump.n_batches)


def kill_a_writer(path: Path, seconds: float) -> list[int]:
    """Start a writer of `path`, kill −9 it some seconds after it began; the numbers of batches it
    reported."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            write_until_killed(path, writing)
        finally:
            os._exit(1)
    os.close(writing)
    with open(reading, "rb") as report:
        assert report.readline() == b"begins\n"
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return [int(line) for line in report.read().split()]


def kill_writers(path: Path, n_kills: int, seed: int) -> int:
    """Kill writers of `path` at random moments, checking the file each time; the batches it holds
    at the end."""
    random_state, n_before = random.Random(seed), 0
    for _ in range(n_kills):
        reported = max([n_before, *kill_a_writer(path, random_state.uniform(0, 0.3))])
        with DumpWriter.resume(path, HEADER) as dump:
            n_after = dump.n_batches
            assert dump.n_tasks == 4 * n_after
        assert n_after in {reported, reported + 1}  # one may be in the file but not yet reported
        n_before = n_after
    return n_before


def check_kills(tmp_path: Path, n_kills: int) -> None:
    n_batches = kill_writers(tmp_path / "d.h5", n_kills, seed=n_kills)
    assert n_batches > 0
    whole = write(tmp_path / "whole.h5", [draw(i, n_rows=20, n_train=9) for i in range(n_batches)])
    assert same(contents_of(tmp_path / "d.h5"), contents_of(whole))


def test_a_dump_survives_kill_9_at_3_random_moments(tmp_path: Path) -> None:
    check_kills(tmp_path, 3)


@pytest.mark.slow
def test_a_dump_survives_kill_9_at_20_random_moments(tmp_path: Path) -> None:
    check_kills(tmp_path, 20)


class DyingFile:
    """A file whose process dies in the n-th write of all such files, half of it done."""

    def __init__(self, file: Any, countdown: list[int]) -> None:
        self.file, self.countdown = file, countdown

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def write(self, content: bytes) -> int:
        self.countdown[0] -= 1
        if self.countdown[0] == 0:
            self.file.write(content[: len(content) // 2])
            self.file.flush()
            os._exit(9)
        return self.file.write(content)


def in_another_process(action: Callable[[], object]) -> int:
    """The exit code of a process that runs `action`; 0 if it returned."""
    pid = os.fork()
    if pid == 0:
        try:
            action()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def append_and_die(path: Path, n: int) -> None:
    """Append a batch to the dump and die in the n-th write to its files."""
    with DumpWriter.resume(path, HEADER) as dump:
        countdown, file = [n], dump._file
        data, journal = file._file, file._journal
        file._file, file._journal = DyingFile(data, countdown), DyingFile(journal, countdown)  # type: ignore[assignment]
        dump.append(draw(dump.n_batches))
        file._file, file._journal = data, journal


@pytest.mark.slow
def test_a_process_that_dies_within_any_write_leaves_whole_batches(tmp_path: Path) -> None:
    """For every write of one commit: new data, journal, changes in place."""
    before = write(tmp_path / "before.h5", [draw(i) for i in range(3)])
    wanted = {
        n: contents_of(write(tmp_path / f"{n}.h5", [draw(i) for i in range(n)])) for n in (3, 4)
    }
    path, outcomes, code = tmp_path / "d.h5", [], 9
    while code == 9:
        shutil.copy(before, path)
        code = in_another_process(lambda: append_and_die(path, len(outcomes) + 1))
        outcomes.append(read_contents(path).n_tasks // 4)
        assert same(contents_of(path), wanted[outcomes[-1]])
    assert code == 0
    assert outcomes == sorted(outcomes)  # once the journal is whole, the batch is in the file
    assert outcomes.count(3) > 3  # died before that: writing new data and the journal
    assert outcomes.count(4) > 3  # died after it: changing the file in place


def fill_the_disk(path: Path, said: Path) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (80_000, 80_000))
    try:
        write(path, (draw(i) for i in range(1000)))
    except OSError as error:
        said.write_text(str(error))


def test_a_full_disk_is_told_and_leaves_whole_batches(tmp_path: Path) -> None:
    assert in_another_process(lambda: fill_the_disk(tmp_path / "d.h5", tmp_path / "said")) == 0
    n_tasks = read_contents(tmp_path / "d.h5").n_tasks
    assert n_tasks > 0
    assert (
        f"could not write to {tmp_path / 'd.h5'} (File too large). The {n_tasks} tasks in it are"
        " safe" in (tmp_path / "said").read_text()
    )
    whole = write(tmp_path / "whole.h5", [draw(i) for i in range(n_tasks // 4)])
    assert same(contents_of(tmp_path / "d.h5"), contents_of(whole))


# ---- files that are no dump


def test_wrong_files_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "d.h5", [draw(i) for i in range(3)])
    with pytest.raises(FileNotFoundError, match="there is no prior dump at"):
        PriorDumpDataLoader(tmp_path / "absent.h5", 1, 4)
    (tmp_path / "cut.h5").write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ValueError, match="cut off"):
        PriorDumpDataLoader(tmp_path / "cut.h5", 1, 4)
    (tmp_path / "text.h5").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="cannot be read as HDF5"):
        PriorDumpDataLoader(tmp_path / "text.h5", 1, 4)
    with h5py.File(tmp_path / "other.h5", "w") as hdf5:
        hdf5["X"] = np.zeros((3, 2, 1))
    with pytest.raises(
        ValueError,
        match="has no y, num_features, single_eval_pos or train_test_split_index, only X",
    ):
        PriorDumpDataLoader(tmp_path / "other.h5", 1, 4)


def test_batches_that_do_not_fit_are_told(tmp_path: Path) -> None:
    with DumpWriter.create(tmp_path / "d.h5", HEADER) as dump:
        with pytest.raises(
            ValueError, match="21 rows and 6 columns, but the dump was laid out for at most 20 × 6"
        ):
            dump.append(draw(0, n_rows=21))
        with pytest.raises(ValueError, match="batches of 4"):
            dump.append(draw(0).tasks(slice(0, 3)))
        dump.append(draw(0))
    assert read_contents(tmp_path / "d.h5").n_tasks == 4
