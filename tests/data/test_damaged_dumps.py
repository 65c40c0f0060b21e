"""Files that are no dump, or no longer a whole one, are told in one line."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from drawn_dumps import draw, write

from openpfn.data.dump_reader import PriorDumpDataLoader


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
