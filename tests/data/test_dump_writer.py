"""Laws of writing prior dumps: whole batches are in the file, whatever kills the writer."""

from __future__ import annotations

import dataclasses
import os
import random
import resource
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import pytest
import torch
from drawn_dumps import HEADER, contents_of, draw, same, write

from openpfn.batch import TaskBatch
from openpfn.data.commit_file import begin_writing, journal_of
from openpfn.data.dump_reader import DumpHeader, DumpWriter, PriorDumpDataLoader, read_contents


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


def test_a_dump_that_is_being_begun_cannot_be_begun_twice(tmp_path: Path) -> None:
    path = tmp_path / "d.h5"
    with DumpWriter.create(path, HEADER) as dump:
        dump.append(draw(0))
        for begin in (
            lambda: DumpWriter.create(path, HEADER, replace=True),
            lambda: DumpWriter.resume(path, HEADER),
        ):
            with pytest.raises(BlockingIOError, match=r"d\.h5 is being written by another process"):
                begin()
        dump.append(draw(1))
    assert read_contents(path).n_tasks == 8
    with pytest.raises(FileExistsError):
        DumpWriter.create(path, HEADER)
    path.unlink()
    with begin_writing(path), pytest.raises(BlockingIOError):  # before the file exists
        DumpWriter.create(path, HEADER)


@pytest.mark.slow
@pytest.mark.parametrize("replace", [False, True])
def test_writers_begun_at_once_leave_one_whole_file(tmp_path: Path, replace: bool) -> None:
    path = tmp_path / "d.h5"

    def begin(number: int, starts: float) -> None:
        time.sleep(max(0, starts - time.monotonic()))
        header = dataclasses.replace(HEADER, seed=number)
        try:
            with DumpWriter.create(path, header, replace=replace) as dump:
                for i in range(3):
                    dump.append(draw(10 * number + i))
        except (BlockingIOError, FileExistsError):
            os._exit(3)

    for trial in range(4):
        path.unlink(missing_ok=True)
        starts, processes = time.monotonic() + 0.02, []
        for number in range(3):
            processes.append(os.fork())
            if processes[-1] == 0:
                try:
                    begin(number, starts)
                    os._exit(0)
                finally:
                    os._exit(1)
        codes = {os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in processes}
        assert codes <= {0, 3}
        contents = read_contents(path)
        number = contents.attributes["header"]["seed"]
        wanted = [draw(10 * number + i).y for i in range(3)]
        batches = PriorDumpDataLoader(path, 3, 4, shuffle=False)
        for got, y in zip(batches, wanted, strict=True):
            assert torch.equal(got.y, y), f"trial {trial}"
        assert list(tmp_path.iterdir()) == [path]


def test_labels_that_are_no_classes_are_not_written(tmp_path: Path) -> None:
    with DumpWriter.create(tmp_path / "d.h5", HEADER) as dump:
        for wrong in (-1.0, 0.5, float("nan"), 3.0):
            batch = draw(0)
            batch.y[2, 1] = wrong
            with pytest.raises(ValueError, match=f"task 2 has the label {wrong:g}, wanted class"):
                dump.append(batch)


def test_what_is_no_dump_of_ours_is_not_continued(tmp_path: Path) -> None:
    path = write(tmp_path / "d.h5", [draw(0)])
    with h5py.File(path, "r+") as hdf5:
        del hdf5["y"]
    with pytest.raises(ValueError, match="is no prior dump: it has no y"):
        DumpWriter.resume(path, HEADER)
    with h5py.File(path, "r+") as hdf5:
        del hdf5.attrs["header"]
    with pytest.raises(ValueError, match="cannot be continued: it does not tell its header"):
        DumpWriter.resume(path, HEADER)
    path.write_text("words")
    with pytest.raises(ValueError, match="cannot be read as HDF5"):
        DumpWriter.resume(path, HEADER)
    assert path.read_text() == "words"
    assert list(tmp_path.iterdir()) == [path]


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


@pytest.mark.slow
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


@pytest.mark.slow
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
