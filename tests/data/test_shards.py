"""Laws of dumps in shards: the tasks of one file, read as one, found damaged, continued wherever
they stopped."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from drawn_dumps import HEADER, draw, write

from openpfn.cli import main
from openpfn.data.dump_reader import PriorDumpDataLoader, read_contents
from openpfn.data.manifest import Manifest, read_manifest
from openpfn.data.shards import ShardsFailed, begin_shards, write_shard, write_shards
from openpfn.data.stream import TaskStream
from openpfn.jobs import Failed

N_BATCHES = 7


class Random:
    """The batches of `drawn_dumps`, and what happens at one of them."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.fails_at = fails_at

    def sample(self, n_tasks, generator):
        index = int(torch.randint(2**20, (), generator=generator))
        if self.fails_at is not None and index % self.fails_at == 0:
            raise ArithmeticError("the dice fell off the table")
        return draw(index)


class Here:
    """Does jobs in this process."""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def answers(self, orders, most=None, told=None):
        assert told is not None
        for order in orders:
            try:
                yield order, write_shard(order, lambda share, order=order: told(order, share))
            except ArithmeticError as error:
                yield order, Failed(str(error))


def sharded(folder, n_shards, n_batches=N_BATCHES, prior=None, **options) -> Manifest:
    manifest = begin_shards(folder, HEADER, n_batches, n_shards, **options)
    return write_shards(manifest, HEADER, prior or Random(), Here())


@pytest.fixture
def whole(tmp_path):
    """The same tasks in one file."""
    stream = TaskStream(Random(), HEADER.batch_size, seed=HEADER.seed, n_workers=0)
    return write(tmp_path / "whole.h5", islice(stream, N_BATCHES))


def batches(path, n=2 * N_BATCHES, **options):
    return list(islice(PriorDumpDataLoader(path, None, 4, **options), n))


def assert_same(some, others):
    for one, other in zip(some, others, strict=True):
        assert one.n_train == other.n_train
        for name in ("x", "y", "n_features", "n_classes", "categorical"):
            torch.testing.assert_close(
                getattr(one, name), getattr(other, name), rtol=0, atol=0, equal_nan=True
            )


@pytest.mark.parametrize("n_shards", [1, 2, 3, 10])
@pytest.mark.parametrize("options", [{}, {"shuffle": False}, {"min_classes": 3, "seed": 1}])
def test_shards_read_as_the_one_file_whatever_their_number(tmp_path, whole, n_shards, options):
    manifest = sharded(tmp_path / "shards", n_shards)
    assert manifest.is_complete
    assert_same(batches(tmp_path / "shards", **options), batches(whole, **options))


def test_batches_across_files_and_parts_of_them_are_those_of_one_file(tmp_path, whole):
    sharded(tmp_path / "shards", 3)
    for size in (1, 9):
        one = list(islice(PriorDumpDataLoader(whole, None, size), 12))
        assert_same(islice(PriorDumpDataLoader(tmp_path / "shards", None, size), 12), one)


def test_a_shard_is_a_dump_of_its_own(tmp_path, whole):
    manifest = sharded(tmp_path / "shards", 2)
    own = batches(manifest.path_of(1), 3, shuffle=False)
    assert_same(own, batches(whole, N_BATCHES, shuffle=False)[1::2])


def test_a_finished_dump_can_be_lengthened(tmp_path, whole):
    sharded(tmp_path / "shards", 3, 4)
    sharded(tmp_path / "shards", None, N_BATCHES, resume=True)
    assert_same(batches(tmp_path / "shards"), batches(whole))


def test_what_failed_is_told_and_continued_without_drawing_the_rest_again(tmp_path, whole):
    with pytest.raises(ShardsFailed, match=r"3 of 3 .*the dice fell off the table.*--resume"):
        sharded(tmp_path / "shards", 3, prior=Random(fails_at=2))
    manifest = read_manifest(tmp_path / "shards")
    assert not manifest.is_complete
    before = sharded(tmp_path / "shards", 3, resume=True)
    times = [before.path_of(i).stat().st_mtime_ns for i in range(3)]
    assert_same(batches(tmp_path / "shards"), batches(whole))
    again = sharded(tmp_path / "shards", 3, resume=True)
    assert [again.path_of(i).stat().st_mtime_ns for i in range(3)] == times


def test_an_incomplete_dump_gives_the_batches_that_it_has(tmp_path, whole):
    manifest = sharded(tmp_path / "shards", 3)
    manifest.path_of(1).unlink()
    manifest.with_shard(1, None).write()
    expected = [b for i, b in enumerate(batches(whole, N_BATCHES, shuffle=False)) if i % 3 != 1]
    assert_same(batches(tmp_path / "shards", len(expected), shuffle=False), expected)


def test_a_flipped_bit_and_a_missing_file_are_found(tmp_path, capsys):
    manifest = sharded(tmp_path / "shards", 2)
    assert main(["priors", "verify", str(tmp_path / "shards")]) == 0
    assert "2 of 2 shards" in capsys.readouterr().out
    path = manifest.path_of(1)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert main(["priors", "verify", str(tmp_path / "shards")]) == 2
    assert "checksums differ" in capsys.readouterr().err
    with pytest.raises(ValueError, match="checksums differ"):
        sharded(tmp_path / "shards", 2, resume=True)
    path.write_bytes(content[:-1])
    with pytest.raises(ValueError, match="the manifest says"):
        read_contents(tmp_path / "shards")
    path.unlink()
    with pytest.raises(ValueError, match="is missing"):
        read_contents(tmp_path / "shards")


@pytest.mark.parametrize("content", ["", "{}", '{"format": "other"}', "[1]", "null"])
def test_a_damaged_manifest_is_one_clear_error(tmp_path, content):
    sharded(tmp_path / "shards", 1)
    (tmp_path / "shards" / "manifest.json").write_text(content)
    with pytest.raises(ValueError, match=r"manifest\.json is damaged"):
        read_contents(tmp_path / "shards")


def test_an_existing_dump_is_neither_overwritten_nor_mixed(tmp_path):
    folder = tmp_path / "shards"
    sharded(folder, 2)
    with pytest.raises(FileExistsError, match="--resume"):
        begin_shards(folder, HEADER, N_BATCHES, 2)
    with pytest.raises(ValueError, match=r"begun with seed 7 \(now 8\)"):
        begin_shards(folder, replace(HEADER, seed=8), N_BATCHES, 2, resume=True)
    with pytest.raises(ValueError, match=r"2 shards \(now 3\)"):
        begin_shards(folder, HEADER, N_BATCHES, 3, resume=True)
    sharded(folder, 3, replace_old=True)
    assert len(list(folder.glob("*.h5"))) == 3
    with pytest.raises(FileNotFoundError, match="no dump in shards"):
        read_contents(tmp_path)


GENERATE = (
    "priors generate --prior scm_mlp --max_features 3 --max_seq_len 16 --no-learnable --batch_size"
    " 4 --num_batches {} --save_path {}"
)


def generated(n_batches, path, *more) -> list[str]:
    return [*GENERATE.format(n_batches, path).split(), *more]


@pytest.mark.slow
def test_processes_draw_shards_of_the_tasks_of_one_file(tmp_path, capsys):
    assert main(generated(6, tmp_path / "whole.h5")) == 0
    assert main(generated(6, tmp_path / "two", "--jobs", "2", "--shards", "3")) == 0
    assert "holds 24 tasks in 6 batches in 3 shards" in capsys.readouterr().out
    assert_same(batches(tmp_path / "two"), batches(tmp_path / "whole.h5"))
    assert main(generated(9, tmp_path / "two", "--resume")) == 0
    assert main(generated(9, tmp_path / "whole.h5", "--resume")) == 0
    assert_same(batches(tmp_path / "two"), batches(tmp_path / "whole.h5"))


@pytest.mark.slow
def test_a_worker_killed_at_a_random_moment_loses_and_doubles_nothing(tmp_path):
    words = generated(60, tmp_path / "shards", "--jobs", "2", "--shards", "2")
    process = subprocess.Popen([sys.executable, "-m", "openpfn", *words], stderr=subprocess.PIPE)
    while not list((tmp_path / "shards").glob("*.h5")) and process.poll() is None:
        time.sleep(0.01)
    time.sleep(random.random())
    os.kill(process.pid, signal.SIGKILL)  # the workers end with it
    process.communicate()
    assert main([*words, "--resume"]) == 0
    assert main(generated(60, tmp_path / "whole.h5")) == 0
    shards, whole = (read_contents(tmp_path / name) for name in ("shards", "whole.h5"))
    assert shards.n_tasks == whole.n_tasks == 240
    assert np.array_equal(shards.n_features, whole.n_features)
    ours, theirs = (batches(tmp_path / n, 60, shuffle=False) for n in ("shards", "whole.h5"))
    assert_same(ours, theirs)
    assert json.loads((tmp_path / "shards" / "manifest.json").read_text())["num_batches"] == 60
