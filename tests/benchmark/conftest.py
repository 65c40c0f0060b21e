"""A folder of small tables with an index, as users keep them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two tables of classes (one grouped, one with words and holes), one of numbers, and one that
    scikit-learn bundles too."""
    random = np.random.default_rng(0)
    place = tmp_path / "suite"
    place.mkdir()
    n = 120
    label = random.integers(0, 2, n)
    visits = pd.DataFrame(
        {
            "patient": [f"p{i // 4}" for i in range(n)],
            "a": random.normal(size=n) + label,
            "target": np.where(label, "ill", "well"),
        }
    )
    words = pd.DataFrame(
        {
            "colour": random.choice(["red", "green", "blue"], n),
            "size": np.where(random.random(n) < 0.2, np.nan, random.normal(size=n) + 2 * label),
            "seen": [f"2024-{1 + i % 12:02d}-{1 + i % 28:02d}" for i in range(n)],
            "remark": [f"number {i} is {'good' if label[i] else 'bad'}" for i in range(n)],
            "target": label,
        }
    )
    numbers = pd.DataFrame({"u": random.normal(size=n), "v": random.normal(size=n)})
    numbers["target"] = 3 * numbers["u"] - numbers["v"] + 0.1 * random.normal(size=n)
    twin = pd.DataFrame({"petal": random.normal(size=n) + label, "target": label})
    tables = {"visits": visits, "words": words, "numbers": numbers, "iris": twin}
    kinds = {"colour": "categorical", "size": "numeric", "seen": "date", "remark": "text"}
    index = []
    for name, frame in tables.items():
        frame.to_csv(place / f"{name}.csv", index=False)
        entry = {
            "name": name,
            "file": f"{name}.csv",
            "target": "target",
            "family": name,
            "task": "classification",
            "small": name != "words",
        }
        index.append(entry)
    index[0] |= {"group": "patient", "types": {"patient": "categorical", "a": "numeric"}}
    index[1] |= {"types": kinds, "tags": ["mixed"]}
    index[2] |= {"task": "regression"}
    (place / "index.json").write_text(json.dumps(index))
    return place
