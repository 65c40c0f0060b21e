"""`CommitFile`: a file that changes in whole commits, so that no death of the process leaves it
half written.

HDF5 rewrites its indices in place, and a process killed between two such writes leaves a file that
nobody can open. Here bytes beyond the last commit are appended at once (no index points at them
yet), while bytes that would change what is committed wait in memory. A commit writes those first to
a journal beside the file and then to the file; after a crash, a whole journal is replayed and a
torn one is dropped. Between commits anybody's HDF5 library can read the file. This guards against
the death of the process (crash, kill −9, full disk), not against a power cut.
"""

from __future__ import annotations

import contextlib
import io
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

try:
    import fcntl
except ImportError:  # Windows: two writers of one file are then not noticed
    fcntl = None

MAGIC = b"OpenPFN journal\n"


class CommitFile(io.RawIOBase):
    """The existing file `path`, opened for reading and writing by one process at a time.

    What was written since the last `commit` can be read here but is no part of the file until then;
    `abandon` drops it. `journal` is what `begin_writing` gave, where that was called before. Raises
    BlockingIOError if another process writes the file.
    """

    def __init__(self, path: Path, journal: BinaryIO | None = None) -> None:
        self.failure: OSError | None = None
        """What kept a write from succeeding: HDF5 cannot carry it, so `commit` raises it."""
        self._path, self._journal_path = path, journal_of(path)
        self._journal = _lock(self._journal_path) if journal is None else journal
        _replay(path, self._journal)
        self._file = open(path, "r+b")  # noqa: SIM115 (closed in `close`)
        self._committed = self._size = self._file.seek(0, os.SEEK_END)
        self._position = 0
        self._changes: dict[
            tuple[int, int], bytes
        ] = {}  # (offset, length) below `_committed`, later ones on top
        self._abandoned = False

    def write(self, data: Any) -> int:  # bytes, or the buffer type of h5py
        content = bytes(data)
        inside = max(0, min(len(content), self._committed - self._position))
        if not self._abandoned:
            if inside:
                key = (self._position, inside)
                self._changes.pop(key, None)
                self._changes[key] = content[:inside]
            if inside < len(content):
                self._append(self._position + inside, content[inside:])
        self._position += len(content)
        self._size = max(self._size, self._position)
        return len(content)

    def _append(self, offset: int, content: bytes) -> None:
        try:
            self._file.seek(offset)
            self._file.write(content)
        except OSError as error:
            self.failure = error
            self.abandon()

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._position)
        begin, n = self._position, self._file.readinto(buffer)
        for (offset, length), content in self._changes.items():
            low, high = max(begin, offset), min(begin + n, offset + length)
            if low < high:
                buffer[low - begin : high - begin] = content[low - offset : high - offset]
        self._position += n
        return n

    def commit(self) -> None:
        """Make everything written so far part of the file. Raises OSError if any of it could not be
        written."""
        if self.failure is not None:
            raise self.failure
        self._file.flush()  # appended bytes first: the changes will point at them
        changes = [(offset, content) for (offset, _), content in self._changes.items()]
        _write_journal(self._journal, changes)
        _apply(self._file, changes)
        _empty(self._journal)
        self._changes.clear()
        self._committed = self._size = self._file.seek(0, os.SEEK_END)

    def abandon(self) -> None:
        """Drop everything since the last commit, and all later writes."""
        self._abandoned = True
        self._changes.clear()

    def close(self) -> None:
        """Close the file; what is not committed is dropped, a commit that was interrupted is
        finished."""
        if self.closed:
            return
        super().close()
        if self._journal.closed:  # released by `begin_writing` after an error
            self._file.close()
            return
        with self._journal:
            with contextlib.suppress(
                OSError
            ):  # only bytes that no commit covers can still be waiting here
                self._file.close()
            _replay(self._path, self._journal)
            self._journal_path.unlink(missing_ok=True)

    def truncate(self, size: int | None = None) -> int:
        """Lengthen the file; bytes beyond what HDF5 uses do no harm, so it never gets shorter."""
        wanted = self._position if size is None else size
        if wanted > self._size:
            self._append(wanted - 1, b"\0")
        self._size = max(self._size, wanted)
        return wanted

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = (
            offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        )
        return self._position

    def tell(self) -> int:
        return self._position

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


def journal_of(path: Path) -> Path:
    """Return where the journal of the file `path` lies while the file is written, or after a
    crash."""
    return path.with_name(path.name + ".journal")


def recover(path: Path) -> None:
    """Finish a commit to `path` that the death of its writer cut short; without one, do nothing.

    Raises BlockingIOError if a process is writing the file.
    """
    journal_path = journal_of(path)
    if journal_path.exists():
        with _lock(journal_path) as journal:
            if path.exists():
                _replay(path, journal)
            journal_path.unlink(missing_ok=True)


@contextlib.contextmanager
def begin_writing(path: Path) -> Iterator[BinaryIO]:
    """Keep other processes from writing `path`, which may not exist yet, and finish a commit to it
    that was cut short. Gives the journal, which a `CommitFile` takes over; an error releases it.

    Raises BlockingIOError if another process writes the file.
    """
    journal_path = journal_of(path)
    journal = _lock(journal_path)
    try:
        if path.exists():
            _replay(path, journal)
        else:
            _empty(journal)
        yield journal
    except BaseException:
        if not journal.closed:
            with journal:  # removed while it is locked: the next writer makes its own
                journal_path.unlink(missing_ok=True)
        raise


def _lock(journal_path: Path) -> BinaryIO:
    while True:
        journal = open(journal_path, "a+b")  # noqa: SIM115 (closed by the caller: ends the lock)
        if fcntl is None:
            return journal
        try:
            fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            journal.close()
            written = journal_path.name.removesuffix(".journal")
            raise BlockingIOError(
                f"{written} is being written by another process: wait until it is done, or stop it."
            ) from error
        if _is_at(journal, journal_path):
            return journal
        journal.close()  # the writer before us removed it after we had opened it


def _is_at(journal: BinaryIO, path: Path) -> bool:
    """Return whether an opened file is the one that has the name `path`."""
    try:
        return os.path.samestat(os.fstat(journal.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _write_journal(journal: BinaryIO, changes: list[tuple[int, bytes]]) -> None:
    """MAGIC, then (offset u64, length u64, bytes) per change, then the CRC-32 of all before it as
    u32, little-endian."""
    content = MAGIC + b"".join(
        struct.pack("<QQ", offset, len(change)) + change for offset, change in changes
    )
    _empty(journal)
    journal.write(content + struct.pack("<I", zlib.crc32(content)))
    journal.flush()


def _read_journal(journal: BinaryIO) -> list[tuple[int, bytes]]:
    """Return the changes of a whole journal; none if it is empty or torn."""
    journal.seek(0)
    content, check = (whole := journal.read())[:-4], whole[-4:]
    if not content.startswith(MAGIC) or check != struct.pack("<I", zlib.crc32(content)):
        return []
    changes, position = [], len(MAGIC)
    while position < len(content):
        offset, length = struct.unpack_from("<QQ", content, position)
        changes.append((offset, content[position + 16 : position + 16 + length]))
        position += 16 + length
    return changes


def _replay(path: Path, journal: BinaryIO) -> None:
    changes = _read_journal(journal)
    if changes:
        with open(path, "r+b") as file:
            _apply(file, changes)
    _empty(journal)


def _apply(file: BinaryIO, changes: list[tuple[int, bytes]]) -> None:
    for offset, change in changes:
        file.seek(offset)
        file.write(change)
    file.flush()


def _empty(journal: BinaryIO) -> None:
    journal.seek(0)
    journal.truncate(0)
