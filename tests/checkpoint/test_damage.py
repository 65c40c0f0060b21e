"""A checkpoint with a flipped bit, anywhere, is refused in one line or gives the same answer."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from toy_training import ToyNetwork, ToyPrior, same_weights

from openpfn import checkpoint, cli
from openpfn.configs import TabularConfig, TrainingConfig
from openpfn.models import PFN
from openpfn.training import train

N_FLIPS = 150


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def header_bits(content: bytes) -> range:
    return range(8 * (8 + struct.unpack("<Q", content[:8])[0]))


def check_flips(path: Path, bits: Any, read: Callable[[], bool]) -> int:
    """How many flips were refused; the others must read as before, which `read` tells."""
    content = path.read_bytes()
    messages: dict[int, str] = {}
    for bit in bits:
        path.write_bytes(flipped(content, bit))
        try:
            assert read(), f"bit {bit} was flipped, and the file reads with other content"
        except ValueError as error:
            messages[bit] = str(error)
    assert {bit for bit, message in messages.items() if str(path) not in message} == set()
    path.write_bytes(content)
    assert read()
    return len(messages)


@pytest.fixture
def weights(tmp_path) -> Path:
    torch.manual_seed(1)
    config = TabularConfig(d_model=4, n_heads=1, n_layers=1, d_mlp=4, column_shifts=(0,))
    return checkpoint.save(
        tmp_path / "m.safetensors",
        PFN(config),
        training_config=TrainingConfig(num_steps=7),
        provenance={"tasks": 12, "data": {"prior": "mixture"}},
        task_pools={"pool": torch.arange(6.0)},
    )


@pytest.fixture
def run(tmp_path) -> Path:
    settings = TrainingConfig(
        num_steps=2,
        batch_size=2,
        average_decay=0.5,
        n_workers=0,
        checkpoint_dir=str(tmp_path / "run"),
    )
    train(ToyPrior(), ToyNetwork(), settings)
    return tmp_path / "run" / "latest.safetensors"


@pytest.mark.slow
def test_a_flipped_bit_of_weights_is_refused(weights):
    content = weights.read_bytes()
    first = header_bits(content).stop
    bits = random.Random(0).sample(range(first, 8 * len(content)), N_FLIPS)
    assert check_flips(weights, bits, lambda: bool(checkpoint.load(weights))) == N_FLIPS


@pytest.mark.slow
def test_a_flipped_bit_of_the_header_is_refused_or_changes_nothing(weights):
    before = checkpoint.load(weights)

    def same() -> bool:
        found, header = checkpoint.load(weights), checkpoint.read_header(weights)
        told = (found.model_config, found.training_config, found.provenance, header.training)
        wanted = (before.model_config, before.training_config, before.provenance, None)
        pools = torch.equal(found.task_pools["pool"], before.task_pools["pool"])
        return told == wanted and pools and same_weights(found.model, before.model)

    bits = random.Random(1).sample(header_bits(weights.read_bytes()), N_FLIPS)
    assert check_flips(weights, bits, same) > 0.9 * N_FLIPS


@pytest.mark.slow
def test_a_flipped_bit_of_a_resumable_run_is_refused_or_changes_nothing(run):
    before = checkpoint.load_training_state(run)

    def same() -> bool:
        state = checkpoint.load_training_state(run)
        checkpoint.load(run, model=ToyNetwork())
        tensors = before.tensors.items()
        return (
            state.counters == before.counters
            and state.tensors.keys() == before.tensors.keys()
            and all(torch.equal(state.tensors[name], value) for name, value in tensors)
        )

    content = run.read_bytes()
    data = range(header_bits(content).stop, 8 * len(content))
    assert check_flips(run, random.Random(2).sample(data, N_FLIPS), same) == N_FLIPS
    check_flips(run, random.Random(3).sample(header_bits(content), N_FLIPS), same)


def rewritten(path: Path, change: Callable[[dict[str, Any]], Any], keep_digest: bool) -> None:
    """The checkpoint at `path` with a changed record; the record's digest goes unless kept."""
    with safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata())
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    record = json.loads(metadata["openpfn"])
    changed = change(record)
    metadata["openpfn"] = changed if isinstance(changed, str) else json.dumps(record)
    if not keep_digest:
        del metadata["openpfn_sha256"]
    save_file(tensors, path, metadata=metadata)


def test_a_changed_record_is_refused(weights):
    rewritten(weights, lambda record: record["provenance"].update(tasks=13), keep_digest=True)
    with pytest.raises(ValueError, match="its record is not the one that was written"):
        checkpoint.read_header(weights)


def test_a_file_without_hashes_loads(weights):
    before = checkpoint.load(weights).model
    rewritten(weights, lambda record: record.pop("sha256") and None, keep_digest=False)
    assert checkpoint.read_header(weights).digests == {}
    assert same_weights(checkpoint.load(weights).model, before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda record: "[1, 2", "is no JSON"),
        (lambda record: "[1, 2]", "tells no format"),
        (lambda record: "{}", "tells no format"),
        (lambda record: record.update(format="1"), "tells no format"),
        (lambda record: record.pop("provenance") and None, "no usable provenance"),
        (lambda record: record.update(model=7), "no usable model"),
        (lambda record: record.update(model_config=[]), "no usable model_config"),
        (lambda record: record.update(training="none"), "no usable training"),
        (lambda record: record.update(sha256=7), "no usable sha256"),
        (lambda record: record.update(model="tables"), "which this version does not know"),
        (lambda record: record.update(model=""), "holds a model of your own"),
        (lambda record: record["model_config"].update(d_model="4"), "TabularConfig that cannot be"),
        (lambda record: record["model_config"].update(n_heads=0), "TabularConfig that cannot be"),
        (lambda record: record["training_config"].update(device=[]), "TrainingConfig that cannot"),
    ],
)
def test_a_damaged_record_is_told_in_one_line(weights, capsys, change, message):
    rewritten(weights, change, keep_digest=False)
    with pytest.raises(ValueError, match=message):
        checkpoint.load(weights)
    cli.main(["info", str(weights)])
    told = capsys.readouterr()
    assert told.err.count("\n") == (1 if told.err else 0)


@pytest.mark.parametrize("begin", [b"PK\x03\x04", b"\x80\x02"])
def test_a_file_of_torch_save_is_shown_the_way_to_the_import(tmp_path, capsys, begin):
    path = tmp_path / "weights.pt"
    torch.save({"w": torch.zeros(3)}, path, _use_new_zipfile_serialization=begin[:1] == b"P")
    assert path.read_bytes().startswith(begin)
    assert cli.main(["info", str(path)]) == 2
    error = capsys.readouterr().err
    assert f"openpfn import {path} --kind nanotabpfn" in error
    assert error.count("\n") == 1


def test_the_name_of_shipped_weights_is_not_taken_over_by_a_file(tmp_path, monkeypatch, weights):
    monkeypatch.chdir(tmp_path)
    shipped = checkpoint.locate("tiny")
    (tmp_path / "tiny").mkdir()
    weights.rename(tmp_path / "tiny" / "latest.safetensors")
    assert checkpoint.locate("tiny") == shipped
    for ours in ("./tiny", Path("tiny"), "tiny/latest.safetensors"):
        assert checkpoint.locate(ours) == Path("tiny/latest.safetensors")
