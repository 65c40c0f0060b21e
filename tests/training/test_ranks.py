"""Laws of training by several ranks: their number changes neither the loss nor the tasks of a run,
and a run goes on with another number of them."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import pandas as pd
import pytest
import torch
from ranks_at_work import on_ranks
from toy_training import Seekable, ToyConfig, ToyNetwork, ToyPrior, batches_of

from openpfn import checkpoint
from openpfn.configs import TrainingConfig
from openpfn.training import TrainingStopped, train
from openpfn.training.batches import Batches
from openpfn.training.muon import orthogonalize, orthogonalize_shared
from openpfn.training.ranks import RankLost, Ranks, n_ranks

CALM = ToyConfig(dropout=0.0)


def config(folder=None, **changes) -> TrainingConfig:
    fields = {
        "num_steps": 20,
        "batch_size": 6,
        "learning_rate": 0.02,
        "n_workers": 0,
        "optimizer": "muon",
        "log_every": 2,
        "eval_every": 10,
        "device": "cpu",
        "save_checkpoint": folder is not None,
    }
    place = {} if folder is None else {"checkpoint_dir": str(folder)}
    return TrainingConfig(**fields | place | changes)


def losses(settings: TrainingConfig, source=None, size: int = 2, place=None, resume=None):
    """The history of a run on `size` ranks."""

    def run(ranks: Ranks):
        model = train(
            source or ToyPrior(), ToyNetwork(CALM), settings, ranks=ranks, resume_from=resume
        )
        return model.history, model.state_dict()

    if size == 1:
        return run(Ranks())[0]
    of_ranks = on_ranks(size, place, run)
    first = of_ranks[0][1]
    for _, weights in of_ranks[1:]:
        assert all(torch.equal(first[name], value) for name, value in weights.items())
    return of_ranks[0][0]


def assert_same_curve(one: pd.DataFrame, several: pd.DataFrame) -> None:
    for column in ("loss", "grad_norm", "eval_loss", "tasks"):
        difference = (one[column] - several[column]).abs()
        assert one[column].isna().equals(several[column].isna())
        assert difference.isna().all() or difference.max() < 1e-5, (column, difference.max())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("optimizer", "size", "accumulation"),
    [("muon", 2, 1), ("muon", 2, 2), ("muon", 3, 2), ("adamw", 4, 6), ("schedulefree", 2, 3)],
)
def test_the_number_of_ranks_does_not_change_the_losses(optimizer, size, accumulation, tmp_path):
    settings = config(optimizer=optimizer, accumulation=accumulation)
    assert_same_curve(losses(settings, size=1), losses(settings, size=size, place=tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize(("source", "accumulation"), [(Seekable, 2), (list, 1)])
def test_batches_of_ones_own_are_shared_too(source, accumulation, tmp_path):
    batches = batches_of(ToyPrior(), 7, 5)
    settings = config(accumulation=accumulation, eval_every=None)
    one = losses(settings, source(batches), size=1)
    several = losses(settings, source(batches), place=tmp_path)
    assert_same_curve(one, several)


def test_each_batch_is_trained_on_once_whatever_the_ranks():
    """Whole batches, where their number is a multiple of the ranks'."""
    seen = []
    for rank in range(3):
        batches = Batches(ToyPrior(), config(accumulation=6), torch.device("cpu"), Ranks(rank, 3))
        assert batches.per_step == 2
        seen += [batches.next(0) for _ in range(4)]
        assert batches.position == 12
    assert sorted(share.index for share in seen) == list(range(12))
    stream = Batches(ToyPrior(), config(), torch.device("cpu"), Ranks())
    alone = [stream.next(0).batch for _ in range(12)]
    for share in seen:
        assert torch.equal(share.batch.y, alone[share.index].y)


@pytest.mark.slow
def test_ranks_orthogonalize_together_what_one_does_alone(tmp_path):
    shapes = [(3, 4, 6), (1, 8, 8), (2, 6, 4)]
    stacks = [torch.randn(shape) for shape in shapes]
    alone = [orthogonalize(stack) for stack in stacks]
    for answer in on_ranks(3, tmp_path, lambda ranks: orthogonalize_shared(stacks, 5, ranks)):
        for ours, theirs in zip(answer, alone, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(2, 1), (1, 3)])
def test_a_run_goes_on_with_another_number_of_ranks(sizes, tmp_path):
    settings = config(tmp_path / "run", accumulation=2, eval_every=None)
    for size, steps in zip(sizes, (10, 20), strict=True):
        resume = tmp_path / "run" if steps == 20 else None
        history = losses(
            replace(settings, num_steps=steps, use_warmup=False),
            size=size,
            place=tmp_path / f"{size}",
            resume=resume,
        )
    unwarmed = losses(replace(settings, save_checkpoint=False, use_warmup=False), size=1)
    assert history["step"].iloc[-1] == 20
    assert_same_curve(unwarmed, history)
    header = checkpoint.read_header(tmp_path / "run")
    assert [stretch.get("ranks", 1) for stretch in header.provenance["stretches"]] == list(sizes)


@pytest.mark.slow
def test_the_speed_of_each_rank_is_written(tmp_path):
    losses(config(tmp_path / "run", log_every=10), place=tmp_path / "ranks")
    rows = pd.read_csv(tmp_path / "run" / "ranks.csv")
    assert list(zip(rows["step"], rows["rank"], strict=True)) == [
        (10, 0),
        (10, 1),
        (20, 0),
        (20, 1),
    ]
    assert (rows["tasks_per_second"] > 0).all()
    for share in ("wait_share", "sync_share"):
        assert rows[share].between(0, 1).all()


@pytest.mark.slow
def test_a_signal_to_any_rank_stops_all_and_saves(tmp_path):
    settings = config(tmp_path / "run", num_steps=100_000, save_every=100_000, log_every=100)

    class Signals(ToyPrior):
        is_second = False

        def sample(self, n_tasks, generator):
            if self.drawn == 5 and os.getpid() != parent and self.is_second:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().sample(n_tasks, generator)

    parent = os.getpid()

    def run(ranks: Ranks):
        prior = Signals()
        prior.is_second = ranks.rank == 1
        try:
            train(prior, ToyNetwork(CALM), settings, ranks=ranks)
        except TrainingStopped as stopped:
            return str(stopped)
        return ""

    first, second = on_ranks(2, tmp_path / "ranks", run)
    assert "stopped by SIGTERM" in first
    assert "stopped by SIGTERM" in second
    step = checkpoint.read_header(tmp_path / "run").provenance["step"]
    assert 5 <= step < 20
    assert f"at step {step}" in first


@pytest.mark.slow
def test_a_rank_that_dies_ends_the_run_which_then_goes_on(tmp_path):
    settings = config(tmp_path / "run", eval_every=None, save_every=5)
    expected = losses(replace(settings, save_checkpoint=False), size=1)

    def run(ranks: Ranks):
        try:
            prior = ToyPrior(fails_at=8 if ranks.rank == 1 else None)
            train(prior, ToyNetwork(CALM), settings, ranks=ranks)
        except RankLost as lost:
            return str(lost)
        except ArithmeticError:
            return "own error"
        return ""

    told = on_ranks(2, tmp_path / "ranks", run)
    assert "lost the others" in told[0]
    assert "--resume" in told[0]
    assert told[1] == "own error"
    step = checkpoint.read_header(tmp_path / "run").provenance["step"]
    assert 0 < step < 20
    history = losses(settings, place=tmp_path / "again", resume=tmp_path / "run")
    assert_same_curve(expected, history)


def test_without_torchrun_there_is_one_rank(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "4")  # some schedulers set it for a purpose of their own
    assert n_ranks() == 1
    monkeypatch.setenv("RANK", "0")
    assert n_ranks() == 4


def test_several_ranks_need_a_device_each():
    assert Ranks(1, 2, 1).device("cpu") == torch.device("cpu")
    with pytest.raises(ValueError, match="device"):
        Ranks(1, 2, 1).device("cuda:1")


def test_a_single_rank_leaves_everything_as_it_is():
    model = ToyNetwork(CALM)
    model.loss(ToyPrior().sample(2, torch.Generator())).backward()
    before = [parameter.grad.clone() for parameter in model.parameters()]
    figures = torch.ones(2)
    assert Ranks().sum_gradients(list(model.parameters()), figures) is figures
    assert all(torch.equal(a, b.grad) for a, b in zip(before, model.parameters(), strict=True))
