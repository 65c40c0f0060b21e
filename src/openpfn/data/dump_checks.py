"""Checks of a prior dump before its values are read: what is in it, how large, of which types."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

MOST_COMPRESSION = 1100
"""How many times larger than its file a dump may be: deflate, which compresses most of the filters
that every HDF5 library has, comes to 1032."""
SPLIT_NAMES = ("train_test_split_index", "single_eval_pos")
PER_TASK = ("num_features", "num_datapoints", *SPLIT_NAMES, "num_classes")
SINGLE = ("max_num_classes", "original_batch_size")
PROBLEMS = ("classification", "regression")
KINDS = {"X": "fiu", "y": "fiub", "categorical": "iub"}
"""NumPy's letters of the types that a dataset may have; whole numbers for those not named."""


@contextmanager
def told_as_damage(path: Path) -> Iterator[None]:
    """Turn what HDF5 raises on a damaged file into a ValueError of one line that names `path`."""
    try:
        yield
    except (
        OSError,
        RuntimeError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        OverflowError,
        MemoryError,
        UnicodeError,
    ) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"{path} cannot be read as HDF5: it is cut off, damaged, or another kind of file"
            f" ({reason[:200]})."
        ) from error


def check_layout(path: Path, hdf5: Any) -> None:
    """Raise ValueError unless the datasets in a dump lie in this file and have shapes and types
    that go together."""
    known = ("X", "y", "categorical", "problem_type", *PER_TASK, *SINGLE)
    present = [name for name in known if hdf5.get(name, getlink=True) is not None]
    for name in present:
        _check_lies_within(path, hdf5, name)
    missing = [name for name in ("X", "y", "num_features") if name not in present]
    if missing or not set(SPLIT_NAMES) & set(present):
        has_split = set(SPLIT_NAMES) & set(present)
        wanted = [*missing, *([] if has_split else ["single_eval_pos or train_test_split_index"])]
        raise ValueError(
            f"{path} is no prior dump: it has no {', '.join(wanted)}, only"
            f" {', '.join(hdf5) or 'nothing'}."
        )
    shape = hdf5["X"].shape
    if shape is None or len(shape) != 3:
        raise ValueError(
            f"{path} is no prior dump: X has shape {shape}, wanted (tasks, rows, columns)."
        )
    tasks, rows, columns = shape
    wanted_shapes = {"X": shape, "y": (tasks, rows), "categorical": (tasks, columns)}
    wanted_shapes |= dict.fromkeys(PER_TASK, (tasks,))
    for name in present:
        data = hdf5[name]
        if name != "problem_type" and data.dtype.kind not in KINDS.get(name, "iu"):
            raise ValueError(f"{path} is damaged: {name} holds {data.dtype}, wanted numbers.")
        if name in wanted_shapes and data.shape != wanted_shapes[name]:
            raise ValueError(
                f"{path} is damaged: {name} has shape {data.shape}, but X {shape}; wanted"
                f" {wanted_shapes[name]}."
            )
        if name not in wanted_shapes and data.size != 1:
            raise ValueError(f"{path} is damaged: {name} has shape {data.shape}, wanted one value.")
        _check_size(path, name, data)


def single(hdf5: Any, name: str) -> int | None:
    """Return the one number in a dataset, (1,) or scalar; None where there is none."""
    return int(np.asarray(hdf5[name][()]).reshape(-1)[0]) if name in hdf5 else None


def problem_type_of(path: Path, hdf5: Any) -> str:
    """Return "classification" or "regression"; the first where the dump does not say."""
    if "problem_type" not in hdf5:
        return PROBLEMS[0]
    value = np.asarray(hdf5["problem_type"][()]).reshape(-1)[0]
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    if text not in PROBLEMS:
        raise ValueError(f"{path} is damaged: problem_type is {text!r}, wanted {PROBLEMS}.")
    return text


def attributes_of(path: Path, hdf5: Any) -> dict[str, Any]:
    """Return the attributes of a dump, `header` decoded."""
    attributes = dict(hdf5.attrs)
    if "header" in attributes:
        try:
            attributes["header"] = json.loads(str(attributes["header"]))
        except ValueError as error:
            raise ValueError(f"{path} is damaged: its header is no JSON ({error}).") from error
        header = attributes["header"]
        if not isinstance(header, dict) or not isinstance(header.get("prior_config"), dict):
            raise ValueError(f"{path} is damaged: its header is no description of a prior.")
    return attributes


def check_counts(
    path: Path, name: str, counts: Int[ndarray, " T"], least: int, most: Int[ndarray, "..."]
) -> None:
    """Raise ValueError where a number of rows, columns or classes is out of bounds."""
    wrong = np.flatnonzero((counts < least) | (counts > most))
    if len(wrong):
        task = wrong[0]
        bound = np.broadcast_to(most, counts.shape)[task]
        raise ValueError(
            f"{path} is damaged: task {task} has {name} {counts[task]}, wanted {least} to {bound}."
        )


def check_labels(
    path: Path,
    y: Float[ndarray, "B N"],
    tasks: Int[ndarray, " B"],
    n_classes: Int[ndarray, " B"] | None = None,
) -> None:
    """Raise ValueError unless `y`, of these tasks of a dump, holds class indices alone."""
    wrong = ~((y >= 0) & (y == np.floor(y)) & np.isfinite(y))
    if n_classes is not None:
        wrong |= (y >= n_classes[:, None]) & (n_classes[:, None] > 0)
    if wrong.any():
        task, row = np.argwhere(wrong)[0]
        wanted = "0, 1, 2, …"
        if n_classes is not None and n_classes[task] > 0:
            wanted = f"0 … {n_classes[task] - 1}"
        raise ValueError(
            f"{path}: task {tasks[task]} has the label {y[task, row]:g}, wanted class indices"
            f" {wanted}. Number the classes from 0, or store problem_type = 'regression'."
        )


def check_header(path: Path, attributes: Mapping[str, Any]) -> None:
    """Raise ValueError unless a dump that is to be continued says how it was begun."""
    missing = [
        name for name in ("format_version", "header", "openpfn_version") if name not in attributes
    ]
    if missing:
        raise ValueError(
            f"{path} cannot be continued: it does not tell its {', '.join(missing)}. Choose another"
            " path, or replace it with --force."
        )


def _check_lies_within(path: Path, hdf5: Any, name: str) -> None:
    """Raise ValueError unless `name` is a dataset whose values lie in this file."""
    link = hdf5.get(name, getlink=True)
    if isinstance(link, h5py.ExternalLink):
        raise ValueError(
            f"{path} is refused: {name} leads into another file, {link.filename}. Copy its values"
            " into one file (h5repack, or h5py)."
        )
    try:
        data = hdf5[name]
    except KeyError as error:
        raise ValueError(f"{path} is damaged: {name} leads nowhere.") from error
    if not isinstance(data, h5py.Dataset):
        raise ValueError(f"{path} is damaged: {name} is a {type(data).__name__}, wanted a dataset.")
    if data.external or data.is_virtual or Path(data.file.filename) != Path(hdf5.filename):
        raise ValueError(
            f"{path} is refused: the values of {name} lie in another file. Copy them into one"
            " (h5py)."
        )


def _check_size(path: Path, name: str, data: Any) -> None:
    """Raise ValueError where a dataset claims more bytes than its file could hold."""
    entries = max(data.size, int(np.prod(data.chunks or (), dtype=object)) if data.size else 0)
    claimed = entries * data.dtype.itemsize
    most = MOST_COMPRESSION * path.stat().st_size
    if claimed > most:
        raise ValueError(
            f"{path} is damaged: {name} claims {claimed / 1e9:,.1f} GB in a file of"
            f" {path.stat().st_size / 1e6:,.1f} MB."
        )
