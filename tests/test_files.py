"""Files that a reader finds old or new, never in between."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest
from full_disk import with_files_of_at_most

from openpfn.files import replacing, sweep, write_whole


def test_a_file_is_replaced_at_once_and_its_folder_is_made(tmp_path):
    path = tmp_path / "a" / "b.txt"
    write_whole(path, "öld")
    with replacing(path) as unfinished:
        unfinished.write_text("new", encoding="utf-8")
        assert unfinished.parent == path.parent  # a rename is at once within one file system alone
        assert path.read_text(encoding="utf-8") == "öld"
    assert path.read_text(encoding="utf-8") == "new"
    assert list(path.parent.iterdir()) == [path]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "b.txt"
    write_whole(path, "old")

    def fail() -> None:
        with replacing(path) as unfinished:
            unfinished.write_text("half")
            _ = 1 / 0

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(IsADirectoryError, match="is a folder"), replacing(tmp_path):
        pass


def test_a_full_disk_names_the_file_and_leaves_the_old_one(tmp_path):
    path = tmp_path / "b.txt"
    write_whole(path, "old")

    def fill() -> None:
        with pytest.raises(OSError, match="File too large") as told:
            write_whole(path, "x" * 100_000)
        assert (told.value.errno, told.value.filename) == (errno.EFBIG, str(path))

    assert with_files_of_at_most(10_000, fill)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_killed_processes_left_is_swept_and_what_others_write_stays(tmp_path):
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    kept = {f".b.txt.{os.getpid()}.part", ".b.txt.part", "b.txt.1.part", "b.txt", ".hidden"}
    for name in (*kept, f".b.txt.{dead}.part", f".b.txt.{dead}.link", f".c.txt.{dead}.part"):
        (tmp_path / name).write_text("half")
    sweep(tmp_path, "c.txt")
    assert len(list(tmp_path.iterdir())) == len(kept) + 2
    sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == kept
