"""Networks that read classes as numbers, such as the published ones, meet them in their order."""

from __future__ import annotations

import numpy as np
import pytest

from openpfn import PFN, PFNClassifier
from openpfn.configs.published import PublishedConfig


@pytest.mark.parametrize("n_estimators", [1, 6])
def test_classes_that_are_numbers_to_the_network_stay_in_their_order(n_estimators, monkeypatch):
    network = PFN(PublishedConfig(d_model=8, n_heads=2, n_layers=1, d_mlp=8, max_classes=3))
    seen = []
    summarize = network.summarize

    def watched(batch):
        seen.extend(np.bincount(labels, minlength=3) for labels in batch.y.long().numpy())
        return summarize(batch)

    monkeypatch.setattr(network, "summarize", watched)
    names = np.array(["c", "c", "c", "b", "b", "a"])  # the last class is the most frequent
    X = np.arange(12.0).reshape(6, 2)
    classifier = PFNClassifier(model=network, n_estimators=n_estimators).fit(X, names)
    assert classifier.predict_proba(X).shape == (6, 3)
    assert {tuple(counts) for counts in seen} == {(1, 2, 3)}
