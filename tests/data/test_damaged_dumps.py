"""Files that are no dump, or no longer a whole one, are told in one line."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from drawn_dumps import draw, write

from openpfn.data.dump_reader import PriorDumpDataLoader, read_contents


def test_wrong_files_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "d.h5", [draw(i) for i in range(3)])
    with pytest.raises(FileNotFoundError, match="there is no prior dump at"):
        PriorDumpDataLoader(tmp_path / "absent.h5", 1, 4)
    (tmp_path / "cut.h5").write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ValueError, match="cut off"):
        PriorDumpDataLoader(tmp_path / "cut.h5", 1, 4)
    (tmp_path / "text.h5").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="cannot be read as HDF5"):
        PriorDumpDataLoader(tmp_path / "text.h5", 1, 4)
    with h5py.File(tmp_path / "other.h5", "w") as hdf5:
        hdf5["X"] = np.zeros((3, 2, 1))
    with pytest.raises(
        ValueError,
        match="has no y, num_features, single_eval_pos or train_test_split_index, only X",
    ):
        PriorDumpDataLoader(tmp_path / "other.h5", 1, 4)


def replaced(hdf5: Any, name: str, values: Any, **options: Any) -> None:
    del hdf5[name]
    hdf5.create_dataset(name, data=values, **options)


def claim(hdf5: Any, name: str, shape: tuple[int, ...], chunks: tuple[int, ...]) -> None:
    dtype = hdf5[name].dtype
    del hdf5[name]
    hdf5.create_dataset(name, shape, dtype, chunks=chunks)


def outside(hdf5: Any) -> None:
    del hdf5["X"]
    hdf5.create_dataset("X", (12, 20, 6), "f4", external=[("/etc/hostname", 0, 12 * 120 * 4)])


def virtual(hdf5: Any) -> None:
    layout = h5py.VirtualLayout((12, 20), "f4")
    layout[:] = h5py.VirtualSource("elsewhere.h5", "y", (12, 20))
    del hdf5["y"]
    hdf5.create_virtual_dataset("y", layout)


def group(hdf5: Any) -> None:
    del hdf5["y"]
    hdf5.create_group("y")


def link(hdf5: Any, to: Any) -> None:
    del hdf5["y"]
    hdf5["y"] = to


def header(hdf5: Any, text: str) -> None:
    hdf5.attrs["header"] = text


TERA = 10**12
DAMAGES: dict[str, tuple[Callable[[Any], object], str]] = {
    "an external link": (
        lambda f: link(f, h5py.ExternalLink("elsewhere.h5", "/y")),
        "y leads into another file, elsewhere.h5",
    ),
    "a dangling link": (lambda f: link(f, h5py.SoftLink("/nothing")), "y leads nowhere"),
    "raw values elsewhere": (outside, "the values of X lie in another file"),
    "a view of another file": (virtual, "the values of y lie in another file"),
    "a group": (group, "y is a Group, wanted a dataset"),
    "a claim of many tasks": (
        lambda f: [
            claim(f, "X", (TERA, 20, 6), (1, 20, 6)),
            claim(f, "y", (TERA, 20), (1, 20)),
            claim(f, "categorical", (TERA, 6), (1, 6)),
            *(claim(f, name, (TERA,), (1024,)) for name in list(f) if f[name].shape == (12,)),
        ],
        "claims .* GB in a file of",
    ),
    "a claim of many rows": (
        lambda f: [
            claim(f, "X", (12, TERA, 6), (1, 20, 6)),
            claim(f, "y", (12, TERA), (1, 20)),
        ],
        "claims .* GB in a file of",
    ),
    "words": (lambda f: replaced(f, "num_features", np.array([b"a"] * 12)), "wanted numbers"),
    "halves": (lambda f: replaced(f, "num_features", np.full(12, 0.5)), "wanted numbers"),
    "complex values": (
        lambda f: replaced(f, "X", np.zeros((12, 20, 6), complex)),
        "X holds complex128, wanted numbers",
    ),
    "a scalar X": (lambda f: replaced(f, "X", 1.0), r"X has shape \(\)"),
    "an empty X": (lambda f: replaced(f, "X", h5py.Empty("f4")), "X has shape None"),
    "a scalar per task": (
        lambda f: replaced(f, "num_features", 3),
        r"num_features has shape \(\), but X \(12, 20, 6\)",
    ),
    "too few labels": (lambda f: replaced(f, "y", np.zeros((11, 20))), r"y has shape \(11, 20\)"),
    "too many columns": (
        lambda f: replaced(f, "num_features", np.full(12, 7)),
        "task 0 has num_features 7, wanted 0 to 6",
    ),
    "a negative split": (
        lambda f: [
            replaced(f, name, np.full(12, -1))
            for name in ("single_eval_pos", "train_test_split_index")
        ],
        "task 0 has train_test_split_index -1, wanted 0 to",
    ),
    "no rows": (
        lambda f: replaced(f, "num_datapoints", np.zeros(12, int)),
        "task 0 has num_datapoints 0, wanted 1 to 20",
    ),
    "batches of nothing": (
        lambda f: replaced(f, "original_batch_size", 0),
        "original_batch_size 0, wanted 1",
    ),
    "two batch sizes": (
        lambda f: replaced(f, "original_batch_size", [4, 4]),
        r"original_batch_size has shape \(2,\), wanted one value",
    ),
    "another problem": (
        lambda f: replaced(f, "problem_type", "clustering"),
        "problem_type is 'clustering'",
    ),
    "a problem by number": (lambda f: replaced(f, "problem_type", 3), "problem_type is '3'"),
    "a header that is none": (lambda f: header(f, "{"), "its header is no JSON"),
    "a header of another kind": (lambda f: header(f, "[]"), "its header is no description"),
}


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_dump_is_refused_in_one_line(tmp_path: Path, damage: str) -> None:
    path = write(tmp_path / "d.h5", [draw(i) for i in range(3)])
    change, message = DAMAGES[damage]
    with h5py.File(path, "r+") as hdf5:
        change(hdf5)
    with pytest.raises(ValueError, match=message) as told:
        read_contents(path)
    assert str(path) in str(told.value)
    assert "\n" not in str(told.value)


def test_single_numbers_may_be_scalars(tmp_path: Path) -> None:
    path = write(tmp_path / "d.h5", [draw(i) for i in range(3)])
    before = read_contents(path)
    with h5py.File(path, "r+") as hdf5:
        for name in ("max_num_classes", "original_batch_size"):
            replaced(hdf5, name, hdf5[name][0])
        replaced(hdf5, "problem_type", [b"classification"])
    after = read_contents(path)
    for name in ("max_num_classes", "original_batch_size", "problem_type"):
        assert getattr(after, name) == getattr(before, name)


@pytest.mark.parametrize("wrong", [-1.0, 0.5, float("nan"), float("inf"), 3.0])
@pytest.mark.parametrize("is_counted", [True, False])
def test_labels_that_are_no_classes_are_refused(
    tmp_path: Path, wrong: float, is_counted: bool
) -> None:
    path = write(tmp_path / "d.h5", [draw(i, n_rows=12, n_train=6) for i in range(3)])
    with h5py.File(path, "r+") as hdf5:
        y: Any = hdf5["y"]
        y[5, 2] = wrong
        if is_counted:
            del hdf5["num_classes"]
    if is_counted and wrong == 3.0:  # then it is a class
        assert read_contents(path).n_classes[5] == 4  # type: ignore[index]
        return
    with pytest.raises(ValueError, match=f"task 5 has the label {wrong:g}, wanted class indices"):
        list(PriorDumpDataLoader(path, 3, 4, shuffle=False))


@pytest.mark.slow
def test_a_flipped_bit_of_a_dump_gives_one_line_or_tasks(tmp_path: Path) -> None:
    path = write(tmp_path / "d.h5", [draw(0)])
    content, random_state = path.read_bytes(), random.Random(0)
    told: list[str] = []
    for bit in random_state.sample(range(8 * 4000), 100):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bytes(changed))
        try:
            list(PriorDumpDataLoader(path, 1, 4))
        except ValueError as error:
            told.append(str(error))
    assert told
    assert not any("\n" in message for message in told)
