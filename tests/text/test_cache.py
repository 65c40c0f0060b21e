"""The cache of vectors: nothing is encoded twice, nothing damaged is believed."""

from __future__ import annotations

import pickle
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

from openpfn.text.cache import CachedEncoder
from openpfn.text.encoders import HashingEncoder

TEXTS = ["red", "blue", "red", "", "😀", "\ud800"]


@pytest.fixture
def expected():
    return HashingEncoder().encode(TEXTS)


def made_in(folder, texts=TEXTS):
    """An encoder with a cache in `folder`, and its vectors of `texts`."""
    encoder = CachedEncoder(HashingEncoder(), folder)
    return encoder, encoder.encode(texts)


def test_vectors_are_those_of_the_encoder_and_each_string_is_encoded_once(tmp_path, expected):
    encoder, vectors = made_in(tmp_path)
    np.testing.assert_array_equal(vectors, expected)
    assert (encoder.n_encoded, encoder.n_asked) == (5, 6)
    encoder.encode(TEXTS * 2)
    assert (encoder.n_encoded, encoder.n_asked) == (5, 18)


def test_another_encoder_finds_what_was_kept(tmp_path, expected):
    made_in(tmp_path)
    later, vectors = made_in(tmp_path)
    np.testing.assert_array_equal(vectors, expected)
    assert later.n_encoded == 0


def test_encoders_of_other_fingerprints_share_nothing(tmp_path):
    class Other(HashingEncoder):
        fingerprint = "other"

    made_in(tmp_path)
    other = CachedEncoder(Other(), tmp_path)
    other.encode(TEXTS)
    assert other.n_encoded == 5


def test_the_default_place_is_the_cache_folder(tmp_path):
    encoder, _ = made_in(None)
    assert encoder.path.parent == tmp_path / "cache" / "text"
    assert encoder.path.is_file()


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\x00" + b"\x07" * 5000])
def test_a_damaged_file_is_told_and_made_anew(tmp_path, expected, content):
    encoder, _ = made_in(tmp_path)
    encoder.path.write_bytes(content)
    if content:
        with pytest.warns(UserWarning, match="damaged"):
            _, vectors = made_in(tmp_path)
    else:
        _, vectors = made_in(tmp_path)
    np.testing.assert_array_equal(vectors, expected)
    assert made_in(tmp_path)[0].n_encoded == 0


def test_a_table_of_another_form_is_told_and_made_anew(tmp_path, expected):
    path = CachedEncoder(HashingEncoder(), tmp_path).path
    with sqlite3.connect(path) as file:
        file.execute("CREATE TABLE vectors (id INTEGER)")
    file.close()
    with pytest.warns(UserWarning, match="damaged"):
        _, vectors = made_in(tmp_path)
    np.testing.assert_array_equal(vectors, expected)
    assert made_in(tmp_path)[0].n_encoded == 0


def test_a_flipped_bit_in_a_vector_is_not_believed(tmp_path, expected):
    encoder, _ = made_in(tmp_path)
    with sqlite3.connect(encoder.path) as file:
        ((key, vector),) = file.execute("SELECT key, vector FROM vectors LIMIT 1").fetchall()
        changed = bytes([vector[0] ^ 1]) + vector[1:]
        file.execute("UPDATE vectors SET vector = ? WHERE key = ?", (changed, key))
    file.close()
    with pytest.warns(UserWarning, match="1 of the kept vectors"):
        later, vectors = made_in(tmp_path)
    np.testing.assert_array_equal(vectors, expected)
    assert later.n_encoded == 1


def test_a_place_that_cannot_be_written_costs_the_file_alone(tmp_path, expected):
    (tmp_path / "taken").write_text("a file")
    with pytest.warns(UserWarning, match="are not kept"):
        encoder, vectors = made_in(tmp_path / "taken")
    np.testing.assert_array_equal(vectors, expected)
    encoder.encode(TEXTS)
    assert encoder.n_encoded == 5


def test_a_copy_in_another_process_holds_no_vectors_but_finds_them(tmp_path, expected):
    encoder, _ = made_in(tmp_path)
    copy = pickle.loads(pickle.dumps(encoder))
    np.testing.assert_array_equal(copy.encode(TEXTS), expected)
    assert copy.n_encoded == 5


FILL = """
import sys
from openpfn.text.cache import CachedEncoder
from openpfn.text.encoders.hashing import HashingEncoder
encoder, first = CachedEncoder(HashingEncoder(), sys.argv[1]), int(sys.argv[2])
for start in range(0, 60, 6):
    encoder.encode([str((first + start + i) % 60) for i in range(6)])
"""


def test_a_busy_file_is_asked_again(tmp_path, monkeypatch, expected):
    busy = sqlite3.OperationalError("database is locked")
    busy.sqlite_errorcode = sqlite3.SQLITE_BUSY
    connect, refusals = sqlite3.connect, iter([busy, busy])

    def refuses_twice(*arguments, **options):
        for refusal in refusals:
            raise refusal
        return connect(*arguments, **options)

    monkeypatch.setattr(sqlite3, "connect", refuses_twice)
    made_in(tmp_path)
    later, vectors = made_in(tmp_path)
    np.testing.assert_array_equal(vectors, expected)
    assert later.n_encoded == 0


def test_a_file_that_stays_busy_is_told_of(tmp_path, monkeypatch):
    made_in(tmp_path)
    monkeypatch.setattr("openpfn.text.cache.WAIT_SECONDS", 0.0)
    encoder = CachedEncoder(HashingEncoder(), tmp_path)
    with sqlite3.connect(encoder.path) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.warns(UserWarning, match="database is locked"):
            encoder.encode(["new"])


@pytest.mark.slow
def test_two_processes_write_one_file(tmp_path):
    workers = [
        subprocess.Popen([sys.executable, "-W", "error", "-c", FILL, tmp_path, str(first)])
        for first in (0, 30)
    ]
    assert [worker.wait(300) for worker in workers] == [0, 0]
    encoder, _ = made_in(tmp_path, [str(i) for i in range(60)])
    assert encoder.n_encoded == 0
