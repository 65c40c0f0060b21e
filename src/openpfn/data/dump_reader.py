"""`PriorDumpDataLoader`: batches of tasks from an HDF5 prior dump, ours or another toolkit's."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from openpfn.batch import TaskBatch
from openpfn.data.commit_file import recover
from openpfn.data.dump_checks import (
    SPLIT_NAMES,
    attributes_of,
    check_counts,
    check_labels,
    check_layout,
    problem_type_of,
    single,
    told_as_damage,
)
from openpfn.data.dump_writer import DumpHeader, DumpWriter
from openpfn.data.manifest import Manifest, is_sharded, read_manifest
from openpfn.device import pick_device

__all__ = ["DumpContents", "DumpHeader", "DumpWriter", "PriorDumpDataLoader", "read_contents"]

CACHE_BYTES = 64 << 20  # room for the compressed chunk that several small batches come from
MOST_OPEN = 64
"""Files of a sharded dump that are open at a time."""


@dataclass(frozen=True)
class DumpContents:
    """What a dump says about its T tasks, without their values."""

    path: Path
    n_features: Int[ndarray, " T"]
    n_rows: Int[ndarray, " T"]
    n_train: Int[ndarray, " T"]
    n_classes: Int[ndarray, " T"] | None
    """Highest class index + 1; None in regression."""
    n_distinct: Int[ndarray, " T"] | None
    """How many classes occur; None in regression."""
    has_categorical: bool
    """Whether the dump says which columns hold category codes."""
    original_batch_size: int
    """Neighbouring tasks that were drawn together."""
    max_num_classes: int | None
    """Most classes; None in regression, or where the dump does not say."""
    problem_type: str
    """classification or regression."""
    attributes: Mapping[str, Any]
    """Attributes of the file; `header` is decoded."""
    files: tuple[Path, ...] = ()
    """The file, or those of a dump in shards."""
    file_of: Int[ndarray, " T"] = field(default_factory=lambda: np.zeros(0, np.int64))
    """The number of the file that each task is in."""
    place_in_file: Int[ndarray, " T"] = field(default_factory=lambda: np.zeros(0, np.int64))
    """The task's number there."""

    @property
    def n_tasks(self) -> int:
        return len(self.n_rows)


class PriorDumpDataLoader:
    """Batches of the tasks in the dump `path` (also called `filename`), a file or a folder of
    shards: each pass over the loader gives `num_steps` of them (None: endless).

    Every batch holds tasks of one split and one number of rows, cut to its widest task. All tasks
    with at least `min_classes` classes come once per epoch, in an order that depends on `seed` and
    the epoch alone, or as stored without `shuffle`; the next epoch follows without a break. Batch i
    depends only on the file and these arguments, so `start=i` (or setting `position`) continues
    where another loader stopped. Where fewer than `batch_size` tasks share their split and rows,
    batches are smaller, and a warning says so. The values are read batch by batch; those of shards
    come from each file in turn without `shuffle`, in the order of their drawing. Raises
    FileNotFoundError, or ValueError for a file that is cut off or is no dump.

    >>> loader = PriorDumpDataLoader("tasks.h5", 2500, 32, min_classes=3)    # doctest: +SKIP
    >>> for batch in loader:    # doctest: +SKIP
    ...     loss = model.loss(batch)
    """

    def __init__(
        self,
        path: str | Path | None = None,
        num_steps: int | None = None,
        batch_size: int = 32,
        device: torch.device | str | None = None,
        min_classes: int = 1,
        shuffle: bool = True,
        *,
        seed: int = 0,
        start: int = 0,
        filename: str | Path | None = None,
    ) -> None:
        given = [file for file in (path, filename) if file is not None]
        if len(given) != 1:
            raise TypeError(
                "PriorDumpDataLoader takes one file, as path or as filename, which mean the same."
            )
        if batch_size < 1 or start < 0 or (num_steps is not None and num_steps < 1):
            raise ValueError(
                f"got num_steps={num_steps}, batch_size={batch_size}, start={start}; wanted at"
                " least 1, 1 and 0."
            )
        self.path = Path(given[0])
        self.num_steps, self.batch_size = num_steps, batch_size
        self.device = pick_device("cpu" if device is None else device)
        self.min_classes, self.shuffle, self.seed = min_classes, shuffle, seed
        self.contents = read_contents(self.path)
        self.max_num_classes = self.contents.max_num_classes
        self.position = start
        self.first_position = 0
        """The index of the batch that a pass begins with; passes are counted from there."""
        self.stride = 1
        """The loader gives every `stride`-th batch from `position` on."""
        self._tasks = self._tasks_in_use()
        self._epoch, self._order = 0, self._batches_of_epoch(0)
        self._warn_of_small_batches()

    def __len__(self) -> int:
        """Batches of one pass."""
        if self.num_steps is None:
            raise TypeError("this loader is endless (num_steps=None): it has no length.")
        return self.num_steps

    @property
    def batches_per_epoch(self) -> int:
        """Batches until every task has come once."""
        return len(self._order)

    def __iter__(self) -> Iterator[TaskBatch]:
        """The batches from `position` up to the next multiple of `num_steps`."""
        end = None
        if self.num_steps is not None:
            passes = (self.position - self.first_position) // self.num_steps + 1
            end = self.first_position + passes * self.num_steps
        with _OpenFiles(self.contents.files) as files:
            while end is None or self.position < end:
                batch = self._read(files, self._tasks_of_batch(self.position)).to(self.device)
                self.position += self.stride
                yield batch

    def for_evaluation(self, n_batches: int) -> PriorDumpDataLoader:
        """Return a loader of the last `n_batches` batches of the first epoch: tasks that a training
        on this loader comes to only in step `batches_per_epoch` − `n_batches` + 1."""
        given = (self.batch_size, self.device, self.min_classes, self.shuffle)
        n_batches = min(n_batches, self.batches_per_epoch)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # small batches were told by this loader
            other = PriorDumpDataLoader(self.path, n_batches, *given, seed=self.seed)
        other.first_position = other.position = self.batches_per_epoch - n_batches
        return other

    def as_dict(self) -> Iterator[dict[str, Tensor | int]]:
        """The same batches as the dictionaries that nanoTabPFN's, TinyPFN's and TFM-Playground's
        loaders give."""
        for batch in self:
            assert batch.x is not None
            split = {"train_test_split_index": batch.n_train, "single_eval_pos": batch.n_train}
            yield {"x": batch.x, "y": batch.y, "target_y": batch.y, **split}

    def _tasks_in_use(self) -> Int[ndarray, " used"]:
        contents = self.contents
        if contents.n_distinct is None:
            return np.arange(contents.n_tasks)
        used = np.flatnonzero(contents.n_distinct >= self.min_classes)
        if not len(used):
            raise ValueError(
                f"none of the {contents.n_tasks} tasks in {self.path} has {self.min_classes}"
                f" classes or more (at most {contents.n_distinct.max()}). Lower min_classes or take"
                " another dump."
            )
        return used

    def _tasks_of_batch(self, index: int) -> Int[ndarray, " B"]:
        epoch, within = divmod(index, self.batches_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self._batches_of_epoch(epoch)
        return self._order[within]

    def _batches_of_epoch(self, epoch: int) -> list[Int[ndarray, " B"]]:
        """Return the tasks of each batch: equal split and rows, neighbours kept together because
        they share a compressed chunk."""
        contents, tasks = self.contents, self._tasks
        random = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(epoch,)))
        if self.shuffle:
            block = tasks // contents.original_batch_size
            place_of_block = random.permutation(int(block.max()) + 1)[block]
            place_in_block = random.permutation(len(tasks))
            tasks = tasks[
                np.lexsort(
                    [
                        place_in_block,
                        place_of_block,
                        contents.n_rows[tasks],
                        contents.n_train[tasks],
                    ]
                )
            ]
        shapes = np.stack([contents.n_train[tasks], contents.n_rows[tasks]])
        breaks = np.flatnonzero((np.diff(shapes) != 0).any(axis=0)) + 1
        size = self.batch_size
        batches = [
            run[i : i + size] for run in np.split(tasks, breaks) for i in range(0, len(run), size)
        ]
        return [batches[i] for i in random.permutation(len(batches))] if self.shuffle else batches

    def _warn_of_small_batches(self) -> None:
        mean, drawn_together = (
            len(self._tasks) / self.batches_per_epoch,
            self.contents.original_batch_size,
        )
        if self.batch_size > drawn_together and mean < 0.75 * min(
            self.batch_size, len(self._tasks)
        ):
            warnings.warn(
                f"batches from {self.path} hold {mean:.1f} tasks on average, not {self.batch_size}:"
                " too few tasks share their split and number of rows. Ask for"
                f" batch_size={drawn_together}, or generate a dump with --batch_size"
                f" {self.batch_size}.",
                stacklevel=3,
            )

    def _read(self, files: _OpenFiles, tasks: Int[ndarray, " B"]) -> TaskBatch:
        contents = self.contents
        rows, width = int(contents.n_rows[tasks[0]]), int(contents.n_features[tasks].max())
        try:
            x = self._values(files, "X", tasks, (rows, width))
            y = self._values(files, "y", tasks, (rows,))
            codes = (
                self._values(files, "categorical", tasks, (width,))
                if contents.has_categorical
                else None
            )
        except (OSError, RuntimeError, MemoryError) as error:
            raise ValueError(
                f"{self.path} is damaged: tasks {tasks.min()} to {tasks.max()} cannot be read"
                f" ({error})."
            ) from error
        if contents.n_classes is not None:
            check_labels(self.path, y.astype(np.float32), tasks, contents.n_classes[tasks])
        known = codes is not None and not (codes < 0).any()
        return TaskBatch(
            x=torch.from_numpy(x.astype(np.float32, copy=False)),
            y=torch.from_numpy(y.astype(np.float32, copy=False)),
            n_train=int(contents.n_train[tasks[0]]),
            n_features=torch.from_numpy(contents.n_features[tasks]),
            n_classes=(
                None if contents.n_classes is None else torch.from_numpy(contents.n_classes[tasks])
            ),
            categorical=torch.from_numpy(codes == 1) if known else None,
        )

    def _values(
        self, files: _OpenFiles, name: str, tasks: Int[ndarray, " B"], shape: tuple[int, ...]
    ) -> Float[ndarray, "B ..."] | Int[ndarray, "B ..."]:
        """Return what `name` holds of `tasks`, of whichever files they are in."""
        of_task, place = self.contents.file_of[tasks], self.contents.place_in_file[tasks]
        numbers = np.unique(of_task)
        if len(numbers) == 1:
            return _rows_of(files[int(numbers[0])][name], place, shape)
        parts = [
            (np.flatnonzero(of_task == number), files[int(number)][name]) for number in numbers
        ]
        values = [_rows_of(data, place[where], shape) for where, data in parts]
        together = np.empty((len(tasks), *shape), values[0].dtype)
        for (where, _), value in zip(parts, values, strict=True):
            together[where] = value
        return together


class _OpenFiles:
    """The files of a dump, opened when they are first read, at most `MOST_OPEN` at a time."""

    def __init__(self, paths: tuple[Path, ...]) -> None:
        self.paths = paths
        self._open: dict[int, Any] = {}

    def __getitem__(self, number: int) -> Any:
        file = self._open.pop(number, None)
        if file is None:
            if len(self._open) == MOST_OPEN:
                self._open.pop(next(iter(self._open))).close()  # the one not read for longest
            n_bytes = CACHE_BYTES // min(MOST_OPEN, len(self.paths))
            file = h5py.File(self.paths[number], "r", rdcc_nbytes=n_bytes)
        self._open[number] = file
        return file

    def __enter__(self) -> _OpenFiles:
        return self

    def __exit__(self, *_error: object) -> None:
        for file in self._open.values():
            file.close()
        self._open.clear()


def read_contents(path: str | Path) -> DumpContents:
    """Return what the dump `path`, a file or a folder of shards, says about its tasks, finishing a
    commit that was cut short.

    Raises FileNotFoundError, or ValueError for a file that is cut off, is no dump, or is being
    written.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"there is no prior dump at {path}. Make one with `openpfn priors generate --save_path"
            f" {path}`."
        )
    return _of_shards(read_manifest(path)) if is_sharded(path) else _of_file(path)


def _of_file(path: Path) -> DumpContents:
    _finish_commit(path)
    with told_as_damage(path), h5py.File(path, "r") as hdf5:
        return _contents(path, hdf5)


def _finish_commit(path: Path) -> None:
    try:
        recover(path)
    except BlockingIOError as error:
        raise ValueError(
            f"{path} is being written by another process. Wait until it is done, or stop it: it can"
            " be resumed."
        ) from error


def _of_shards(manifest: Manifest) -> DumpContents:
    """Return the contents of a dump in shards, its tasks in the order in which one file would hold
    them; of one that is not complete, what is there."""
    manifest.check_sizes()
    numbers = [i for i in range(manifest.n_shards) if _has_tasks(manifest, i)]
    if not numbers:
        raise ValueError(
            f"{manifest.folder} holds no task yet. Continue it with `openpfn priors generate"
            f" --resume --save_path {manifest.folder}`."
        )
    parts = [_of_file(manifest.path_of(number)) for number in numbers]
    size = parts[0].original_batch_size
    place = np.concatenate([np.arange(part.n_tasks) for part in parts])
    file_of = np.repeat(np.arange(len(parts)), [part.n_tasks for part in parts])
    batch = place // size * manifest.n_shards + np.array(numbers)[file_of]
    order = np.lexsort([place, batch])

    def together(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        return None if values[0] is None else np.concatenate(values)[order]

    return replace(
        parts[0],
        path=manifest.folder,
        n_features=together("n_features"),
        n_rows=together("n_rows"),
        n_train=together("n_train"),
        n_classes=together("n_classes"),
        n_distinct=together("n_distinct"),
        has_categorical=all(part.has_categorical for part in parts),
        attributes=dict(parts[0].attributes) | {"header": manifest.header},
        files=tuple(part.path for part in parts),
        file_of=file_of[order],
        place_in_file=place[order],
    )


def _has_tasks(manifest: Manifest, number: int) -> bool:
    """Return whether a shard holds tasks; one that is not finished may be missing or empty."""
    path, record = manifest.path_of(number), manifest.shards[number]
    if record is not None:
        return record.n_tasks > 0
    if not path.is_file():
        return False
    _finish_commit(path)
    with told_as_damage(path), h5py.File(path, "r") as hdf5:
        return "X" in hdf5 and hdf5["X"].shape[0] > 0


def _contents(path: Path, hdf5: Any) -> DumpContents:
    check_layout(path, hdf5)
    split = next(name for name in SPLIT_NAMES if name in hdf5)
    n_tasks, max_rows, max_columns = hdf5["X"].shape
    if n_tasks == 0:
        raise ValueError(
            f"{path} holds no task yet. Continue it with `openpfn priors generate --resume"
            f" --save_path {path}`."
        )
    has_rows = "num_datapoints" in hdf5
    n_rows = _whole(hdf5["num_datapoints"]) if has_rows else np.full(n_tasks, max_rows)
    n_features, n_train = _whole(hdf5["num_features"]), _whole(hdf5[split])
    check_counts(path, "num_datapoints", n_rows, 1, np.array(max_rows))
    check_counts(path, "num_features", n_features, 0, np.array(max_columns))
    check_counts(path, split, n_train, 0, n_rows)
    problem_type = problem_type_of(path, hdf5)
    n_classes = n_distinct = None
    if problem_type == "classification":
        n_classes, n_distinct = _classes(path, hdf5, n_rows)
    drawn_together = single(hdf5, "original_batch_size")
    if drawn_together is None:
        drawn_together = int((hdf5["X"].chunks or (1,))[0])
    check_counts(path, "original_batch_size", np.array([drawn_together]), 1, np.array(2**31 - 1))
    return DumpContents(
        path=path,
        n_features=n_features,
        n_rows=n_rows,
        n_train=n_train,
        n_classes=n_classes,
        n_distinct=n_distinct,
        has_categorical="categorical" in hdf5,
        original_batch_size=drawn_together,
        max_num_classes=single(hdf5, "max_num_classes"),
        problem_type=problem_type,
        attributes=attributes_of(path, hdf5),
        files=(path,),
        file_of=np.zeros(n_tasks, np.int64),
        place_in_file=np.arange(n_tasks),
    )


def _whole(data: Any) -> Int[ndarray, " T"]:
    return data[:].astype(np.int64)


def _classes(
    path: Path, hdf5: Any, n_rows: Int[ndarray, " T"]
) -> tuple[Int[ndarray, " T"], Int[ndarray, " T"]]:
    """Highest class index + 1 and the number of classes that occur, per task: as stored by us, else
    counted."""
    if "num_classes" in hdf5 and (stored := _whole(hdf5["num_classes"])).all():
        check_counts(path, "num_classes", stored, 1, np.array(2**24))
        return stored, stored
    highest, distinct = [], []
    for begin in range(0, len(n_rows), 4096):
        rows = n_rows[begin : begin + 4096]
        y = hdf5["y"][begin : begin + 4096].astype(np.float32)
        is_padding = np.arange(y.shape[1]) >= rows[:, None]
        check_labels(path, np.where(is_padding, 0, y), begin + np.arange(len(rows)))
        y[is_padding] = np.nan  # padding is no label
        ordered = np.sort(y, axis=1)  # NaN last
        highest.append(np.nanmax(y, axis=1))
        distinct.append((np.diff(ordered, axis=1) > 0).sum(axis=1) + 1)
    return np.concatenate(highest).astype(np.int64) + 1, np.concatenate(distinct).astype(np.int64)


def _rows_of(
    data: Any, tasks: Int[ndarray, " B"], shape: tuple[int, ...]
) -> Float[ndarray, "B ..."] | Int[ndarray, "B ..."]:
    """`data[tasks]`, cut to `shape` behind the task axis. Runs of neighbours are read as slices:
    much faster in HDF5."""
    order = np.argsort(tasks, kind="stable")
    runs = np.split(tasks[order], np.flatnonzero(np.diff(tasks[order]) > 1) + 1)
    cut = tuple(slice(0, n) for n in shape)
    found = np.concatenate([data[(slice(int(run[0]), int(run[-1]) + 1), *cut)] for run in runs])
    restored = np.empty_like(found)
    restored[order] = found
    return restored
