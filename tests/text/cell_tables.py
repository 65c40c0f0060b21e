"""Small tables in code, whose target is the meaning of a string and a number, for tests of
training."""

from __future__ import annotations

import numpy as np
import torch

from openpfn.configs.text import TextConfig
from openpfn.text.cells import FrozenTexts
from openpfn.text.verbalize.table import VerbalizedTable

SMALL = TextConfig(
    d_model=16,
    n_layers=1,
    n_heads=2,
    d_mlp=32,
    d_text=8,
    version="v1.1",
    matching=True,
    n_buckets=20,
    dropout=0.0,
    encoder="tiny",
)


def cell_table(task: str = "classification", n: int = 60, seed: int = 0) -> VerbalizedTable:
    """Three columns, one of which decides together with its number; two or one target tokens."""
    random = np.random.default_rng(seed)
    cells = random.integers(0, 4, (n, 3)) + np.array([0, 4, 8])
    numbers = np.zeros((n, 3, 6), dtype=np.float32)
    numbers[:, 2, 0] = random.normal(size=n)
    score = np.where(cells[:, 0] < 2, 1.0, -1.0) + 0.5 * numbers[:, 2, 0]
    is_class = task == "classification"
    y = (score > 0).astype(np.int64) if is_class else score.astype(np.float32)
    targets = np.array([12, 13]) if is_class else np.array([14])
    strings = [f"string {i}" for i in range(15)]
    return VerbalizedTable(strings, cells, numbers, targets, task, ("a", "b", "c"), y)


def frozen_texts(seed: int = 0) -> FrozenTexts:
    return FrozenTexts(torch.randn(15, 8, generator=torch.Generator().manual_seed(seed)))


class LetterEncoder:
    """Frozen text encoder of eight numbers by a hash of the string; counts what it encodes."""

    width = 8

    def __init__(self, fingerprint: str = "letters-8") -> None:
        self.fingerprint, self.n_encoded = fingerprint, 0

    def encode(self, texts):
        self.n_encoded += len(texts)
        seeds = [sum(text.encode()) for text in texts]
        return np.stack([np.random.default_rng(s).normal(size=8) for s in seeds]).astype(np.float32)
