"""A damaged file, a full disk: one clear error, and no other answer."""

from __future__ import annotations

import errno
import json
import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from openpfn import PFNClassifier
from openpfn.estimators import saved_file
from tests.estimators.conftest import random_network

OLD = Path(__file__).parent / "data" / "format1.safetensors"
QUERY = pd.DataFrame({"size": [0.126, None, 0.362], "colour": ["green", "red", "blue"]})
N_FLIPS = 60


@pytest.fixture
def saved(tmp_path):
    """A saved classifier of the query's columns."""
    X = pd.concat([QUERY] * 8, ignore_index=True)
    fitted = PFNClassifier(model=random_network(), n_estimators=1).fit(X, np.arange(24) % 3)
    return fitted.save(tmp_path / "fitted.safetensors", states="float32")


def flipped(path: Path, target: Path, position: int, bit: int) -> Path:
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << bit
    target.write_bytes(content)
    return target


def header_length(path: Path) -> int:
    return 8 + int.from_bytes(path.read_bytes()[:8], "little")


def predictions_or_error(path: Path) -> np.ndarray | str:
    try:
        return PFNClassifier.load(path).predict_proba(QUERY)
    except ValueError as error:
        return str(error)


@pytest.mark.slow
@pytest.mark.parametrize("part", ["header", "tensors"])
def test_a_flipped_bit_is_refused(saved, tmp_path, part):
    chance, header, size = random.Random(0), header_length(saved), saved.stat().st_size
    start, end = (0, header) if part == "header" else (header, size)
    for _ in range(N_FLIPS):
        path = flipped(
            saved, tmp_path / "damaged", chance.randrange(start, end), chance.randrange(8)
        )
        with pytest.raises(ValueError, match=r"damaged|not a whole|does not hold|has format"):
            PFNClassifier.load(path)


@pytest.mark.slow
def test_a_flipped_bit_in_a_file_without_digest_is_refused_clearly_or_predicts(tmp_path):
    chance, header = random.Random(1), header_length(OLD)
    for _ in range(N_FLIPS):
        path = flipped(OLD, tmp_path / "damaged", chance.randrange(header), chance.randrange(8))
        outcome = predictions_or_error(path)
        assert isinstance(outcome, np.ndarray) or "\n" not in outcome


def test_a_record_that_was_changed_is_refused(saved, tmp_path):
    with safe_open(saved, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    changed = json.loads(metadata["openpfn_estimator"]) | {
        "classes": {"dtype": "<i8", "values": []}
    }
    for record in (changed, {"estimator": "PFNClassifier"}, [], "word", 5, {"format": 1}):
        text = json.dumps(record)
        save_file(tensors, tmp_path / "other", metadata | {"openpfn_estimator": text})
        with pytest.raises(ValueError, match=r"damaged|does not hold"):
            PFNClassifier.load(tmp_path / "other")
    del metadata["openpfn_digest"]
    save_file(tensors, tmp_path / "other", metadata)
    with pytest.raises(ValueError, match="its content is not what was saved"):
        PFNClassifier.load(tmp_path / "other")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        SafetensorError("I/O error: No space left on device (os error 28)"),
    ],
    ids=["file", "library"],
)
def test_a_full_disk_is_one_clear_error_and_leaves_nothing(saved, monkeypatch, error):
    fitted, before = PFNClassifier.load(saved), saved.read_bytes()

    def fail(tensors: object, path: Path, **_: object) -> None:
        Path(path).write_bytes(b"half")
        raise error

    monkeypatch.setattr(saved_file, "save_file", fail)
    with pytest.raises(OSError, match=r"cannot write .*fitted.safetensors: .*No space left") as got:
        fitted.save(saved)
    assert "\n" not in str(got.value)
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]
    assert saved.read_bytes() == before
