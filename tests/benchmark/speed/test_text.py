"""Laws of the training step on tables of text: nothing changes with what is encoded but time."""

from __future__ import annotations

import numpy as np
import torch

from openpfn.benchmark.speed.text import ways
from openpfn.models.text.network import TextTableNetwork
from tests.text.cell_tables import SMALL, LetterEncoder, cell_table


class CountingEncoder(LetterEncoder):
    def embed(self, texts):
        return self.encode(texts)


def steps(task: str):
    """Return the loss, the gradients and the number of encoded strings of each way."""
    torch.manual_seed(0)
    network, encoder, table = TextTableNetwork(SMALL), CountingEncoder(), cell_table(task)
    found = {}
    for name, step in ways(network, encoder, table).items():
        network.zero_grad()
        before = encoder.n_encoded
        loss = float(step(np.arange(20)).detach())
        gradients = {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}
        found[name] = loss, gradients, encoder.n_encoded - before
    return found


def test_every_cell_distinct_strings_and_kept_vectors_give_the_same_loss_and_gradients():
    for task in ("classification", "regression"):
        found = steps(task)
        loss, gradients, n_encoded = found["cells"]
        n_targets = 2 if task == "classification" else 1
        assert n_encoded == 20 * 3 + n_targets
        assert gradients
        for name, n_expected in (("strings", 12 + n_targets), ("kept", 0)):
            other, others, n_encoded = found[name]
            assert n_encoded <= n_expected
            assert abs(other - loss) < 1e-5
            for parameter, gradient in gradients.items():
                torch.testing.assert_close(others[parameter], gradient, rtol=0, atol=1e-5)
