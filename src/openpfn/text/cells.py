"""Batches of a verbalized table's rows, and the embeddings of the strings they point into."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from openpfn.models.text.network import CellBatch, TextTableNetwork
from openpfn.text.verbalize.table import VerbalizedTable


def batch_of(
    table: VerbalizedTable,
    rows: Int[np.ndarray, " B"],
    columns: Int[np.ndarray, " m"] | None = None,
    device: torch.device | None = None,
) -> tuple[CellBatch, Int[np.ndarray, " U"]]:
    """Return the batch of these rows (and columns, else all), and the places in `table.strings` of
    the distinct strings that it points into."""
    cells, numbers = table.cells[rows], table.numbers[rows]
    if columns is not None:
        cells, numbers = cells[:, columns], numbers[:, columns]
    used, places = np.unique(np.concatenate([cells.ravel(), table.targets]), return_inverse=True)
    batch = CellBatch(
        torch.from_numpy(places[: cells.size].reshape(cells.shape)).to(device),
        torch.from_numpy(numbers).to(device),
        torch.from_numpy(places[cells.size :]).to(device),
        table.task,
        None if table.y is None else torch.from_numpy(table.y[rows]).to(device),
    )
    return batch, used


Texts = Callable[[np.ndarray], Tensor]
"""Embeddings (U, W) of a table's strings, by their places (U,)."""


@dataclass(frozen=True)
class FrozenTexts:
    """Embeddings that were computed once for the whole table."""

    vectors: Float[Tensor, "S W"]

    def __call__(self, places: Int[np.ndarray, " U"]) -> Float[Tensor, "U W"]:
        return self.vectors[torch.from_numpy(places).to(self.vectors.device)]


class TokenTexts:
    """Embeddings by the text encoder that `network` trains: each distinct string of a batch passes
    through it once. `encoder` tokenizes."""

    def __init__(self, network: TextTableNetwork, encoder: Any, strings: Sequence[str]) -> None:
        self.network, self.encoder, self.strings = network, encoder, strings

    def __call__(self, places: Int[np.ndarray, " U"]) -> Float[Tensor, "U W"]:
        device = self.network.borders.device
        tokens = self.encoder.tokenize([self.strings[place] for place in places.tolist()])
        return self.network.encode(
            tokens["input_ids"].to(device), tokens["attention_mask"].to(device)
        )


@torch.no_grad()
def outputs_of(
    network: TextTableNetwork, texts: Texts, table: VerbalizedTable, batch_size: int = 512
) -> Float[Tensor, "n outputs"]:
    """Return the outputs for every row of `table`, on the CPU; the network is left in evaluation
    mode."""
    network.eval()
    device = network.borders.device
    parts = []
    for rows in np.array_split(np.arange(len(table)), max(1, -(-len(table) // batch_size))):
        batch, used = batch_of(table, rows, device=device)
        parts.append(network.answer(batch, texts(used)).cpu())
    return torch.cat(parts)
