"""`create_h5_prior_from_dataset`: tasks from the rows of one real table, written into files."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd

from openpfn.configs.real_table import RealTableConfig
from openpfn.data.dump_writer import DumpHeader, DumpWriter
from openpfn.data.stream import task_generator
from openpfn.files import replacing
from openpfn.priors.real_tables import RealTable
from openpfn.tables.load import Table, load

TASKS_PER_BATCH = 50
FIRST_TEST_BATCH = 2**40
"""Index of the first batch of test tasks in a stream, far beyond any batch of training tasks."""


def create_h5_prior_from_dataset(
    dataset_id: int | str | Path | Table | pd.DataFrame,
    train_filename: str | Path,
    test_filename: str | Path,
    num_tasks: int = 5000,
    total_rows: int = 40,
    train_rows: int = 30,
    num_features: int | None = 8,
    shuffle_columns_for_each_task: bool = True,
    *,
    target: str | None = None,
    test_share: float = 0.3,
    seed: int = 0,
    fill_missing: bool = False,
    overwrite: bool = False,
) -> tuple[Path, Path]:
    """Return the paths of two dumps of tasks drawn from one table: one to train on, one to evaluate
    on, of disjoint rows.

    Of the `num_tasks` tasks, and of the table's rows, `test_share` go into the test file and the
    others into the train file (500 tasks: 350 and 150). `dataset_id` is the number of a data set of
    OpenML, a bundled table's name, a file, or a table in memory, whose column `target` is to be
    predicted. What is in a task stands at `RealTable`; without `shuffle_columns_for_each_task` all
    tasks have the table's first `num_features` columns (None: all). `fill_missing` stores the mean
    of a column's context rows in place of a missing value, for readers that know no NaN.

    Either both files appear, whole, or none. Raises FileExistsError if one exists, unless
    `overwrite`, and ValueError for a table that cannot give such tasks.

    >>> files = ("TRAIN.h5", "TEST.h5")
    >>> create_h5_prior_from_dataset(179, *files, 500, 100, 80, 13)    # doctest: +SKIP
    """
    paths = Path(train_filename), Path(test_filename)
    n_test = round(num_tasks * test_share)
    if not 0 < n_test < num_tasks:
        raise ValueError(
            f"num_tasks is {num_tasks}, of which {n_test} would go into the test file. Ask for more"
            " tasks."
        )
    if paths[0].resolve() == paths[1].resolve():
        raise ValueError(f"train_filename and test_filename are both {paths[0]}. Name two files.")
    for path in paths:
        if path.exists() and not overwrite:
            raise FileExistsError(
                f"{path} exists already. Choose another file, or replace it with overwrite=True."
            )
    source, table = "in memory", dataset_id
    if isinstance(dataset_id, (int, str, Path)):
        source = f"openml:data/{dataset_id}" if isinstance(dataset_id, int) else str(dataset_id)
        table = load(dataset_id, target)
    config = RealTableConfig(
        source=source,
        target=target,
        test_share=test_share,
        split_seed=seed,
        total_rows=total_rows,
        train_rows=train_rows,
        num_features=num_features,
        shuffle_columns_for_each_task=shuffle_columns_for_each_task,
    )
    train = RealTable(config, table)
    test = train.for_evaluation()
    missing = "mean" if fill_missing else "nan"
    with ExitStack() as stack:
        unfinished = [stack.enter_context(replacing(path)) for path in paths]
        _write(unfinished[0], train, source, num_tasks - n_test, seed, 0, missing)
        _write(unfinished[1], test, source, n_test, seed, FIRST_TEST_BATCH, missing)
    return paths


def _write(
    path: Path,
    prior: RealTable,
    source: str,
    n_tasks: int,
    seed: int,
    first_batch: int,
    missing: Any,
) -> None:
    size = min(TASKS_PER_BATCH, n_tasks)
    header = DumpHeader(
        max_seq_len=prior.config.total_rows,
        max_features=prior.n_features,
        batch_size=size,
        max_classes=prior.n_classes or None,
        prior="real_tables",
        prior_config=asdict(replace(prior.config, source=source)),
        seed=seed,
        missing=missing,
    )
    with DumpWriter.create(path, header, replace=True) as dump:
        while dump.n_tasks < n_tasks:
            tasks = prior.sample(
                min(size, n_tasks - dump.n_tasks),
                task_generator(seed, first_batch + dump.n_batches),
            )
            dump.append(tasks, is_last=dump.n_tasks + tasks.n_tasks == n_tasks)
