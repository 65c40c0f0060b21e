"""A table of people with every kind of column, and tasks from it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from openpfn import RealTableConfig
from openpfn.batch import TaskBatch
from openpfn.priors.real_tables import RealTable
from openpfn.tables.load import Table

TASK = RealTableConfig(target="y", total_rows=30, train_rows=20)


def people(n: int = 200, seed: int = 0) -> pd.DataFrame:
    """A table with numbers, categories, gaps, dates, truths, and columns that nobody can use."""
    random = np.random.default_rng(seed)
    age = random.integers(18, 80, n).astype(float)
    city = random.choice(
        ["Oslo", "Rome", "Lima", "Bern", "Kyiv", "Doha", "Cork"],
        n,
        p=[0.4, 0.3, 0.2, 0.04, 0.03, 0.02, 0.01],
    )
    return pd.DataFrame(
        {
            "age": np.where(random.random(n) < 0.1, np.nan, age),
            "city": pd.Series(city).mask(random.random(n) < 0.1),
            "member": random.random(n) < 0.5,
            "since": pd.Timestamp("2001-01-01") + pd.to_timedelta(random.integers(0, 3000, n), "D"),
            "country": "same",
            "remark": [
                " ".join(random.choice(["a long", "story", "of", "words", "and", f"no {i}"], 6))
                for i in range(n)
            ],
            "nothing": None,
            "height": random.normal(170, 10, n),
            "y": np.where(age + random.normal(0, 5, n) > 40, "old", "young"),
        }
    )


def made(table: pd.DataFrame | Table | None = None, **changes) -> RealTable:
    return RealTable(replace(TASK, **{"shuffle_columns_for_each_task": False, **changes}), table)


def draw(prior: RealTable, n_tasks: int = 40, seed: int = 0) -> TaskBatch:
    return prior.sample(n_tasks, torch.Generator().manual_seed(seed))
