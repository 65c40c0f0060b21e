"""Files of the page beside what Vite builds: WebAssembly modules, sample tables, figures of chips,
and a record of what they were made from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from openpfn import checkpoint
from openpfn.configs.tabular import TabularConfig
from openpfn.export.budget import CHIPS, CODE_BYTES, INSTRUCTIONS, budget
from openpfn.export.options import BACKENDS
from openpfn.playground.modules import (
    COMPILER,
    MODULES,
    MOST_FEATURES,
    compiled,
    sources_hash,
)

RECORD = "site.json"


def write_site_files(folder: Path) -> None:
    """Write all of them into `folder`. Needs clang."""
    record: dict[str, Any] = {"compiler": COMPILER, "modules": {}}
    for name, gather in MODULES.items():
        sources = gather()
        module = compiled(sources)
        (folder / f"{name}.wasm").write_bytes(module)
        record["modules"][name] = {"sources": sources_hash(sources), "module": sha256(module)}
    (folder / "samples").mkdir(exist_ok=True)
    for name, sample in SAMPLES.items():
        (folder / "samples" / f"{name}.csv").write_text(sample(), encoding="utf-8", newline="")
    figures = budgets(checkpoint.load("tiny").model.config)
    (folder / "budgets.json").write_text(
        json.dumps(figures, separators=(",", ":")) + "\n", encoding="utf-8"
    )
    (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def budgets(config: TabularConfig) -> dict[str, Any]:
    """Return what `export.budget` says of `config` for tables of every width and number of classes,
    as the page reads it: lists by classes from 2 and by features from 1."""
    classes, features = range(2, config.max_classes + 1), range(1, MOST_FEATURES + 1)
    backends = {}
    for backend in BACKENDS:
        table = [[budget(config, 1, d, k, backend) for d in features] for k in classes]
        backends[backend] = {
            "weights": [row[0].weight_bytes for row in table],
            "stack": [row[0].stack_bytes for row in table],
            "context": [[one.context_bytes for one in row] for row in table],
            "scratch": [[one.scratch_bytes for one in row] for row in table],
        }
    work = [budget(config, 1, d, 2, "f32") for d in features]
    return {
        "chips": {
            name: {"flash": chip.flash_bytes, "ram": chip.ram_bytes, "fpu": chip.has_fpu}
            for name, chip in CHIPS.items()
        },
        "code": CODE_BYTES,
        "instructions": INSTRUCTIONS,
        "operations": [
            [one.fit_operations, one.cached_fit_operations, one.predict_operations] for one in work
        ],
        "backends": backends,
    }


def iris() -> str:
    """Return Fisher's flowers (1936)."""
    return _labelled("load_iris", "species")


def wine() -> str:
    """Return the chemistry of wines of three growers (Forina et al. 1988)."""
    return _labelled("load_wine", "grower")


def diabetes() -> str:
    """Return measurements of patients, and the progression of the disease (Efron et al. 2004)."""
    from sklearn.datasets import load_diabetes

    data = load_diabetes(as_frame=True, scaled=False)
    names = {f"s{i + 1}": name for i, name in enumerate("tc ldl hdl tch ltg glu".split())}
    table = data.data.rename(columns=names).assign(progression=data.target.astype(int))
    return _csv(table)


SAMPLES: dict[str, Callable[[], str]] = {"iris": iris, "wine": wine, "diabetes": diabetes}


def sha256(content: bytes) -> str:
    """Return the SHA-256 of `content` in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def _labelled(loader: str, target: str) -> str:
    import sklearn.datasets

    data = getattr(sklearn.datasets, loader)(as_frame=True)
    names = {name: name.removesuffix(" (cm)").replace("_", " ") for name in data.data.columns}
    labels = pd.Series(data.target_names[data.target.to_numpy()], name=target)
    return _csv(pd.concat([data.data.rename(columns=names), labels], axis=1))


def _csv(table: pd.DataFrame) -> str:
    return table.to_csv(index=False, lineterminator="\n", float_format="%.6g")
