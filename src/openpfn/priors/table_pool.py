"""`TablePool`: tasks drawn from the rows of many real tables."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from openpfn.batch import TaskBatch
from openpfn.configs.prior import PriorConfig
from openpfn.priors.base import TaskPrior
from openpfn.scm.labels import relabel
from openpfn.scm.noise import Noise
from openpfn.scm.tasks import Shape, draw_shape, draws_numbers, every_class_in_context, joined
from openpfn.tables.cells import codes_of_context, read_cells
from openpfn.tables.load import BUNDLED, load, names_in
from openpfn.tables.table import Table

MOST_ROWS = 3000
"""Rows of a table that are kept: a random part of a larger one."""
FEWEST_OF_CLASS = 8
"""Rows that the second most frequent class of a table has at least."""
FEWEST_NUMBERS = 20
"""Distinct numbers of a column that is predicted as numbers."""
OWN_CLASSES = 0.6
"""Share of the classification tasks that predict classes of the table, where it has some; the
others predict a number cut at random quantiles."""
CUT_IN_TWO = 0.6
"""Share of cut numbers that become two classes; the others become three to six."""
TELLS_ALL = 0.998
"""A column of greater correlation with the target than this tells it by itself: it is left out."""
MOST_CLASSES = 10
"""Distinct values of a column that is predicted as classes, at most."""
MOST_TRIES = 200
"""Draws in a row that give no task before the pool is given up."""


@dataclass(frozen=True)
class PooledTable:
    """A table in numbers, and which of its columns can be predicted."""

    name: str
    cells: Float[Tensor, "T D"]
    categorical: Bool[Tensor, " D"]
    coded: Bool[Tensor, " D"]
    """Columns whose codes are made anew from each task's context."""
    classes: tuple[int, ...]
    numbers: tuple[int, ...]


class TablePool(TaskPrior):
    """Draws each task from one of the tables that `config.tables` names: some of its rows, some of
    its columns, and one column as the target.

    Each table is as likely as any other that has enough rows. A classification task predicts a
    column of few distinct values, or a column of numbers that is cut into classes at random
    quantiles; a regression task predicts a column of numbers, scaled by its context. Shapes follow
    `config` as they do in the synthetic priors, as far as a table has as many columns. Classes are
    numbered at random, and so are the codes of half of the tasks' categories. Whatever is fitted is
    fitted to a task's context, as in `RealTable`; free text is left out. `latents` hold `is_real`,
    by which a network that has a teacher learns these tasks from their own classes.

    A network that was trained on a table must not be scored on it: record the tables.

    Raises ValueError or FileNotFoundError where there are no tables to draw from, and ValueError
    where none has as many rows as a task.

    >>> prior = TablePool(PriorConfig(max_features=5, max_seq_len=60))
    >>> prior.sample(4, torch.Generator().manual_seed(0)).x.shape[:2]
    torch.Size([4, 60])
    """

    aliases: ClassVar[tuple[str, ...]] = ("pool",)

    def __init__(self, config: PriorConfig | None = None) -> None:
        self.config = config or PriorConfig()
        self.tables = pooled(self.config.tables)

    def sample(self, n_tasks: int, generator: torch.Generator) -> TaskBatch:
        noise = Noise(generator)
        shape, numbers = draw_shape(self.config, noise), draws_numbers(self.config, noise)
        tables = [
            table
            for table in self.tables
            if len(table.cells) >= shape.n_rows
            and (table.numbers if numbers else table.numbers or table.classes)
        ]
        if not tables:
            raise ValueError(
                f"no table of {self.config.tables} has {shape.n_rows} rows and"
                f" {'numbers' if numbers else 'classes'} to predict. Lower max_seq_len, or give"
                " larger tables."
            )
        kept: list[TaskBatch] = []
        for _ in range(MOST_TRIES * n_tasks):
            table = tables[int(noise.integers(len(tables), 1))]
            task = self._task(table, shape, numbers, noise)
            if task is not None:
                kept.append(task)
            if len(kept) == n_tasks:
                return joined(kept)
        raise ValueError(
            f"{self.config.tables} gave {len(kept)} of {n_tasks} tasks of {shape.n_rows} rows in"
            f" {MOST_TRIES * n_tasks} draws. Give more tables, or tables with fewer missing values."
        )

    def _task(
        self, table: PooledTable, shape: Shape, numbers: bool, noise: Noise
    ) -> TaskBatch | None:
        """Return one task of `table`, or None where the rows that were drawn make none."""
        device, by_class = noise.device, bool(noise.flags(OWN_CLASSES, 1))
        own = not numbers and bool(table.classes) and (by_class or not table.numbers)
        choices = table.classes if own else table.numbers
        target = choices[int(noise.integers(len(choices), 1))]
        cells, categorical = table.cells.to(device), table.categorical.to(device)
        known = cells[:, target].isfinite().nonzero().squeeze(1)
        if len(known) < shape.n_rows:
            return None
        rows = known[noise.order(len(known))[: shape.n_rows]]
        y = cells[rows, target].double()
        others = torch.tensor([j for j in range(cells.shape[1]) if j != target], device=device)
        width = shape.fewest + int(noise.integers(shape.most - shape.fewest + 1, 1))
        columns = others[noise.order(len(others))[:width]]
        x = _task_cells(
            cells[rows][:, columns], table.coded.to(device)[columns], shape.n_train, noise
        )
        tells = _tells_all(x, y)
        x, columns = x[:, ~tells], columns[~tells]
        if not len(columns):
            return None
        if numbers:
            spread = y[: shape.n_train].std()
            if not spread > 0:
                return None
            y = ((y - y[: shape.n_train].mean()) / spread).clamp(-1e4, 1e4).float()
            n_classes = None
        else:
            labels = y.unique(return_inverse=True)[1] if own else _cut(y, noise)
            labels = noise.order(int(labels.max()) + 1)[labels]
            ordered, labels = every_class_in_context(
                x.T.unsqueeze(0).contiguous(), labels.unsqueeze(0), shape.n_train, MOST_CLASSES
            )
            labels, n_classes = relabel(labels, MOST_CLASSES)
            if not 2 <= int(n_classes) <= self.config.max_classes:
                return None
            x, y = ordered[0].T, labels[0].float()
        return TaskBatch(
            x=x.unsqueeze(0).contiguous(),
            y=y.unsqueeze(0),
            n_train=shape.n_train,
            n_features=torch.tensor([len(columns)], device=device),
            n_classes=n_classes,
            categorical=categorical[columns].unsqueeze(0),
            latents={"is_real": torch.ones(1, device=device)},
        )


def _task_cells(
    x: Float[Tensor, "N D"], coded: Bool[Tensor, " D"], n_train: int, noise: Noise
) -> Float[Tensor, "N D"]:
    """Return the cells with codes made from the context, in half of the tasks in random order."""
    x = torch.where(coded, codes_of_context(x.unsqueeze(0), n_train)[0], x)
    if bool(noise.flags(0.5, 1)):
        for j in coded.nonzero().squeeze(1).tolist():
            known = x[:, j].isfinite()
            order = noise.order(int(x[known, j].max()) + 1) if known.any() else known
            x[known, j] = order[x[known, j].long()].float()
    return x


def _cut(y: Float[Tensor, " N"], noise: Noise) -> Int[Tensor, " N"]:
    """Return classes of numbers, cut at random quantiles."""
    in_two = bool(noise.flags(CUT_IN_TWO, 1))
    n_classes = 2 if in_two else 3 + int(noise.integers(4, 1))
    shares = noise.uniform(0.3, 1.7, n_classes).double().cumsum(0)
    return torch.searchsorted(y.quantile(shares[:-1] / shares[-1]), y)


def _tells_all(x: Float[Tensor, "N D"], y: Float[Tensor, " N"]) -> Bool[Tensor, " D"]:
    """Return which columns are the target in other words."""
    both = torch.cat([x.double(), y.unsqueeze(1)], 1)
    both = both - both.nanmean(0)
    both = (both / both.square().nanmean(0).sqrt().clamp(min=1e-12)).nan_to_num(nan=0.0)
    correlation = (both[:, :-1] * both[:, -1:]).mean(0)
    return correlation.abs() > TELLS_ALL


@lru_cache(maxsize=2)
def pooled(source: str) -> tuple[PooledTable, ...]:
    """Return the tables of the folder `source` (with its index.json), or scikit-learn's
    ("bundled"), in numbers; those of which no column can be predicted are left out."""
    names = list(BUNDLED) if source == "bundled" else names_in(Path(source))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of hundreds of tables, some hold odd words
        found = [
            _pooled(load(name if source == "bundled" else f"{source}/{name}"), seed)
            for seed, name in enumerate(names)
        ]
    tables = tuple(table for table in found if table is not None)
    if not tables:
        raise ValueError(f"no table of {source} has a column that could be predicted from others.")
    return tables


def _pooled(table: Table, seed: int) -> PooledTable | None:
    y = table.y
    if table.task == "classification":
        y = pd.Series(pd.factorize(y, sort=True)[0]).map("class {}".format)
    whole = table.X.copy()
    whole[_free_name(table)] = y.to_numpy()
    kept = np.random.default_rng(seed).permutation(len(whole))[:MOST_ROWS]
    whole = whole.iloc[np.sort(kept)].reset_index(drop=True)
    try:
        values, _, categorical, coded = read_cells(Table(table.name, whole, y, table.kinds))
    except ValueError:  # no column of use, or values beyond float32
        return None
    distinct = [np.unique(v[np.isfinite(v)], return_counts=True)[1] for v in values.T]
    few = [
        2 <= len(counts) <= MOST_CLASSES and np.sort(counts)[-2] >= FEWEST_OF_CLASS
        for counts in distinct
    ]
    classes = tuple(j for j, is_few in enumerate(few) if is_few)
    numbers = tuple(
        j
        for j, counts in enumerate(distinct)
        if not categorical[j] and len(counts) >= FEWEST_NUMBERS
    )
    if values.shape[1] < 2 or not (classes or numbers):
        return None
    return PooledTable(table.name, torch.from_numpy(values), categorical, coded, classes, numbers)


def _free_name(table: Table) -> str:
    """Return the target's name, or one that no column has."""
    name = str(table.y.name)
    while name in map(str, table.X.columns):
        name += "_"
    return name
