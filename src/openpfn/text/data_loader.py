"""`TabSTARDataLoader`: batches of token ids out of a corpus of raw strings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from openpfn.models.text.network import Task
from openpfn.text.batches import pure_batches

Batch = dict[str, Any]


@dataclass(frozen=True)
class RawTable:
    """One table of a corpus of raw strings."""

    name: str
    task: Task
    strings: list[str]
    """The distinct strings of cells and target tokens."""
    cells: Int[np.ndarray, "n M"]
    """Place of each cell's string."""
    targets: Int[np.ndarray, " C"]
    """Place of each target token's string."""
    numbers: Float[np.ndarray, "n M"]
    labels: np.ndarray
    """Number of each row's class (int64), or its number (float32)."""


class TabSTARDataLoader:
    """Batches of token ids from an HDF5 corpus of raw strings, each with rows of one table.

    A group per table holds `feature_texts` (N, M), `target_texts` (C,), `feature_num_values`
    (N, M) and `labels` (N,), and the attribute `task_type`. Iterating passes over one epoch: at
    most `rows_per_epoch` rows of each table, drawn anew each time. `split` is "train", "val" (every
    table's held-out rows, in order) or "all". Each distinct string of a batch is tokenized once.

    Batches are dictionaries: `feature_input_ids` and `feature_attention_mask` (B, M, L),
    `feature_num_values` (B, M), `target_token_ids` and `target_attention_mask` (C, L), `labels`
    (B,), `task_type` and `dataset_name`.

    Raises FileNotFoundError where there is no file, ValueError for a group that is not whole.
    """

    def __init__(
        self,
        path: str | Path,
        tokenizer: Any,
        batch_size: int = 32,
        split: Literal["train", "val", "all"] = "train",
        *,
        rows_per_epoch: int = 2048,
        validation_share: float = 0.05,
        max_length: int = 128,
        seed: int = 0,
    ) -> None:
        if split not in ("train", "val", "all"):
            raise ValueError(f"split is {split!r}, must be 'train', 'val' or 'all'.")
        self.path, self.tokenizer, self.batch_size = Path(path), tokenizer, batch_size
        self.split, self.rows_per_epoch, self.seed = split, rows_per_epoch, seed
        self.max_length, self.epoch = max_length, 0
        self.groups = read_groups(self.path)
        self.rows = [
            self._rows(i, len(g.labels), validation_share) for i, g in enumerate(self.groups)
        ]

    @property
    def dataset_names(self) -> list[str]:
        """Names of the tables."""
        return [group.name for group in self.groups]

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        most = self.rows_per_epoch if self.split == "train" else None
        return sum(-(-len(rows[:most]) // self.batch_size) for rows in self.rows)

    def __iter__(self) -> Iterator[Batch]:
        for table, chosen in self._epoch():
            yield self._batch(self.groups[table], self.rows[table][chosen])

    def _epoch(self) -> list[tuple[int, Int[np.ndarray, " B"]]]:
        """Return the tables and rows of the next epoch's batches."""
        counts = [len(rows) for rows in self.rows]
        if self.split != "train":
            return [
                (table, np.arange(start, min(start + self.batch_size, n)))
                for table, n in enumerate(counts)
                for start in range(0, n, self.batch_size)
            ]
        epoch, self.epoch = self.epoch, self.epoch + 1
        return pure_batches(
            counts, self.batch_size, self.rows_per_epoch, seed=self.seed, epoch=epoch
        )

    def _rows(self, table: int, n: int, validation_share: float) -> Int[np.ndarray, " m"]:
        """Return the rows of a table's split, which the seed alone decides."""
        order = np.random.default_rng([self.seed, table]).permutation(n)
        n_held = min(max(1, round(validation_share * n)), n - 1)
        chosen = {"train": order[n_held:], "val": order[:n_held], "all": order}[self.split]
        return np.sort(chosen)

    def _batch(self, group: RawTable, rows: Int[np.ndarray, " B"]) -> Batch:
        features = group.cells[rows]
        ids, mask = self._tokenized(group, features.ravel())
        target_ids, target_mask = self._tokenized(group, group.targets)
        return {
            "feature_input_ids": ids.view(*features.shape, -1),
            "feature_attention_mask": mask.view(*features.shape, -1),
            "feature_num_values": torch.from_numpy(group.numbers[rows]),
            "target_token_ids": target_ids,
            "target_attention_mask": target_mask,
            "labels": torch.from_numpy(group.labels[rows]),
            "task_type": group.task,
            "dataset_name": group.name,
        }

    def _tokenized(
        self, group: RawTable, places: Int[np.ndarray, " n"]
    ) -> tuple[Int[Tensor, "n L"], Int[Tensor, "n L"]]:
        """Return the token ids and masks of strings by their places."""
        used, back = np.unique(places, return_inverse=True)
        tokens = self.tokenizer(
            [group.strings[place] for place in used.tolist()],
            padding=True,
            truncation=True,
            max_length=self.max_length,
            return_tensors="pt",
        )
        order = torch.from_numpy(back)
        return tokens["input_ids"][order], tokens["attention_mask"][order]


def read_groups(path: Path) -> list[RawTable]:
    """Return the tables of an HDF5 corpus of raw strings. Raises as `TabSTARDataLoader` does."""
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no corpus at {path}. Export one as HDF5, or give another path."
        )
    try:
        with h5py.File(path, "r") as file:
            return [_read(path, name, file[name]) for name in file]
    except OSError as error:
        raise ValueError(f"{path} is not a whole HDF5 file ({error}). Write it anew.") from error


def _read(path: Path, name: str, group: Any) -> RawTable:
    """Return one table of a corpus. Raises ValueError, naming it, where it is not whole."""
    wanted = ("feature_texts", "target_texts", "feature_num_values", "labels")
    missing = [key for key in wanted if key not in group] if hasattr(group, "keys") else wanted
    if missing:
        raise ValueError(
            f"{path}: group {name!r} lacks {', '.join(missing)}, so it is no table of a corpus of"
            " raw strings. Write the corpus anew."
        )
    features = group["feature_texts"].asstr()[:]
    targets = group["target_texts"].asstr()[:]
    numbers = group["feature_num_values"][:].astype(np.float32)
    labels = group["labels"][:]
    task = str(group.attrs.get("task_type", ""))
    fits = features.ndim == 2 and features.shape == numbers.shape[:2]
    if not fits or len(labels) != len(features) or len(targets) < 1:
        raise ValueError(
            f"{path}: group {name!r} has feature_texts {features.shape}, feature_num_values"
            f" {numbers.shape}, labels {labels.shape} and target_texts {targets.shape}, which do"
            " not fit together. Write the corpus anew."
        )
    if task not in ("classification", "regression"):
        raise ValueError(
            f"{path}: group {name!r} has task_type {task!r}, must be 'classification' or"
            " 'regression'."
        )
    is_class = task == "classification"
    if is_class and not ((labels >= 0) & (labels < len(targets))).all():
        raise ValueError(
            f"{path}: labels of group {name!r} lie beyond its {len(targets)} target_texts."
        )
    strings, places = np.unique(np.concatenate([features.ravel(), targets]), return_inverse=True)
    return RawTable(
        name,
        "classification" if is_class else "regression",
        strings.tolist(),
        places[: features.size].reshape(features.shape),
        places[features.size :],
        numbers,
        labels.astype(np.int64 if is_class else np.float32),
    )
