"""Training on dumps, as nanoTabPFN's and TinyPFN's scripts do."""

from __future__ import annotations

import warnings
from pathlib import Path

import pandas as pd
import pytest
import torch
from drawn_dumps import draw, write
from toy_training import ToyConfig, ToyNetwork, ToyPrior, batches_of, same_weights

from openpfn import PriorDumpDataLoader, TrainingConfig, checkpoint, plot_metric, train
from openpfn.configs import TabularConfig
from openpfn.device import get_default_device

NETWORK = TabularConfig(d_model=8, n_heads=2, n_layers=1, d_mlp=8, max_classes=3)


def config(**changes) -> TrainingConfig:
    return TrainingConfig(**{"save_checkpoint": False, "device": "cpu", "n_workers": 0} | changes)


@pytest.fixture
def dump(tmp_path) -> Path:
    return write(tmp_path / "d.h5", [draw(i, n_rows=12, n_train=6) for i in range(8)])


def evaluated_loss(model, batches) -> float:
    with torch.no_grad():
        return sum(float(model.loss(batch)) for batch in batches) / len(batches)


@pytest.mark.slow
def test_the_steps_of_a_loader_are_the_steps_of_the_run(dump):
    loader = PriorDumpDataLoader(dump, num_steps=5, batch_size=4)
    assert train(loader, NETWORK, config()).history["step"].iloc[-1] == 5
    assert train(loader, NETWORK, config(num_steps=3)).history["step"].iloc[-1] == 3
    slices = train(PriorDumpDataLoader(dump, 6, 4), NETWORK, config(accumulation=2))
    assert slices.history[["step", "tasks"]].iloc[-1].tolist() == [3, 24]
    assert train([*loader], NETWORK, config(num_steps=2)).history["step"].iloc[-1] == 2


@pytest.mark.slow
def test_a_loader_to_evaluate_on_is_read_whole_with_every_row_of_the_history(dump):
    loader = PriorDumpDataLoader(dump, 6, 4)
    eval_loader = PriorDumpDataLoader(dump, num_steps=12, batch_size=1, seed=1)
    settings = config(log_every=3, eval_batches=2)
    model = train(loader, NETWORK, settings, eval_data_generator=eval_loader)
    assert model.history["eval_auc"].notna().tolist() == [True, True]
    batches = list(PriorDumpDataLoader(dump, num_steps=12, batch_size=1, seed=1))
    expected = pytest.approx(evaluated_loss(model, batches), rel=1e-5)
    assert model.history["eval_loss"].iloc[-1] == expected


def test_a_list_is_evaluated_whole_and_a_prior_by_eval_batches():
    batches = batches_of(ToyPrior(), 5, 4)
    calm = ToyNetwork(ToyConfig(dropout=0.0))
    settings = config(num_steps=4, batch_size=4, eval_every=2, eval_batches=2)
    model = train(ToyPrior(), calm, settings, eval_data_generator=batches)
    expected = pytest.approx(evaluated_loss(model, batches))
    assert model.history["eval_loss"].iloc[-1] == expected
    prior = ToyPrior()
    train(ToyPrior(), calm, settings, eval_data_generator=prior)
    assert prior.drawn == 2


@pytest.mark.slow
def test_evaluations_on_a_loader_alone_use_batches_that_training_has_not_read(dump):
    seen, evaluated = [], PriorDumpDataLoader(dump, None, 4).for_evaluation(2)
    watch = [lambda event: seen.append(event.model) if event.kind == "eval" else None]
    settings = config(num_steps=6, eval_every=2, eval_batches=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = train(PriorDumpDataLoader(dump, 6, 4), NETWORK, settings, callbacks=watch)
    assert len(seen) == 3
    held_out = list(evaluated)
    assert len(held_out) == len(list(evaluated)) == 2
    first_six = list(PriorDumpDataLoader(dump, 6, 4))
    assert not any(torch.equal(a.y, b.y) for a in first_six for b in held_out)
    expected = pytest.approx(evaluated_loss(model, held_out), rel=1e-5)
    assert model.history["eval_loss"].iloc[-1] == expected
    with pytest.warns(UserWarning, match="use 2 of the 8 batches .* which the training of 7 steps"):
        train(PriorDumpDataLoader(dump, 7, 4), NETWORK, config(eval_every=7, eval_batches=2))


@pytest.mark.slow
def test_the_rows_of_tinypfn_run_as_written(dump):
    prior = PriorDumpDataLoader(dump, num_steps=4, batch_size=4, min_classes=2)
    network = TabularConfig(
        d_model=8, n_heads=2, d_mlp=8, n_layers=1, max_classes=3, attention_type="linear"
    )
    settings = config(learning_rate=4e-3, eval_every=25, optimizer="schedulefree", eval_batches=2)
    model = train(prior, network, settings)
    assert model.history["step"].iloc[-1] == 4
    assert model.history["eval_loss"].notna().iloc[-1]


@pytest.mark.slow
def test_the_rows_of_nanotabpfn_run_as_written(dump, tmp_path):
    device = get_default_device()
    prior = PriorDumpDataLoader(filename=dump, num_steps=4, batch_size=4, device=device)
    eval_loader = PriorDumpDataLoader(filename=dump, num_steps=6, batch_size=1, device=device)
    histories = {}
    for attention in ("Original", "Scratch"):
        network = TabularConfig(
            d_model=8, n_heads=2, d_mlp=8, n_layers=1, max_classes=3, attention_type=attention
        )
        model = train(prior, network, config(device=device), eval_data_generator=eval_loader)
        model.history.to_csv(tmp_path / f"{attention}.csv", index=False)
        histories[attention] = pd.read_csv(tmp_path / f"{attention}.csv")
    for kind in ("train loss vs time", "ROC vs step", "training time", "peak memory"):
        plot_metric(kind, histories)


def test_the_data_generator_may_be_called_by_its_other_name():
    one = train(ToyPrior(), ToyNetwork(), config(num_steps=2, batch_size=4))
    other = train(
        data_generator=ToyPrior(),
        model_config=ToyNetwork(),
        training_config=config(num_steps=2, batch_size=4),
    )
    assert same_weights(one, other)
    with pytest.raises(TypeError, match="mean the same"):
        train(ToyPrior(), ToyNetwork(), data_generator=ToyPrior())
    for names in ({}, {"path": "a.h5", "filename": "a.h5"}):
        with pytest.raises(TypeError, match="takes one file"):
            PriorDumpDataLoader(**names, num_steps=1, batch_size=1)


def test_an_untracked_run_keeps_its_checkpoints_and_goes_on_from_any(tmp_path):
    settings = config(
        num_steps=7, batch_size=4, save_every=3, save_checkpoint=True, checkpoint_dir=str(tmp_path)
    )
    whole = train(ToyPrior(), ToyNetwork(), settings)
    kept = {path.name for path in tmp_path.glob("*.safetensors")}
    assert kept == {
        "latest.safetensors",
        "latest.previous.safetensors",
        "step-3.safetensors",
        "step-6.safetensors",
    }
    for step in (3, 6):
        path = tmp_path / f"step-{step}.safetensors"
        assert checkpoint.read_header(path).provenance["step"] == step
    from_three = tmp_path / "step-3.safetensors"
    again = train(ToyPrior(), ToyNetwork(), settings, resume_from=from_three)
    assert same_weights(again, whole)


def test_the_memory_of_a_run_is_in_its_history():
    history = train(ToyPrior(), ToyNetwork(), config(num_steps=2, batch_size=4)).history
    assert 50 < history["peak_megabytes"].iloc[-1] < 100_000
