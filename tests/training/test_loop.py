"""What a run does step by step: it learns, accumulates, skips what is not finite, tells, and keeps
its history."""

from __future__ import annotations

import math

import pandas as pd
import pytest
import torch
from toy_training import ToyConfig, ToyNetwork, ToyPrior, batches_of, same_weights

from openpfn import checkpoint
from openpfn.batch import TaskBatch
from openpfn.configs import PriorConfig, TabularConfig, TrainingConfig
from openpfn.device import pick_device
from openpfn.priors.mixture import MixturePrior
from openpfn.training import train
from openpfn.training.tracking.console import ProgressLine, clock
from openpfn.training.tracking.history import COLUMNS, History, read_rows

CALM = ToyConfig(dropout=0.0)


def config(**changes) -> TrainingConfig:
    fields = {
        "num_steps": 20,
        "batch_size": 4,
        "learning_rate": 0.02,
        "n_workers": 0,
        "save_checkpoint": False,
        "use_warmup": False,
    }
    return TrainingConfig(**fields | changes)


class Poisoned(ToyPrior):
    """Tasks with an infinite value in the batches of these indices."""

    def __init__(self, *indices: int) -> None:
        super().__init__()
        self.indices = indices

    def sample(self, n_tasks: int, generator: torch.Generator) -> TaskBatch:
        index = self.drawn
        batch = super().sample(n_tasks, generator)
        if index in self.indices and batch.x is not None:
            batch.x[0, -1, 0] = math.nan
        return batch


@pytest.mark.slow
@pytest.mark.parametrize(
    ("optimizer", "rate"), [("adamw", 0.05), ("schedulefree", 0.1), ("muon", 0.02)]
)
def test_training_learns_the_task(optimizer, rate):
    settings = config(
        num_steps=80,
        batch_size=16,
        optimizer=optimizer,
        learning_rate=rate,
        log_every=5,
        eval_every=80,
    )
    model = train(ToyPrior(), ToyNetwork(CALM), settings)
    assert model.history["loss"].iloc[0] > 0.4
    assert model.history["eval_loss"].iloc[-1] < 0.2
    assert not model.training


@pytest.mark.slow
def test_the_table_network_learns_from_the_real_prior():
    prior = MixturePrior(PriorConfig(max_features=3, max_seq_len=40, max_classes=2))
    network = TabularConfig(d_model=8, n_heads=2, n_layers=2, d_mlp=16, max_classes=2)
    settings = config(
        num_steps=30,
        batch_size=16,
        optimizer="muon",
        learning_rate=0.003,
        eval_every=10,
        eval_batches=4,
        average_decay=0.5,
    )
    model = train(prior, network, settings)
    losses = model.history["eval_loss"].dropna().tolist()
    assert losses[-1] < losses[0]
    assert 0 <= model.history["eval_accuracy"].iloc[-1] <= 1
    assert 0 <= model.history["eval_auc"].iloc[-1] <= 1


def test_accumulated_batches_are_one_bigger_batch():
    small = batches_of(ToyPrior(), 6, 4)
    pairs = [
        TaskBatch(x=torch.cat([a.x, b.x]), y=torch.cat([a.y, b.y]), n_train=4)
        for a, b in zip(small[::2], small[1::2], strict=True)
    ]
    accumulated = train(small, ToyNetwork(CALM), config(num_steps=3, accumulation=2))
    together = train(pairs, ToyNetwork(CALM), config(num_steps=3))
    for a, b in zip(accumulated.parameters(), together.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)
    assert accumulated.history["tasks"].iloc[-1] == together.history["tasks"].iloc[-1] == 24
    assert accumulated.history["loss"].iloc[-1] == pytest.approx(
        together.history["loss"].iloc[-1], rel=1e-5
    )


def test_a_step_that_is_not_finite_is_skipped_and_counted():
    model = train(Poisoned(3, 4, 11), ToyNetwork(CALM), config(log_every=20, average_decay=0.5))
    assert model.history["nan_losses"].iloc[-1] == 3
    assert all(torch.isfinite(p).all() for p in model.parameters())
    assert math.isfinite(model.history["loss"].iloc[-1])


def test_a_skipped_step_leaves_weights_and_average_alone():
    weights = []
    remember = [
        lambda e: (
            weights.append(e.model.decoder.weight.detach().clone()) if e.kind == "step" else None
        )
    ]
    train(Poisoned(3), ToyNetwork(CALM), config(num_steps=5, optimizer="muon"), callbacks=remember)
    assert torch.equal(weights[3], weights[2])
    assert not torch.equal(weights[4], weights[3])


def test_losses_that_stay_non_finite_end_the_run_and_leave_its_checkpoint(tmp_path):
    settings = config(
        num_steps=50,
        max_nan_losses=4,
        save_checkpoint=True,
        save_every=5,
        checkpoint_dir=str(tmp_path),
    )
    with pytest.raises(
        FloatingPointError, match="last 4 losses or gradients were not finite, up to step 15"
    ):
        train(Poisoned(7, *range(11, 50)), ToyNetwork(CALM), settings)
    state = checkpoint.load_training_state(tmp_path).counters
    assert (state["step"], state["nan_losses"]) == (10, 1)


def test_clipping_bounds_the_gradient():
    def largest(**changes) -> float:
        model = ToyNetwork(CALM)
        norms = []

        def look(event):
            norms.append(event.figures["grad_norm"]) if event.kind == "step" else None

        train(ToyPrior(), model, config(num_steps=1, **changes), callbacks=[look])
        return norms[0]

    assert (
        largest(grad_clip=1e-3) == largest(use_grad_clip=False) > 1e-3
    )  # the history tells the norm before clipping
    moved = [
        train(ToyPrior(), ToyNetwork(CALM), config(num_steps=2, grad_clip=clip)).decoder.weight
        for clip in (1e-9, 1.0)
    ]
    assert (moved[0] - ToyNetwork(CALM).decoder.weight).abs().max() < (
        moved[1] - ToyNetwork(CALM).decoder.weight
    ).abs().max()


def test_bfloat16_trains_float32_weights_to_nearly_the_same():
    coarse = train(ToyPrior(), ToyNetwork(CALM), config(precision="bfloat16"))
    fine = train(ToyPrior(), ToyNetwork(CALM), config())
    assert all(p.dtype == torch.float32 for p in coarse.parameters())
    assert not same_weights(coarse, fine)
    assert coarse.history["loss"].iloc[-1] == pytest.approx(fine.history["loss"].iloc[-1], rel=0.02)


def test_the_history_has_a_row_per_logged_or_evaluated_step_and_one_at_the_end():
    model = train(
        ToyPrior(), ToyNetwork(), config(num_steps=23, log_every=5, eval_every=8, eval_batches=1)
    )
    assert list(model.history["step"]) == [5, 8, 10, 15, 16, 20, 23]
    assert list(model.history.columns) == list(COLUMNS)
    evaluated = model.history.dropna(subset=["eval_loss"])
    assert list(evaluated["step"]) == [8, 16, 23]
    assert list(model.history["tasks"]) == [4 * s for s in model.history["step"]]
    assert model.history["seconds"].is_monotonic_increasing


def test_a_row_tells_the_mean_loss_since_the_row_before():
    losses = []
    watch = [lambda event: event.kind == "step" and losses.append(event.figures["loss"])]
    model = train(ToyPrior(), ToyNetwork(), config(num_steps=6, log_every=3), callbacks=watch)
    assert model.history["loss"].tolist() == pytest.approx(
        [sum(losses[:3]) / 3, sum(losses[3:]) / 3]
    )


def test_evaluations_use_tasks_that_training_never_sees_and_stay_the_same():
    seen = []

    class Watched(ToyPrior):
        def sample(self, n_tasks: int, generator: torch.Generator) -> TaskBatch:
            seen.append(generator.initial_seed())
            return super().sample(n_tasks, generator)

    train(Watched(), ToyNetwork(), config(num_steps=10, eval_every=2, eval_batches=3))
    assert len(seen) == len(set(seen)) == 13


def test_evaluation_on_tasks_of_ones_own():
    batches = batches_of(ToyPrior(), 4, 8)
    model = train(
        ToyPrior(),
        ToyNetwork(CALM),
        config(eval_every=10, eval_batches=3),
        eval_data_generator=(b for b in batches),
    )
    with torch.no_grad():
        expected = sum(float(model.loss(b)) for b in batches[:3]) / 3
    assert model.history["eval_loss"].iloc[-1] == pytest.approx(expected)


def test_the_precision_of_a_run_does_not_reach_the_tasks_of_its_evaluations():
    def tasks():
        for batch in batches_of(ToyPrior(), 2, 4):
            seen.append(torch.is_autocast_enabled("cpu"))
            yield batch

    seen: list[bool] = []
    train(
        ToyPrior(),
        ToyNetwork(),
        config(num_steps=2, eval_every=2, precision="bfloat16"),
        eval_data_generator=tasks(),
    )
    assert seen == [False, False]


def test_evaluations_without_a_source_of_tasks_are_refused_at_once():
    with pytest.raises(ValueError, match="Give eval_data_generator"):
        train(batches_of(ToyPrior(), 2, 4), ToyNetwork(), config(eval_every=5))


@pytest.mark.parametrize("source", [None, "mlp", {}, torch.zeros(2, 3)])
def test_what_gives_no_tasks_is_refused_at_once(source):
    with pytest.raises(TypeError, match="tasks cannot come from a"):
        train(source, ToyNetwork(CALM), config())


def test_batches_of_another_kind_are_told():
    with pytest.raises(TypeError, match="gave a tuple, expected a TaskBatch"):
        train([(torch.zeros(2, 3), torch.zeros(2))], ToyNetwork(CALM), config())


def test_a_file_is_no_folder_for_a_run(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(FileExistsError, match="taken is a file, but a run needs a folder"):
        train(
            ToyPrior(),
            ToyNetwork(CALM),
            config(checkpoint_dir=str(tmp_path / "taken"), save_checkpoint=True),
        )


def test_the_best_weights_are_kept(tmp_path):
    settings = config(
        num_steps=40,
        learning_rate=3.0,
        eval_every=5,
        eval_batches=2,
        save_checkpoint=True,
        checkpoint_dir=str(tmp_path),
    )
    model = train(ToyPrior(), ToyNetwork(CALM), settings)
    best = checkpoint.load(tmp_path / "best.safetensors", model=ToyNetwork(CALM))
    assert best.provenance["eval_loss"] == model.history["eval_loss"].min()
    assert best.provenance["step"] == model.history.set_index("step")["eval_loss"].idxmin()


def test_callbacks_are_told_what_happens(tmp_path):
    class Watcher:
        def __init__(self) -> None:
            self.steps, self.files = [], []

        def on_step(self, event):
            self.steps.append(event.step)

        def on_checkpoint(self, event):
            self.files.append((event.step, event.path))

    watcher, kinds = Watcher(), []
    settings = config(
        num_steps=6,
        save_every=4,
        log_every=3,
        eval_every=6,
        save_checkpoint=True,
        checkpoint_dir=str(tmp_path),
    )
    train(
        ToyPrior(),
        ToyNetwork(),
        settings,
        callbacks=[watcher, lambda event: kinds.append(event.kind)],
    )
    assert watcher.steps == [1, 2, 3, 4, 5, 6]
    assert watcher.files == [
        (4, tmp_path / "latest.safetensors"),
        (6, tmp_path / "latest.safetensors"),
    ]
    assert kinds.count("log") == 2
    assert kinds.count("eval") == 1


def test_a_history_file_survives_a_line_cut_short(tmp_path):
    path = tmp_path / "history.csv"
    history = History(path)
    for step in (1, 2, 3):
        history.append({"step": step, "loss": 1 / step})
    history.close()
    path.write_text(path.read_text() + "4,0.1")
    rows = read_rows(path, last_step=2)
    assert [row["step"] for row in rows] == [1, 2]
    assert len(read_rows(path)) == 3
    again = History(path, rows)
    again.append({"step": 3, "loss": 0.5})
    again.close()
    assert pd.read_csv(path)["loss"].tolist() == [1, 0.5, 0.5]


def test_another_csv_is_no_history(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    with pytest.raises(ValueError, match="no training history"):
        read_rows(tmp_path / "a.csv")


def test_a_log_gets_plain_lines(capsys):
    line = ProgressLine(0, 10)
    line.step(5)
    line.row(
        {
            "loss": 0.5,
            "tasks_per_second": 120.0,
            "eval_loss": 0.25,
            "eval_accuracy": 0.875,
            "nan_losses": 2,
        }
    )
    line.close()
    printed = capsys.readouterr().err
    assert printed.startswith(
        "step 5/10  loss 0.5000  120 tasks/s  eval loss 0.2500  accuracy 0.875  2 losses not finite"
    )
    assert clock(3725) == "1:02:05"


def test_a_device_that_is_not_there_is_told():
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="finds no CUDA device"):
            pick_device("cuda")
    assert pick_device("cpu").type == "cpu"


@pytest.mark.compile
@pytest.mark.slow  # half a minute of compiling on an idle machine
def test_a_compiled_network_learns_the_same():
    losses = [
        train(ToyPrior(), ToyNetwork(CALM), config(compile=on)).history["loss"].iloc[-1]
        for on in (False, True)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
