"""`DumpWriter`: writes drawn tasks into an HDF5 file that other toolkits read too, one whole batch
at a time."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal

import h5py
import numpy as np
from jaxtyping import Float
from numpy import ndarray

from openpfn import __version__
from openpfn.batch import TaskBatch
from openpfn.data.commit_file import CommitFile, begin_writing
from openpfn.data.dump_checks import (
    attributes_of,
    check_header,
    check_labels,
    check_layout,
    told_as_damage,
)
from openpfn.files import replacing, sweep
from openpfn.registry import current_path

FORMAT = "openpfn-prior-dump"
FORMAT_VERSION = 1
HDF5_VERSIONS = (
    "v108",
    "v108",
)  # the oldest format with a compact header: every HDF5 library since 2008 reads it
CHUNK = 1024  # entries per chunk of the datasets that hold one number per task


@dataclass(frozen=True)
class DumpHeader:
    """What a dump says about its tasks as a whole. Two dumps with equal headers hold the same
    tasks, as far as both go."""

    max_seq_len: int
    """Rows of the widest task: the second axis of `X`."""
    max_features: int
    """Columns of the widest task: the third axis of `X`."""
    batch_size: int
    """Tasks per batch; within a batch the rows and the split are the same for all tasks."""
    max_classes: int | None = None
    """Most classes; None in regression."""
    prior: str = ""
    """Name of the prior, or 'module:Class'."""
    prior_config: Mapping[str, Any] = field(default_factory=dict)
    """The prior's configuration."""
    seed: int = 0
    """Seed of the stream of batches."""
    device: str = "cpu"
    """Where the tasks were drawn: the same seed gives other tasks on another kind of device."""
    missing: Literal["nan", "mean"] = "nan"
    """How missing values are stored: as NaN, or as the mean of the column's context rows for
    readers that know no NaN."""
    shard: int = 0
    """Of a dump in several files, the number of this one: it holds the batches `shard`,
    `shard` + `n_shards`, …"""
    n_shards: int = 1
    """How many files the dump has."""

    def __post_init__(self) -> None:
        for name in ("max_seq_len", "max_features", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least 1.")

    @property
    def problem_type(self) -> str:
        return "regression" if self.max_classes is None else "classification"

    def as_json(self) -> str:
        content = {**asdict(self), "prior_config": dict(self.prior_config)}
        if self.n_shards == 1:  # as dumps in one file have always been described
            del content["shard"], content["n_shards"]
        return json.dumps(content, sort_keys=True)


class DumpWriter:
    """Appends batches to the dump `path`. Whatever kills the process, the file holds every batch
    appended until then.

    `create` begins a dump and `resume` continues one; use it as a context manager.

    >>> header = DumpHeader(max_seq_len=150, max_features=5, batch_size=32, max_classes=3)
    >>> with DumpWriter.create("tasks.h5", header) as dump:    # doctest: +SKIP
    ...     dump.append(prior.sample(32, generator))
    """

    def __init__(self, path: Path, header: DumpHeader, journal: BinaryIO | None = None) -> None:
        self.path, self.header = path, header
        self._file = CommitFile(path, journal)
        self._hdf5 = h5py.File(self._file, "r+", libver=HDF5_VERSIONS)
        self.n_tasks = self._data("X").shape[0]
        self.n_missing = 0  # values appended by this writer that were missing

    @classmethod
    def create(cls, path: str | Path, header: DumpHeader, *, replace: bool = False) -> DumpWriter:
        """Begin the dump `path`. Raises FileExistsError if it exists, unless `replace`, and
        BlockingIOError if another process is writing it."""
        path = Path(path)
        if not replace:
            _refuse_existing(path)
        with _writing(path) as journal:
            if not replace:  # another process may have made it since
                _refuse_existing(path)
            _make(path, header)
            return cls(path, header, journal)

    @classmethod
    def resume(cls, path: str | Path, header: DumpHeader) -> DumpWriter:
        """Continue the dump `path`, or begin it if it does not exist. Raises ValueError if it was
        begun with another header."""
        path = Path(path)
        with _writing(path) as journal:
            if path.exists():
                with told_as_damage(path), h5py.File(path, "r") as hdf5:
                    _check_same_header(path, hdf5, header)
                    check_layout(path, hdf5)
            else:
                _make(path, header)
            return cls(path, header, journal)

    @property
    def n_batches(self) -> int:
        """Whole batches in the file."""
        return self.n_tasks // self.header.batch_size

    def append(self, batch: TaskBatch, *, is_last: bool = False) -> None:
        """Write the `header.batch_size` tasks of `batch`, or fewer in the last batch of all; when
        this returns, they are in the file."""
        self._check(batch, is_last)
        columns = self._columns_of(batch)
        begin, end = self.n_tasks, self.n_tasks + batch.n_tasks
        try:
            for name, values in columns.items():
                data = self._data(name)
                data.resize(end, axis=0)
                data[begin:end] = values
            self._hdf5.flush()
            self._file.commit()
        except (OSError, RuntimeError) as error:
            reason = self._file.failure or error
            words = (reason.strerror if isinstance(reason, OSError) else None) or reason
            raise OSError(
                f"could not write to {self.path} ({words})."
                f" The {begin} tasks in it are safe: make room and continue with --resume."
            ) from reason
        self.n_tasks = end

    def close(self, *, abandon: bool = False) -> None:
        """Close the file; `abandon` drops a batch that is half written."""
        if abandon:
            self._file.abandon()
        try:
            self._hdf5.close()
            if not abandon:
                self._file.commit()
        finally:
            self._file.close()

    def __enter__(self) -> DumpWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(abandon=error is not None)

    def _data(self, name: str) -> Any:
        return self._hdf5[name]

    def _check(self, batch: TaskBatch, is_last: bool) -> None:
        header = self.header
        if batch.x is None:
            raise ValueError(
                "the prior draws tasks without columns (x is None), which a dump cannot hold."
            )
        if self.n_tasks % header.batch_size:
            raise ValueError(
                f"the last batch in {self.path} is smaller than the others: nothing can follow it."
                " Write another file."
            )
        if batch.n_tasks != header.batch_size and not (
            is_last and batch.n_tasks < header.batch_size
        ):
            raise ValueError(
                f"the batch has {batch.n_tasks} tasks, but this dump is made of batches of"
                f" {header.batch_size}."
            )
        if batch.n_rows > header.max_seq_len or batch.n_columns > header.max_features:
            raise ValueError(
                f"the batch has {batch.n_rows} rows and {batch.n_columns} columns, but the dump was"
                f" laid out for at most {header.max_seq_len} × {header.max_features}. Raise"
                " max_seq_len and max_features to what the prior draws."
            )
        if header.max_classes is not None:
            y, tasks = batch.y.float().cpu().numpy(), self.n_tasks + np.arange(batch.n_tasks)
            check_labels(self.path, y, tasks, np.full(batch.n_tasks, header.max_classes))

    def _columns_of(self, batch: TaskBatch) -> dict[str, Any]:
        """Return the batch as the datasets store it, padded with zeros."""
        assert batch.x is not None
        tasks, rows, width = batch.x.shape
        n_features = (
            np.full(tasks, width) if batch.n_features is None else batch.n_features.cpu().numpy()
        )
        x = batch.x.float().cpu().numpy().copy()
        x[np.broadcast_to(np.arange(width) >= n_features[:, None, None], x.shape)] = 0
        self.n_missing += int(np.isnan(x).sum())
        if self.header.missing == "mean":
            x = _with_means(x, batch.n_train)
        padded_x = np.zeros((tasks, self.header.max_seq_len, self.header.max_features), np.float32)
        padded_x[:, :rows, :width] = x
        padded_y = np.zeros((tasks, self.header.max_seq_len), np.float32)
        padded_y[:, :rows] = batch.y.float().cpu().numpy()
        categorical = np.full((tasks, self.header.max_features), -1, np.int8)
        if batch.categorical is not None:
            categorical[:, :width] = batch.categorical.cpu().numpy()
        return {
            "X": padded_x,
            "y": padded_y,
            "num_features": n_features,
            "num_datapoints": rows,
            "single_eval_pos": batch.n_train,
            "train_test_split_index": batch.n_train,
            "num_classes": 0 if batch.n_classes is None else batch.n_classes.cpu().numpy(),
            "categorical": categorical,
        }


@contextmanager
def _writing(path: Path) -> Iterator[BinaryIO]:
    """Keep other processes from writing `path`, from before it is made."""
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"there is no folder {path.parent} to write {path.name} into. Create it first."
        )
    with begin_writing(path) as journal:
        sweep(path.parent, path.name)
        yield journal


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise FileExistsError(
            f"{path} exists already. Choose another path, continue it with --resume, or replace"
            " it with --force."
        )


def _make(path: Path, header: DumpHeader) -> None:
    with (
        replacing(path) as unfinished,
        h5py.File(unfinished, "w", libver=HDF5_VERSIONS) as hdf5,
    ):
        _lay_out(hdf5, header)


def _lay_out(hdf5: h5py.File, header: DumpHeader) -> None:
    """Create the empty datasets and the attributes."""
    tasks, rows, width = header.batch_size, header.max_seq_len, header.max_features

    def table(
        name: str, shape: tuple[int, ...], dtype: str, tasks_per_chunk: int, **options: Any
    ) -> None:
        hdf5.create_dataset(
            name,
            (0, *shape),
            dtype,
            maxshape=(None, *shape),
            chunks=(tasks_per_chunk, *shape),
            **options,
        )

    table("X", (rows, width), "f4", tasks, compression="lzf", shuffle=True)
    table("y", (rows,), "f4", tasks, compression="lzf", shuffle=True)
    table("categorical", (width,), "i1", tasks, compression="lzf")
    for name in (
        "num_features",
        "num_datapoints",
        "single_eval_pos",
        "train_test_split_index",
        "num_classes",
    ):
        table(name, (), "i4", CHUNK)
    if header.max_classes is not None:
        hdf5.create_dataset("max_num_classes", data=np.array([header.max_classes]))
    hdf5.create_dataset("original_batch_size", data=np.array([header.batch_size]))
    hdf5.create_dataset("problem_type", data=header.problem_type, dtype=h5py.string_dtype())
    hdf5.attrs.update(
        format=FORMAT,
        format_version=FORMAT_VERSION,
        openpfn_version=__version__,
        header=header.as_json(),
    )


def _check_same_header(path: Path, hdf5: Any, header: DumpHeader) -> None:
    attributes = hdf5.attrs
    if attributes.get("format") != FORMAT:
        raise ValueError(
            f"{path} was not written by OpenPFN and cannot be continued. Choose another path."
        )
    check_header(path, attributes)
    if attributes["format_version"] != FORMAT_VERSION:
        raise ValueError(
            f"{path} has format version {attributes['format_version']}; this release continues"
            f" version {FORMAT_VERSION} only."
        )
    stored = attributes_of(path, hdf5)["header"]
    differences = different_values(stored, json.loads(header.as_json()))
    if differences:
        raise ValueError(
            f"{path} was begun with {', '.join(differences)}. Resume with the same arguments, or"
            " choose another path."
        )
    if attributes["openpfn_version"] != __version__:
        warnings.warn(
            f"{path} was begun by OpenPFN {attributes['openpfn_version']}, this is {__version__}:"
            " the tasks to come may differ from those that the older release would have drawn.",
            stacklevel=3,
        )


def different_values(stored: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Return what two headers, read from JSON, say differently."""
    stored, wanted = _flat(stored), _flat(wanted)
    return [
        f"{k} {stored.get(k)!r} (now {wanted.get(k)!r})"
        for k in sorted(stored | wanted)
        if stored.get(k) != wanted.get(k)
    ]


def _flat(header: dict[str, Any]) -> dict[str, Any]:
    """Return a header in one level, its prior by the name that it has today."""
    config = header.get("prior_config", {})
    named = {k: v for k, v in header.items() if k != "prior_config"}
    named["prior"] = current_path(str(header.get("prior", "")))
    return {**{f"prior_config.{k}": v for k, v in config.items()}, **named}


def _with_means(x: Float[ndarray, "B N D"], n_train: int) -> Float[ndarray, "B N D"]:
    """`x` with each missing value replaced by the mean of its column's known context rows, 0 where
    there are none."""
    context, missing = x[:, :n_train], np.isnan(x)
    known = np.count_nonzero(~np.isnan(context), axis=1, keepdims=True)
    means = np.nansum(context, axis=1, keepdims=True) / np.maximum(known, 1)
    return np.where(missing, means, x).astype(np.float32)
