"""Checkpoints give back what was put in, hold no code, and say what is wrong with a file that is
none."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from toy_training import ToyNetwork, ToyPrior, killed_after, same_weights

from openpfn import checkpoint
from openpfn.batch import TaskBatch
from openpfn.configs import PRESETS, PriorConfig, TabularConfig, TrainingConfig, preset
from openpfn.models import PFN
from openpfn.training import train


def network(seed: int = 0, **changes) -> torch.nn.Module:
    torch.manual_seed(seed)
    return PFN(
        TabularConfig(
            **{"d_model": 8, "n_heads": 2, "n_layers": 2, "d_mlp": 8, "column_shifts": (0, 1)}
            | changes
        )
    )


def rewritten(path: Path, **changes) -> Path:
    """The checkpoint at `path` with other entries in its record."""
    with safe_open(path, framework="pt") as file:
        record = json.loads(file.metadata()["openpfn"]) | changes
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(tensors, path, metadata={"openpfn": json.dumps(record)})
    return path


@pytest.mark.parametrize("name", ["micro", "tiny"])
def test_a_model_comes_back_as_it_was(tmp_path, name):
    torch.manual_seed(1)
    model = PFN(preset(name))
    training = TrainingConfig(optimizer="muon", num_steps=7)
    checkpoint.save(
        tmp_path / "m.safetensors",
        model,
        training_config=training,
        provenance={"tasks": 12, "data": PriorConfig()},
    )
    loaded = checkpoint.load(tmp_path / "m.safetensors")
    assert same_weights(model, loaded.model)
    assert loaded.model_config == model.config == PRESETS[name]
    assert loaded.training_config == training
    assert loaded.provenance["tasks"] == 12
    assert loaded.provenance["data"]["max_features"] == 100
    batch = TaskBatch(x=torch.randn(2, 9, 3), y=torch.randint(0, 2, (2, 9)).float(), n_train=6)
    assert torch.equal(loaded.model(batch), model.eval()(batch))


def test_tied_weights_are_kept(tmp_path):
    model = network()
    model.layers[1].mlp = model.layers[0].mlp  # pyright: ignore[reportAttributeAccessIssue, reportIndexIssue]
    checkpoint.save(tmp_path / "m.safetensors", model)
    assert same_weights(model, checkpoint.load(tmp_path / "m.safetensors").model)


def test_a_training_checkpoint_is_a_usable_model_and_plain_safetensors(tmp_path):
    config = TrainingConfig(
        num_steps=8,
        batch_size=4,
        average_decay=0.5,
        n_workers=0,
        checkpoint_dir=str(tmp_path),
        learning_rate=0.1,
    )
    model = train(ToyPrior(), ToyNetwork(), config, data_config={"from": "dice"})
    loaded = checkpoint.load(tmp_path, model=ToyNetwork(seed=3))
    assert same_weights(loaded.model, model)
    assert loaded.training_config == config
    told = loaded.provenance
    assert (told["step"], told["tasks"], told["seed"], told["data"], told["torch"]) == (
        8,
        32,
        0,
        {"from": "dice"},
        torch.__version__,
    )
    with safe_open(tmp_path / "latest.safetensors", framework="pt") as file:
        assert torch.equal(file.get_tensor("decoder.weight"), model.decoder.weight)
        assert not torch.equal(
            file.get_tensor("@training/raw/decoder.weight"), model.decoder.weight
        )


def test_the_checkpoint_before_is_kept(tmp_path):
    config = TrainingConfig(
        num_steps=6, save_every=3, batch_size=4, n_workers=0, checkpoint_dir=str(tmp_path)
    )
    train(ToyPrior(), ToyNetwork(), config)
    assert (
        checkpoint.load_training_state(tmp_path / "latest.previous.safetensors").counters["step"]
        == 3
    )
    latest = tmp_path / "latest.safetensors"
    latest.write_bytes(latest.read_bytes()[:-100])
    with pytest.raises(
        ValueError, match=r"not a whole safetensors file.*kept in .*latest\.previous\.safetensors"
    ):
        checkpoint.load(tmp_path, model=ToyNetwork())


@pytest.mark.slow
def test_a_writer_killed_at_any_moment_leaves_a_whole_file(tmp_path):
    model = ToyNetwork()

    def write_forever() -> None:
        while True:
            checkpoint.save(tmp_path / "latest.safetensors", model, keep_previous=True)

    for k in range(6):
        killed_after(0.007 * k, tmp_path, write_forever)
        assert same_weights(checkpoint.load(tmp_path, model=ToyNetwork(seed=4)).model, model)


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "m.safetensors"
    checkpoint.save(path, network())
    before = path.read_bytes()
    broken = network()
    broken.register_buffer(
        "odd", torch.zeros(2, dtype=torch.complex128)
    )  # safetensors knows no such type
    with pytest.raises(Exception, match=r"(?i)complex"):
        checkpoint.save(path, broken)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["m.safetensors"]


def test_others_may_read_the_file(tmp_path):
    old = os.umask(0o022)
    try:
        path = checkpoint.save(tmp_path / "m.safetensors", network())
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a whole safetensors file"),
        (b"hello world, this is no tensor", "not a whole safetensors file"),
    ],
)
def test_a_broken_file_is_told(tmp_path, content, message):
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        checkpoint.load(tmp_path / "x.safetensors")


def test_foreign_and_newer_files_are_told(tmp_path):
    save_file({"w": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(ValueError, match="without OpenPFN's record"):
        checkpoint.load(tmp_path / "foreign.safetensors")
    path = checkpoint.save(tmp_path / "m.safetensors", network())
    with pytest.raises(ValueError, match="format 99; this version reads up to 1"):
        checkpoint.load(rewritten(path, format=99))
    with pytest.raises(ValueError, match="sets wings of TabularConfig"):
        checkpoint.load(rewritten(path, format=1, model_config={"wings": 2}))
    with pytest.raises(ValueError, match="does not know"):
        checkpoint.load(rewritten(path, model="hologram"))
    with pytest.raises(ValueError, match="does not fit"):
        checkpoint.load(rewritten(path, model="tabular", model_config={"d_model": 16}))


def test_a_missing_file_or_name_lists_what_there_is(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        checkpoint.load(tmp_path / "nothing.safetensors")
    with pytest.raises(FileNotFoundError, match="a shipped name"):
        checkpoint.load("gigantic")


def test_a_model_of_ones_own_is_asked_for_and_names_no_code_to_run(tmp_path):
    path = checkpoint.save(tmp_path / "own.safetensors", ToyNetwork())
    assert checkpoint.read_header(path).model == "toy_training:ToyConfig"
    with pytest.raises(ValueError, match="build it and pass it as model="):
        checkpoint.load(path)
    assert same_weights(checkpoint.load(path, model=ToyNetwork(seed=2)).model, ToyNetwork())


def test_every_shipped_checkpoint_loads_and_predicts():
    batch = TaskBatch(
        x=torch.randn(1, 9, 3),
        y=torch.tensor([[0.0, 1, 0, 1, 0, 1, 0, 1, 0]]),
        n_train=8,
        n_classes=torch.tensor([2]),
    )
    for name in checkpoint.shipped_names("tabular"):
        loaded = checkpoint.load(name)
        assert loaded.model(batch)[..., :2].isfinite().all()
        assert loaded.provenance["tasks"] > 0
        assert checkpoint.read_header(name).digests[""]  # so that damage is noticed


def test_pools_of_tasks_are_kept_beside_the_weights(tmp_path):
    toy, pool = ToyNetwork(), torch.randn(5, 3)
    checkpoint.save(tmp_path / "a.safetensors", toy, task_pools={"tasks": pool})
    found = checkpoint.load(tmp_path / "a.safetensors", model=ToyNetwork(seed=1))
    assert torch.equal(found.task_pools["tasks"], pool)
    assert same_weights(found.model, toy)
    assert (
        checkpoint.read_header(tmp_path / "a.safetensors").shapes.keys() == toy.state_dict().keys()
    )


def test_arrays_in_a_record_become_lists(tmp_path):
    data = {"borders": torch.tensor([0.5, 1.5]), "n": torch.tensor(3), "path": Path("a")}
    checkpoint.save(tmp_path / "a.safetensors", ToyNetwork(), provenance={"data": data})
    recorded = checkpoint.read_header(tmp_path / "a.safetensors").provenance
    assert recorded["data"] == {"borders": [0.5, 1.5], "n": 3, "path": "a"}
