"""Files that a reader finds old or new, never in between."""

from __future__ import annotations

import pytest

from openpfn.files import replacing, write_whole


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
