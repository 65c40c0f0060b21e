"""`write_shards`: a dump drawn by many workers, each of which writes a file of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from openpfn.data.dump_writer import DumpHeader, DumpWriter, different_values
from openpfn.data.manifest import NAME, Manifest, ShardRecord, read_manifest
from openpfn.data.stream import SamplesTasks, TaskStream, packed_by_value, unpacked
from openpfn.files import sha256_of
from openpfn.jobs import Failed, Workers

WORKER = f"{__name__}:write_shard"
"""Function that writes one shard."""
LONGEST_WAIT = 60.0
"""Seconds to wait for another process to let go of a shard, such as one on a machine that is
dying."""


class ShardsFailed(RuntimeError):
    """Some files of a dump could not be written."""


@dataclass(frozen=True)
class ShardOrder:
    """One file to write, or to continue."""

    manifest: Manifest
    number: int
    header: DumpHeader
    prior: bytes
    """The prior, as `packed_by_value` gives it."""

    @property
    def n_batches(self) -> int:
        return self.manifest.batches_of(self.number)


def begin_shards(
    folder: Path,
    header: DumpHeader,
    num_batches: int,
    n_shards: int | None,
    *,
    resume: bool = False,
    replace_old: bool = False,
) -> Manifest:
    """Return the manifest of a new dump in `folder`, or of the one that is there and `resume`
    continues: with the files that it has, and with more batches if `num_batches` says so.

    Raises FileExistsError where a dump is there and neither `resume` nor `replace_old` is set, and
    ValueError where it was begun with other arguments, or a finished file of it has changed.
    """
    if (folder / NAME).is_file() and not replace_old:
        if not resume:
            raise FileExistsError(
                f"{folder} already holds a dump. Choose another path, continue it with --resume, or"
                " replace it with --force."
            )
        manifest = _continued(read_manifest(folder), header, num_batches, n_shards)
    else:
        if folder.exists() and not folder.is_dir():
            raise FileExistsError(f"{folder} is a file, but shards need a folder. Choose another.")
        if replace_old:
            for path in folder.glob("shard-*-of-*.h5"):
                path.unlink()
        folder.mkdir(parents=True, exist_ok=True)
        n = n_shards or 1
        described = json.loads(header.as_json())
        manifest = Manifest(folder, described, num_batches, (None,) * n)
    manifest.write()
    return manifest


def write_shards(
    manifest: Manifest,
    header: DumpHeader,
    prior: SamplesTasks,
    workers: Workers,
    tell: Callable[[float], None] = lambda n_batches: None,
) -> Manifest:
    """Write the files that are not finished, each a job of `workers`; gives the manifest of all.

    The manifest in the folder knows of each file as soon as it is finished; a file that was
    interrupted goes on where it stands. `tell` is told how many batches are done. Raises
    ShardsFailed, when all others are done, where files could not be written.
    """
    content = packed_by_value(prior)
    left = [
        ShardOrder(manifest, number, header, content)
        for number, record in enumerate(manifest.shards)
        if record is None
    ]
    done = [float(manifest.batches_of(i)) if r else 0.0 for i, r in enumerate(manifest.shards)]
    tell(sum(done))

    def on_share(order: ShardOrder, share: float) -> None:
        done[order.number] = share * order.n_batches
        tell(sum(done))

    failures = []
    for order, answer in workers.answers(left, told=on_share):
        if isinstance(answer, ShardRecord):
            manifest = manifest.with_shard(order.number, answer)
            manifest.write()
            on_share(order, 1.0)
        else:
            reason = answer.reason if isinstance(answer, Failed) else "its process died"
            failures.append(f"{manifest.path_of(order.number).name}: {reason}")
    if failures:
        raise ShardsFailed(
            f"{len(failures)} of {manifest.n_shards} shards could not be written ({failures[0]})."
            " What is drawn is safe: the same command with --resume continues."
        )
    return manifest


def write_shard(order: ShardOrder, tell: Callable[[float], None]) -> ShardRecord:
    """Write the file of an order, or what is missing of it; gives its record."""
    manifest, number, n_shards = order.manifest, order.number, order.manifest.n_shards
    path = manifest.path_of(number)
    header = replace(order.header, shard=number, n_shards=n_shards)
    with _opened(path, header) as dump:
        stream = TaskStream(
            unpacked(order.prior),
            header.batch_size,
            seed=header.seed,
            n_workers=0,
            start=number + n_shards * dump.n_batches,
            stride=n_shards,
        )
        told = time.monotonic()
        while dump.n_batches < order.n_batches:
            dump.append(next(stream))
            if time.monotonic() - told > 0.5:
                told = time.monotonic()
                tell(dump.n_batches / order.n_batches)
        n_batches, n_tasks = dump.n_batches, dump.n_tasks
    return ShardRecord(path.name, n_batches, n_tasks, path.stat().st_size, sha256_of(path))


def _opened(path: Path, header: DumpHeader) -> DumpWriter:
    until = time.monotonic() + LONGEST_WAIT
    while True:
        try:
            return DumpWriter.resume(path, header)
        except BlockingIOError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


def _continued(
    manifest: Manifest, header: DumpHeader, num_batches: int, n_shards: int | None
) -> Manifest:
    """Return the manifest of a dump that goes on: files that changed or are missing are not
    finished."""
    differences = different_values(manifest.header, json.loads(header.as_json()))
    if n_shards not in (None, manifest.n_shards):
        differences.append(f"{manifest.n_shards} shards (now {n_shards})")
    if differences:
        raise ValueError(
            f"{manifest.folder} was begun with {', '.join(differences)}. Resume with the same"
            " arguments, or choose another path."
        )
    for number in range(manifest.n_shards):
        if not manifest.path_of(number).is_file():
            manifest = manifest.with_shard(number, None)
    manifest.check_sums()
    manifest = replace(manifest, num_batches=max(num_batches, manifest.num_batches))
    for number, record in enumerate(manifest.shards):
        if record is not None and record.n_batches < manifest.batches_of(number):
            manifest = manifest.with_shard(number, None)
    return manifest
