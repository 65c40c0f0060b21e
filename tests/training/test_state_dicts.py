"""`checkpointing`: what goes in as `state_dict`s comes out, without pickle, whatever the file is
called."""

from __future__ import annotations

import pytest
import torch
from safetensors import safe_open
from tiny_runs import NETWORK, trained
from toy_training import ToyPrior, batches_of, same_weights

from openpfn import checkpointing
from openpfn.configs import TrainingConfig
from openpfn.models import PFN
from openpfn.training import train


def stepped(n_steps: int, model=None, optimizer_state=None):
    """A network and its optimizer after some steps on fixed batches, begun from a state or anew."""
    torch.manual_seed(0)
    model = PFN(NETWORK) if model is None else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    if optimizer_state is not None:
        optimizer.load_state_dict(optimizer_state)
    for batch in batches_of(ToyPrior(), n_steps, 4):
        optimizer.zero_grad()
        model.loss(batch).backward()
        optimizer.step()
    return model, optimizer


def test_a_loop_of_ones_own_continues_exactly(tmp_path):
    path = tmp_path / "model.pt"
    model, optimizer = stepped(3)
    settings = TrainingConfig(num_steps=3)
    checkpointing.save_checkpoint(
        checkpoint_path=path,
        step=10_000,
        model_state=model.state_dict(),
        model_config=NETWORK,
        training_config=settings,
        optimizer_state=optimizer.state_dict(),
        data_config={"num_tasks": 5},
        task_pools={"w": torch.eye(2)},
    )
    with safe_open(path, framework="pt") as file:
        assert "openpfn" in file.metadata()
    loaded, state, metadata = checkpointing.load_checkpoint(
        checkpoint_path=path, device="cpu", load_optimizer=True
    )
    assert same_weights(loaded, model)
    assert (metadata.step, metadata.model_config, metadata.training_config) == (
        10_000,
        NETWORK,
        settings,
    )
    assert (metadata.data_config, metadata.wandb_run_url) == ({"num_tasks": 5}, None)
    assert torch.equal(metadata.task_pools["w"], torch.eye(2))
    assert state["param_groups"] == optimizer.state_dict()["param_groups"]
    assert same_weights(
        stepped(2, loaded.train(), state)[0], stepped(2, model, optimizer.state_dict())[0]
    )


def test_the_optimizer_is_loaded_only_where_it_is_asked_for_and_there(tmp_path):
    model, optimizer = stepped(1)
    for name, state in (("with", optimizer.state_dict()), ("without", None)):
        checkpointing.save_checkpoint(
            tmp_path / name, 1, model.state_dict(), NETWORK, optimizer_state=state
        )
    assert checkpointing.load_checkpoint(tmp_path / "with", "cpu")[1] is None
    assert (
        checkpointing.load_checkpoint(tmp_path / "without", "cpu", load_optimizer=True)[1] is None
    )
    with pytest.raises(ValueError, match="was not written by a run of train"):
        train(
            ToyPrior(),
            NETWORK,
            TrainingConfig(save_checkpoint=False, n_workers=0),
            resume_from=tmp_path / "with",
        )


def test_the_optimizer_of_a_run_fits_one_over_all_parameters(tmp_path):
    model = trained(tmp_path)
    loaded, state, metadata = checkpointing.load_checkpoint(tmp_path, "cpu", load_optimizer=True)
    assert same_weights(loaded, model)
    assert metadata.step == 4
    optimizer = torch.optim.AdamW(loaded.parameters())
    optimizer.load_state_dict(state)
    assert {float(entry["step"]) for entry in optimizer.state.values()} == {4.0}
    assert all(
        entry["exp_avg"].shape == parameter.shape for parameter, entry in optimizer.state.items()
    )


def test_the_state_of_another_optimizer_is_refused(tmp_path):
    trained(tmp_path, optimizer="schedulefree")
    with pytest.raises(
        ValueError, match="state of schedulefree, which none of torch's optimizers takes"
    ):
        checkpointing.load_checkpoint(tmp_path, "cpu", load_optimizer=True)


def test_weights_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ValueError, match="model_state does not fit a TabularPFN"):
        checkpointing.save_checkpoint(tmp_path / "a", 1, {"x": torch.ones(1)}, NETWORK)
    assert not (tmp_path / "a").exists()


def test_a_checkpoint_that_stands_there_is_replaced(tmp_path):
    state = PFN(NETWORK).state_dict()
    for step in (1, 2):
        checkpointing.save_checkpoint(tmp_path / "a", step, state, NETWORK)
    assert checkpointing.load_checkpoint(tmp_path / "a", "cpu")[2].step == 2
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    with pytest.raises(IsADirectoryError, match="is a folder"):
        checkpointing.save_checkpoint(tmp_path, 1, state, NETWORK)
