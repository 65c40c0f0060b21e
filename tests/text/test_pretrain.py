"""Laws of pretraining: pure batches, resuming bit for bit, early stopping, the right encoder."""

from __future__ import annotations

import signal
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from openpfn import TrainingConfig, checkpoint
from openpfn.configs.text import TextTrainingConfig
from openpfn.text import pretrain as module
from openpfn.text.batches import pure_batches
from openpfn.text.pretrain import TaskTable, pretrain
from openpfn.text.scores import auc
from openpfn.training import TrainingStopped
from tests.text.cell_tables import SMALL, LetterEncoder, cell_table

TABLES = [
    TaskTable("words", cell_table("classification", 40), cell_table("classification", 20, 1)),
    TaskTable("sizes", cell_table("regression", 30), cell_table("regression", 20, 1)),
]
NETWORK = replace(SMALL, dropout=0.1)


def run(folder, n_epochs=3, encoder=None, tables=TABLES, resume=False, **options) -> Any:
    text = {"n_epochs": n_epochs, "rows_per_epoch": 32, "patience": n_epochs + 1}
    config = TrainingConfig(
        batch_size=8, accumulation=2, learning_rate=3e-3, checkpoint_dir=str(folder), device="cpu"
    )
    return pretrain(
        tables,
        encoder or LetterEncoder(),
        NETWORK,
        config,
        TextTrainingConfig(**text | options),
        resume=resume,
    )


def test_a_batch_holds_rows_of_one_table_each_at_most_once_and_not_too_many():
    for epoch in range(3):
        batches = pure_batches([50, 7], 8, 20, seed=1, epoch=epoch)
        for table, n in enumerate([50, 7]):
            rows = np.concatenate([rows for number, rows in batches if number == table])
            assert len(rows) == len(set(rows.tolist())) == min(20, n)
            assert rows.max() < n
    first, again, other = (pure_batches([50, 7], 8, 20, seed=1, epoch=e) for e in (0, 0, 1))
    assert [rows.tolist() for _, rows in first] == [rows.tolist() for _, rows in again]
    assert [rows.tolist() for _, rows in first] != [rows.tolist() for _, rows in other]


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not(tmp_path, monkeypatch):
    whole = run(tmp_path / "whole", column_dropout=0.4)
    step = module._Pretraining.step

    def stopping(self):
        step(self)
        if self.counters.step == 5:
            self.stop(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(module._Pretraining, "step", stopping)
        with pytest.raises(TrainingStopped, match="step 5"):
            run(tmp_path / "halves", column_dropout=0.4)
    halves = run(tmp_path / "halves", column_dropout=0.4, resume=True)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(halves.state_dict()[name], tensor)
    figures = ["step", "loss", "eval_loss", "eval_auc", "eval_r2"]
    assert whole.history[figures].equals(halves.history[figures])


@pytest.mark.slow
def test_training_learns_and_gives_the_network_of_the_best_epoch(tmp_path):
    encoder = LetterEncoder()
    network = run(tmp_path / "run", n_epochs=8, encoder=encoder)
    assert encoder.n_encoded == 2 * 15  # the strings of each table, once
    losses = network.history["eval_loss"].dropna()
    assert losses.min() < losses.iloc[0]
    header = checkpoint.read_header(tmp_path / "run" / "best.safetensors")
    assert header.provenance["step"] == network.history["step"][losses.idxmin()]
    assert header.config.encoder_fingerprint == "letters-8"
    best = checkpoint.load(tmp_path / "run" / "best.safetensors").model.state_dict()
    assert all(torch.equal(best[name], tensor) for name, tensor in network.state_dict().items())


@pytest.mark.slow
def test_training_stops_where_the_score_no_longer_rises(tmp_path, monkeypatch):
    scores = iter([0.1, 0.1, 0.5, 0.5, 0.4, 0.4] + 20 * [0.3])
    monkeypatch.setattr(module, "score", lambda *_: next(scores))
    network = run(tmp_path / "run", n_epochs=9, patience=2)
    assert network.history["eval_loss"].dropna().round(6).tolist() == [0.9, 0.5, 0.6, 0.7]


def test_another_text_encoder_is_refused(tmp_path):
    network = replace(NETWORK, encoder_fingerprint="letters-8")
    with pytest.raises(ValueError, match=r"fingerprint letters-8.*not with one of fingerprint x"):
        module.check_encoder(network, LetterEncoder("x"))


def test_no_table_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no table to train on"):
        run(tmp_path / "run", tables=[])


def test_the_area_under_the_curve_takes_the_classes_that_occur():
    labels = np.array([0, 0, 2, 2])
    perfect = np.array([[0.8, 0.1, 0.1], [0.5, 0.3, 0.2], [0.1, 0.7, 0.2], [0.1, 0.1, 0.8]])
    assert auc(labels, perfect) == 1.0
    assert np.isnan(auc(np.zeros(3, dtype=int), perfect[:3]))
    flat = np.full((6, 3), 1 / 3)
    assert auc(np.array([0, 1, 2, 0, 1, 2]), flat) == pytest.approx(0.5)
