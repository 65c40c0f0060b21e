"""`RealTable`: tasks drawn from the rows of one real table."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from openpfn.batch import TaskBatch
from openpfn.configs.real_table import RealTableConfig
from openpfn.priors.base import TaskPrior
from openpfn.randomness import draw_without_replacement
from openpfn.scm.labels import relabel
from openpfn.scm.noise import Noise
from openpfn.scm.tasks import draws_numbers, every_class_in_context
from openpfn.tables.cells import codes_of_context, read_cells
from openpfn.tables.load import Table, load, require_columns
from openpfn.tables.splits import stratified_split
from openpfn.tables.target import read_target

TASKS_PER_BATCH = 50
LEAST_DISTINCT = 10
"""Distinct values of a column of numbers that tasks may have to predict."""
FIRST_TEST_BATCH = 2**40
"""Index of the first batch of test tasks in a stream, far beyond any batch of training tasks."""


class RealTable(TaskPrior):
    """Tasks whose rows are rows of one table: no row twice in a task, none in both the train and
    the test part.

    `table` is a table in memory in place of `config.source`: a `Table`, or a DataFrame with the
    column `config.target`. How a column is read (number, category, …) is settled once for the whole
    table. Whatever is fitted to values is fitted to the context rows of each task alone: a
    category's code is its place among the categories of the context, and one that the context lacks
    is missing. Numbers stay as they are. Free text and columns that hold a single value are left
    out.

    Every class of a task has a context row where there is room, and every task has two classes: in
    a task whose rows happen to be all of one class, a row of another class takes a random row's
    place. `latents` tell each task's `rows` and `columns` of the table.

    With `config.regression_share`, that share of the batches has numeric targets: for each such
    batch a column of numbers is drawn, which its tasks have to predict from the other columns, the
    table's classes left out; rows that lack it are left out, too. A table whose own target is
    numbers has tasks of these alone.

    A network that trains on one part of the table is evaluated on the other.

    Raises ValueError for a table that is too small or has one class, and for one without the
    numbers, or classes, that `config.regression_share` asks for.

    >>> prior = RealTable(RealTableConfig("wine", total_rows=30, train_rows=20, num_features=5))
    >>> prior.sample(4, torch.Generator().manual_seed(0)).x.shape
    torch.Size([4, 30, 5])
    """

    aliases: ClassVar[tuple[str, ...]] = ("real_table", "table")
    config_class: ClassVar[type] = RealTableConfig

    def __init__(
        self, config: RealTableConfig | None = None, table: Table | pd.DataFrame | None = None
    ) -> None:
        config = config or RealTableConfig()
        whole = _table(config, table)
        self.config = config if table is None else replace(config, source=whole.name)
        self.name = whole.name
        labels, self.classes, self.target = _targets(whole)
        values, self.column_names, self.categorical, self.coded = read_cells(whole)
        self.numbers, self.labels = torch.from_numpy(values), torch.from_numpy(labels)
        self.rows_of_part = _rows_of_parts(labels, config, whole.name)
        self._check()

    @property
    def n_features(self) -> int:
        """Columns of a task."""
        return (
            len(self.column_names) if self.config.num_features is None else self.config.num_features
        )

    @property
    def n_classes(self) -> int:
        """Classes of the table; a task may have fewer. 0 where its target is numbers."""
        return len(self.classes)

    def for_evaluation(self) -> RealTable:
        """Tasks of the other part of the table."""
        other = copy(self)
        other.config = replace(self.config, part="test" if self.config.part == "train" else "train")
        other._check()
        return other

    def sample(self, n_tasks: int, generator: torch.Generator) -> TaskBatch:
        if draws_numbers(self.config, Noise(generator)):
            return self._with_numbers(n_tasks, generator)
        device, n_train = generator.device, self.config.train_rows
        rows_of_part = self.rows_of_part[self.config.part].to(device)
        y = self.labels.to(device)[rows_of_part]
        rows = draw_without_replacement(n_tasks, self.config.total_rows, len(y), generator)
        rows = _two_classes_at_least(rows, y, generator)
        rows, labels = every_class_in_context(rows.unsqueeze(1), y[rows], n_train, self.n_classes)
        rows = rows_of_part[rows.squeeze(1)]
        columns = self._draw_columns(n_tasks, generator)
        x = self._values(rows, columns)
        labels, n_classes = relabel(labels, self.n_classes)
        if self.config.shuffle_classes_for_each_task:
            labels = _renumbered(labels, n_classes, self.n_classes, generator)
        return TaskBatch(
            x=x,
            y=labels.float(),
            n_train=n_train,
            n_features=torch.full((n_tasks,), columns.shape[1], device=device),
            n_classes=n_classes,
            categorical=self.categorical.to(device)[columns],
            latents={"rows": rows, "columns": columns},
        )

    def _with_numbers(self, n_tasks: int, generator: torch.Generator) -> TaskBatch:
        """Tasks whose target is the table's own number, or a column of numbers."""
        device, config = generator.device, self.config
        rows_of_part = self.rows_of_part[config.part].to(device)
        left = list(range(len(self.column_names)))
        if self.target is None:
            choices = self._numeric_columns(config.part)
            pick = torch.randint(len(choices), (1,), generator=generator, device=device)
            target = self.numbers[:, left.pop(choices[int(pick)])]
        else:
            target = self.target
        target = target.to(device)
        known = rows_of_part[target[rows_of_part].isfinite()]
        rows = known[draw_without_replacement(n_tasks, config.total_rows, len(known), generator)]
        columns = torch.tensor(left, device=device)[
            self._draw_columns(n_tasks, generator, len(left))
        ]
        return TaskBatch(
            x=self._values(rows, columns),
            y=target[rows],
            n_train=config.train_rows,
            n_features=torch.full((n_tasks,), columns.shape[1], device=device),
            categorical=self.categorical.to(device)[columns],
            latents={"rows": rows, "columns": columns},
        )

    def _values(
        self, rows: Int[Tensor, "B N"], columns: Int[Tensor, "B D"]
    ) -> Float[Tensor, "B N D"]:
        """The cells of each task; codes are made anew from its context."""
        x = self.numbers.to(rows.device)[rows.unsqueeze(2), columns.unsqueeze(1)]
        coded = self.coded.to(rows.device)[columns].unsqueeze(1)
        return torch.where(coded, codes_of_context(x, self.config.train_rows), x).contiguous()

    def _numeric_columns(self, part: str) -> list[int]:
        """Columns that can be targets: numbers of enough distinct values, known in enough rows."""
        values = self.numbers[self.rows_of_part[part]]
        return [
            j
            for j in range(values.shape[1])
            if not self.categorical[j]
            and len(values[values[:, j].isfinite(), j].unique()) >= LEAST_DISTINCT
            and int(values[:, j].isfinite().sum()) >= self.config.total_rows
        ]

    def _draw_columns(
        self, n_tasks: int, generator: torch.Generator, width: int | None = None
    ) -> Int[Tensor, "B D"]:
        """Places of the columns of each task among `width`, all columns if absent."""
        width = len(self.column_names) if width is None else width
        n_features = min(width, self.n_features)
        if self.config.shuffle_columns_for_each_task:
            return torch.rand(n_tasks, width, generator=generator, device=generator.device).argsort(
                1
            )[:, :n_features]
        return torch.arange(n_features, device=generator.device).repeat(n_tasks, 1)

    def _check(self) -> None:
        config, name, rows = self.config, self.name, self.rows_of_part[self.config.part]
        if len(rows) < config.total_rows:
            raise ValueError(
                f"the {config.part} part of {name} has {len(rows)} rows, but a task takes"
                f" total_rows={config.total_rows}. Lower total_rows (and train_rows), or change"
                " test_share."
            )
        if self.target is not None:
            if config.regression_share < 1:
                raise ValueError(
                    f"{name} has numbers to predict, but regression_share is"
                    f" {config.regression_share}. Set it to 1, or choose a target of classes."
                )
        elif len(self.labels[rows].unique()) < 2:
            raise ValueError(
                f"all rows in the {config.part} part of {name} are of one class: there is nothing"
                " to tell apart."
            )
        if self.n_features > len(self.column_names):
            raise ValueError(
                f"num_features is {config.num_features}, but {name} has {len(self.column_names)}"
                f" columns that can be used: {', '.join(self.column_names[:20])}. Lower"
                " num_features."
            )
        if config.regression_share and self.target is None:
            self._check_numbers()

    def _check_numbers(self) -> None:
        if len(self.column_names) < 2 or not self._numeric_columns(self.config.part):
            raise ValueError(
                f"regression_share is {self.config.regression_share}, but {self.name} has no column"
                f" of numbers, beside another column, with {LEAST_DISTINCT} distinct values and"
                f" {self.config.total_rows} known ones in its {self.config.part} part. Set"
                " regression_share to 0, or lower total_rows."
            )


def _two_classes_at_least(
    rows: Int[Tensor, "B N"], y: Int[Tensor, " T"], generator: torch.Generator
) -> Int[Tensor, "B N"]:
    """`rows`, where in tasks of a single class a row of another class takes a random row's
    place."""
    labels = y[rows]
    alone = (labels == labels[:, :1]).all(1).nonzero().squeeze(1)
    if not len(alone):
        return rows
    by_class = y.argsort(stable=True)
    counts = torch.bincount(y)
    first = counts.cumsum(0) - counts  # where each class begins in `by_class`
    label = labels[alone, 0]
    u = torch.rand(2, len(alone), generator=generator, device=generator.device, dtype=torch.float64)
    other = (u[0] * (len(y) - counts[label])).long()
    other = torch.where(
        other >= first[label], other + counts[label], other
    )  # skip the task's own class
    rows = rows.clone()
    rows[alone, (u[1] * rows.shape[1]).long()] = by_class[other]
    return rows


def _renumbered(
    labels: Int[Tensor, "B N"], n_classes: Int[Tensor, " B"], most: int, generator: torch.Generator
) -> Int[Tensor, "B N"]:
    """The labels 0 … `n_classes` − 1 of each task in a random order of its own."""
    key = torch.rand(len(labels), most, generator=generator, device=labels.device)
    unused = torch.arange(most, device=labels.device) >= n_classes.unsqueeze(1)
    return key.masked_fill(unused, 2.0).argsort(1).gather(1, labels)


def _table(config: RealTableConfig, table: Any) -> Table:
    """The table that `config` or `table` means, without the rows that have no target."""
    if isinstance(table, pd.DataFrame):
        if config.target is None:
            raise ValueError(
                "say which column of the DataFrame is the target. Its columns are"
                f" {', '.join(map(str, table.columns))}."
            )
        require_columns(table, [config.target], "the DataFrame")
        table = Table("a table in memory", table.drop(columns=config.target), table[config.target])
    whole = load(config.source, config.target) if table is None else table
    if config.regression_share == 1 and read_target(whole.y).task == "regression":
        whole = replace(whole, task="regression")
    known = whole.y.notna().to_numpy()
    return replace(
        whole,
        X=whole.X.loc[known].reset_index(drop=True),
        y=whole.y.loc[known].reset_index(drop=True),
    )


def _targets(table: Table) -> tuple[Int[np.ndarray, " T"], list[Any], Float[Tensor, " T"] | None]:
    """The class of each row and the classes in order; or one class, no names, and the numbers."""
    if table.task == "classification":
        return *_labels(table), None
    numbers = table.y.to_numpy(dtype=np.float64)
    kept = numbers.astype(np.float32)
    if not np.isfinite(kept).all():
        raise ValueError(f"the target of {table.name} has values beyond float32. Rescale it.")
    return np.zeros(len(numbers), dtype=np.int64), [], torch.from_numpy(kept)


def _labels(table: Table) -> tuple[Int[np.ndarray, " T"], list[Any]]:
    """The class of each row, and the classes in order."""
    labels, classes = pd.factorize(table.y, sort=True)
    if len(classes) < 2:
        raise ValueError(
            f"the target of {table.name} has {len(classes)} class, wanted at least 2. Choose"
            " another target."
        )
    if len(classes) > len(labels) / 2:
        raise ValueError(
            f"the target of {table.name} has {len(classes)} distinct values in {len(labels)} rows:"
            " these are numbers or names, not classes. Choose another target, or cut its values"
            " into classes."
        )
    return labels.astype(np.int64), list(classes)


def _rows_of_parts(
    labels: Int[np.ndarray, " T"], config: RealTableConfig, name: str
) -> dict[str, Int[Tensor, "_"]]:
    """The rows of the train and of the test part, in the table's order."""
    n_train = len(labels) - round(len(labels) * config.test_share)
    if not 0 < n_train < len(labels):
        raise ValueError(
            f"{name} has {len(labels)} rows: too few to keep a test_share of {config.test_share}"
            " apart."
        )
    train, test = stratified_split(labels, n_train, seed=config.split_seed)
    return {"train": torch.from_numpy(np.sort(train)), "test": torch.from_numpy(np.sort(test))}
