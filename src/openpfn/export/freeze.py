"""Write a context fitted on this machine as a C constant: the firmware predicts from flash, without
memory for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from openpfn.export.c_code import braced
from openpfn.export.prefix import renamed
from openpfn.export.record import read_record, recorded_source, write_record
from openpfn.export.tables import ContextTable
from openpfn.export.verification.host import HostLibrary
from openpfn.export.verification.measure import FITTED
from openpfn.files import write_whole


def write_fitted(folder: str | Path, table: ContextTable) -> Path:
    """Fit the library in `folder` on `table`, compiled for this machine, write pfn_fitted.h beside
    it and return its path.

    Raises ValueError where the library refuses the rows.
    """
    library = HostLibrary(folder)
    status = library.fit(table.x, table.y, len(table.classes))
    if status != "ok":
        raise ValueError(
            f"the library refused the rows of {table.source} with PFN_ERROR_{status.upper()}: pfn.h"
            " tells what that means."
        )
    folder = Path(folder)
    shown = {"context": recorded_source(table.source), "target": table.target}
    write_record(folder, read_record(folder) | shown)
    path = folder / renamed(FITTED, library.prefix)
    write_whole(path, renamed(fitted_header(library.fields(), table), library.prefix))
    return path


def fitted_header(context: np.void, table: ContextTable) -> str:
    """Return pfn_fitted.h: the context as an initialiser that is C99 and C++ alike."""
    assert context.dtype.names is not None
    fields = ",\n".join(
        f"    /* {name} */ {constant(context[name])}" for name in context.dtype.names
    )
    source, target = as_comment(table.source), as_comment(table.target)
    return f"""/* A context fitted on {len(table.x)} rows of {source}, to predict {target}.
 * It stays in flash: pfn_predict_proba(&pfn_fitted, row, proba, &scratch);
 * A row holds {listing(table.features)}.
 * The classes are {listing(table.classes)}. */
#ifndef PFN_FITTED_H
#define PFN_FITTED_H

#include "pfn.h"

#define PFN_FITTED_FEATURES {len(table.features)}
#define PFN_FITTED_CLASSES {len(table.classes)}
#if PFN_MAX_FEATURES < PFN_FITTED_FEATURES || PFN_MAX_CLASSES < PFN_FITTED_CLASSES
#error "the context has more features or classes than the library is compiled for"
#endif

static const pfn_context pfn_fitted = {{
{fields}
}};
#endif
"""


def constant(value: Any) -> str:
    """Return `value`, a field of a C struct, as a C initialiser; zeros at the end of an array are
    left out, since C fills them in."""
    if value.dtype.names is not None and value.ndim == 0:
        return "{" + ", ".join(constant(value[name]) for name in value.dtype.names) + "}"
    if value.ndim == 0:
        return braced(value[None])[1:-1]
    last = max((i for i, part in enumerate(value) if any(part.tobytes())), default=0)
    if value.dtype.names is None:
        return braced(value[: last + 1])
    return "{" + ",\n".join(constant(part) for part in value[: last + 1]) + "}"


def listing(names: Sequence[str]) -> str:
    """Return names with their numbers, as a comment in C may hold them."""
    return ", ".join(f"{number}: {as_comment(name)}" for number, name in enumerate(names))


def as_comment(name: str) -> str:
    """Return `name` as a comment in C may hold it."""
    return " ".join(name.split()).replace("*/", "* /").replace("/*", "/ *")
