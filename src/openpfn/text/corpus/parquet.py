"""Files of a corpus: one table each, as compressed parquet with dictionaries of its words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from openpfn.files import replacing
from openpfn.tables.values import plain_values
from openpfn.text.corpus.manifest import TableRecord
from openpfn.text.verbalize.table import StringPool, VerbalizedTable

LABEL = "label"


def write_parquet(frame: pd.DataFrame, path: Path) -> None:
    """Write `frame` whole or not at all. Columns of mixed types become words."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    stored = {str(name): _storable(frame[name]) for name in frame.columns}
    table = pa.Table.from_pandas(pd.DataFrame(stored), preserve_index=False)
    with replacing(path) as unfinished:
        pq.write_table(table, unfinished, compression="zstd", use_dictionary=True)


def read_parquet(path: Path) -> pd.DataFrame:
    """Return what `write_parquet` wrote. Raises ValueError, naming it, for a damaged file."""
    import pyarrow as pa

    try:
        return pd.read_parquet(path)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} is not a parquet file: {error}") from error


def write_verbalized(table: VerbalizedTable, path: Path) -> None:
    """Write the sentences, numbers and labels of a table."""
    texts = table.texts()
    columns = {f"text_{i}": texts[:, i] for i in range(texts.shape[1])}
    for i, k in np.ndindex(table.numbers.shape[1:]):
        columns[f"number_{i}_{k}"] = table.numbers[:, i, k]
    write_parquet(pd.DataFrame(columns | {LABEL: table.y}), path)


def read_verbalized(path: Path, record: TableRecord) -> VerbalizedTable:
    """Return what `write_verbalized` wrote. Raises ValueError, naming the file, for another
    table."""
    frame, pool = read_parquet(path), StringPool()
    n_columns = record.n_columns
    n_numbers = sum(name.startswith("number_0_") for name in frame.columns) or 1
    try:
        cells = np.empty((len(frame), n_columns), dtype=np.int64)
        numbers = np.empty((len(frame), n_columns, n_numbers), dtype=np.float32)
        for i in range(n_columns):
            codes, distinct = pd.factorize(frame[f"text_{i}"])
            cells[:, i] = np.array([pool.place(str(text)) for text in distinct])[codes]
            for k in range(n_numbers):
                numbers[:, i, k] = frame[f"number_{i}_{k}"]
        is_class = record.task == "classification"
        y = frame[LABEL].to_numpy().astype(np.int64 if is_class else np.float32)
    except (KeyError, ValueError, IndexError) as error:
        raise ValueError(f"{path} holds no verbalized table: {error}.") from error
    targets = np.array([pool.place(text) for text in record.target_texts], dtype=np.int64)
    return VerbalizedTable(
        strings=pool.strings(),
        cells=cells,
        numbers=numbers,
        targets=targets,
        task="classification" if is_class else "regression",
        columns=tuple(f"column {i}" for i in range(n_columns)),
        y=y,
    )


def _storable(values: pd.Series) -> pd.Series:
    """Return `values` as parquet can hold them."""
    import pyarrow as pa

    try:
        pa.Array.from_pandas(values)
    except (pa.ArrowException, TypeError, ValueError):
        words = plain_values(values).words()
        return pd.Series(words, dtype=object, index=values.index)
    return values
