"""Laws of training in stages: each begins where the one before ended, and a plan can be resumed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from openpfn import checkpoint
from openpfn.configs import PriorConfig, TabularConfig, TrainingConfig
from openpfn.configs.plan import Plan, Stage
from openpfn.training.plan import stage_prior, steps_done, train_plan

TASKS = PriorConfig(max_features=3, max_seq_len=16, max_classes=3, learnable=False)
NETWORK = TabularConfig(d_model=8, n_heads=2, n_layers=1, d_mlp=8, max_classes=3)
TRAINING = TrainingConfig(num_steps=3, batch_size=2, log_every=1, n_workers=0)


def plan_of(steps: int = 2, replay: float = 0.5) -> Plan:
    longer = replace(TASKS, max_seq_len=24)
    second = Stage("long", replace(TRAINING, num_steps=steps), longer, replay)
    return Plan(NETWORK, "scm_mlp", (Stage("short", TRAINING, TASKS), second))


@pytest.mark.slow
def test_a_stage_begins_with_the_weights_of_the_one_before(tmp_path) -> None:
    train_plan(plan_of(), tmp_path)
    again = TrainingConfig(
        num_steps=2,
        batch_size=2,
        log_every=1,
        n_workers=0,
        init_from=str(tmp_path / "1-short"),
        checkpoint_dir=str(tmp_path / "by-hand"),
    )
    from openpfn.training import train

    by_hand = train(stage_prior(plan_of(), plan_of().stages[1]), NETWORK, again)
    stage = checkpoint.load(tmp_path / "2-long").model
    for name, value in by_hand.state_dict().items():
        assert torch.equal(value, stage.state_dict()[name]), name


@pytest.mark.slow
def test_resuming_leaves_finished_stages_and_continues_a_raised_one(tmp_path) -> None:
    train_plan(plan_of(), tmp_path)
    before = (tmp_path / "1-short" / "latest.safetensors").read_bytes()
    with pytest.raises(FileExistsError, match="--resume"):
        train_plan(plan_of(), tmp_path)
    train_plan(plan_of(steps=5), tmp_path, resume=True)
    assert (tmp_path / "1-short" / "latest.safetensors").read_bytes() == before
    assert [steps_done(tmp_path / name) for name in ("1-short", "2-long")] == [3, 5]
    model = train_plan(plan_of(steps=5), tmp_path, resume=True)  # nothing is left to do
    assert model.config == NETWORK


@pytest.mark.slow
def test_a_checkpoint_records_all_stages(tmp_path) -> None:
    train_plan(plan_of(), tmp_path)
    data = checkpoint.read_header(tmp_path / "2-long").provenance["data"]
    assert data["stage"] == "long"
    assert [(stage["stage"], stage["step"]) for stage in data["stages_before"]] == [("short", 3)]
    assert data["config"]["max_seq_len"] == 24


@pytest.mark.slow
def test_replay_draws_its_share_of_batches_from_the_first_stage() -> None:
    plan = plan_of(replay=0.3)
    prior, generator = stage_prior(plan, plan.stages[1]), torch.Generator().manual_seed(0)
    lengths = [prior.sample(1, generator).n_rows for _ in range(200)]
    assert set(lengths) == {16, 24}
    assert 0.2 < lengths.count(16) / 200 < 0.4
