"""Files that a reader finds old or new, never in between; their hashes, and names inside them."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LEFTOVER = re.compile(r"\.(?P<name>.+)\.(?P<process>\d+)\.(part|link)")
"""Names of files that a process writes before it puts them in place."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def cache_folder(name: str) -> Path:
    """Return the folder `name` of what is kept between runs, in $OPENPFN_CACHE, or in openpfn of
    $XDG_CACHE_HOME or of ~/.cache."""
    root = os.environ.get("OPENPFN_CACHE")
    if root:
        return Path(root) / name
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "openpfn" / name


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to. What was written is put at `path` at once on leaving,
    and removed on an error.

    The folder is made. Raises IsADirectoryError where `path` is a folder, and an OSError that names
    `path` where the disk is full.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder. Give the path of a file.")
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = unfinished_name(path)
    try:
        yield unfinished
        os.replace(unfinished, path)
    except OSError as error:
        if error.errno in FULL and error.filename in (None, str(unfinished)):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        unfinished.unlink(missing_ok=True)


def unfinished_name(path: Path, ending: str = "part") -> Path:
    """Return where this process writes what shall stand at `path`."""
    return path.with_name(f".{path.name}.{os.getpid()}.{ending}")


def sweep(folder: Path, name: str | None = None) -> None:
    """Remove what killed processes left half written in `folder`, of the file `name` or of any.

    Files of processes that live on this machine stay.
    """
    if os.name == "nt":  # there, asking whether a process lives could end it
        return
    for path in folder.iterdir():
        leftover = LEFTOVER.fullmatch(path.name)
        if leftover and name in (None, leftover["name"]) and not _lives(int(leftover["process"])):
            path.unlink(missing_ok=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def write_whole(path: Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all; its folder is made."""
    with replacing(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def flush_to_disk(path: Path) -> None:
    """Make sure that a file, or the names in a folder, survive a power cut."""
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 of the file at `path`, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def below(prefix: str, named: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is named in the folder `prefix`, by the rest of its name."""
    return {
        name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)
    }
