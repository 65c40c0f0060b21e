"""Keep the vectors of strings on disk, so that no string is ever encoded twice."""

from __future__ import annotations

import contextlib
import hashlib
import re
import sqlite3
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from openpfn.files import cache_folder
from openpfn.text.encoders.base import TextEncoder, distinct_strings, encodable

AT_ONCE = 500
"""Strings that are looked up in one go."""
KEPT_AT_ONCE = 4096
"""Strings that are encoded before their vectors are put on disk: a killed process loses no more."""
MOST_IN_MEMORY = 200_000
"""Vectors that are kept in memory between calls, at most."""
WAIT_SECONDS = 60.0
"""Time to wait for another process that writes."""


class CachedEncoder:
    """Encoder that asks `encoder` only for strings whose vectors are neither in memory nor on disk.

    The file is vectors-FINGERPRINT.sqlite in `folder`, by default text in the cache folder
    ($OPENPFN_CACHE or ~/.cache/openpfn); any number of processes may use it at once. It holds
    hashes of the strings, not the strings. A damaged file is told of and made anew; where it cannot
    be written, vectors stay in memory alone, which is told of as well.

    >>> import tempfile
    >>> from openpfn.text.encoders import HashingEncoder
    >>> encoder = CachedEncoder(HashingEncoder(), tempfile.mkdtemp())
    >>> encoder.encode(["red", "blue", "red"]).shape, encoder.n_encoded
    ((3, 512), 2)
    >>> encoder.encode(["red"]).shape, encoder.n_encoded
    ((1, 512), 2)
    """

    def __init__(self, encoder: TextEncoder, folder: str | Path | None = None) -> None:
        self.encoder = encoder
        self.fingerprint = encoder.fingerprint
        self.width = encoder.width
        self.n_encoded = 0
        """Strings that the encoder was asked for."""
        self.n_asked = 0
        """Strings that came in, repeats counted."""
        self.folder = Path(folder) if folder is not None else cache_folder("text")
        self._memory: dict[bytes, np.ndarray] = {}
        self._on_disk = True

    @property
    def path(self) -> Path:
        """File of the vectors."""
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", self.fingerprint)
        digest = hashlib.sha256(self.fingerprint.encode()).hexdigest()[:8]
        return self.folder / f"vectors-{name[:80]}-{digest}.sqlite"

    def encode(self, texts: Sequence[str]) -> Float[np.ndarray, "n width"]:
        """Return one float32 vector per string, in the order of `texts`."""
        codes, distinct = distinct_strings(texts)
        self.n_asked += len(codes)
        keys = [_key(text) for text in distinct]
        known = {key: self._memory[key] for key in keys if key in self._memory}
        known |= self._read([key for key in keys if key not in known])
        missing = [i for i, key in enumerate(keys) if key not in known]
        for start in range(0, len(missing), KEPT_AT_ONCE):
            part = missing[start : start + KEPT_AT_ONCE]
            vectors = self.encoder.encode([distinct[i] for i in part])
            self.n_encoded += len(part)
            made = {keys[i]: vector for i, vector in zip(part, vectors, strict=True)}
            known |= made
            self._write(made)
        self._remember(known)
        table = np.empty((len(distinct), self.width), dtype=np.float32)
        for i, key in enumerate(keys):
            table[i] = known[key]
        return table[codes]

    def forget(self) -> None:
        """Drop the vectors in memory; those on disk stay."""
        self._memory = {}

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_memory": {}}

    def _remember(self, vectors: dict[bytes, np.ndarray]) -> None:
        if len(self._memory) + len(vectors) > MOST_IN_MEMORY:
            self._memory = {}
        self._memory = self._memory | dict(list(vectors.items())[:MOST_IN_MEMORY])

    def _read(self, keys: list[bytes]) -> dict[bytes, np.ndarray]:
        """Return those of the vectors that are on disk."""
        found: dict[bytes, np.ndarray] = {}
        n_damaged = 0

        def look_up(file: sqlite3.Connection) -> None:
            nonlocal n_damaged
            n_damaged = 0
            for start in range(0, len(keys), AT_ONCE):
                part = keys[start : start + AT_ONCE]
                marks = ",".join("?" * len(part))
                rows = file.execute(
                    f"SELECT key, vector, digest FROM vectors WHERE key IN ({marks})", part
                )
                for key, vector, digest in rows:
                    if digest == _digest(key, vector) and len(vector) == 4 * self.width:
                        found[key] = np.frombuffer(vector, dtype="<f4").astype(np.float32)
                    else:
                        n_damaged += 1

        if keys:
            self._with_file(look_up)
        if n_damaged:
            warnings.warn(
                f"{n_damaged} of the kept vectors of text in {self.path} are damaged and made"
                " anew.",
                stacklevel=3,
            )
        return found

    def _write(self, vectors: dict[bytes, np.ndarray]) -> None:
        stored = [(key, vector.astype("<f4").tobytes()) for key, vector in vectors.items()]
        rows = [(key, vector, _digest(key, vector)) for key, vector in stored]
        self._with_file(
            lambda file: file.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)
        )

    def _with_file(self, work: Callable[[sqlite3.Connection], object]) -> None:
        """Do `work` on the open file; tell of what is wrong with it, and do without."""
        if not self._on_disk:
            return
        try:
            self._patiently(work)
        except (sqlite3.DatabaseError, OSError) as error:
            if isinstance(error, sqlite3.DatabaseError) and _is_damage(error):
                warnings.warn(
                    f"the kept vectors of text in {self.path} are damaged ({error}). The file is"
                    " made anew.",
                    stacklevel=4,
                )
                self._remove()
                return
            self._on_disk = False
            warnings.warn(
                f"vectors of text are not kept: {self.path} cannot be used ({error}).",
                stacklevel=4,
            )

    def _patiently(self, work: Callable[[sqlite3.Connection], object]) -> None:
        """Do `work`, again where another process is in the way.

        SQLite does not wait by itself where waiting could be for ever, such as when two processes
        make one file.
        """
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                with self._opened() as file:
                    work(file)
                return
            except sqlite3.OperationalError as error:
                if _primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
            time.sleep(0.02)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """Give a connection of this call alone, so that threads and forks share none."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(sqlite3.connect(self.path, timeout=WAIT_SECONDS)) as file:
            file.execute("PRAGMA journal_mode=WAL")
            file.execute("PRAGMA synchronous=NORMAL")
            file.execute(
                "CREATE TABLE IF NOT EXISTS vectors"
                " (key BLOB PRIMARY KEY, vector BLOB, digest BLOB) WITHOUT ROWID"
            )
            with file:
                yield file

    def _remove(self) -> None:
        for ending in ("", "-wal", "-shm"):
            Path(f"{self.path}{ending}").unlink(missing_ok=True)


def _key(text: str) -> bytes:
    return hashlib.blake2b(encodable(text).encode(), digest_size=20).digest()


def _digest(key: bytes, vector: bytes) -> bytes:
    """Checksum that finds a flipped bit."""
    return hashlib.blake2b(key + vector, digest_size=8).digest()


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    """Return whether the file itself is wrong, rather than busy, full or read-only."""
    schema = isinstance(error, sqlite3.OperationalError) and "column" in str(error)
    return schema or _primary_code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _primary_code(error: sqlite3.DatabaseError) -> int | None:
    """Return what SQLite says went wrong, without the details."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
