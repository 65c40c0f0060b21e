"""The memory layout of C structs, read from their declarations."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from openpfn.export.prefix import PREFIX

NUMPY_TYPES: Mapping[str, str] = {
    "float": "<f4",
    "uint32_t": "<u4",
    "int32_t": "<i4",
    "uint16_t": "<u2",
    "int16_t": "<i2",
    "uint8_t": "u1",
    "int8_t": "i1",
}


def struct_layouts(
    header: str, macros: Mapping[str, int] | None = None, prefix: str = PREFIX
) -> dict[str, np.dtype]:
    """Return the layout of each `typedef struct { … } pfn_…;` in `header`, as compilers lay it out.

    `macros` are the sizes that the header names; a preprocessed header names none. `prefix` stands
    in the names in place of pfn.
    """
    layouts: dict[str, np.dtype] = {}
    declaration = rf"typedef struct \{{([^{{}}]*)\}} ({prefix}_\w+);"
    for body, name in re.findall(declaration, without_comments(header)):
        layouts[name] = fields_layout(body, macros or {}, layouts)
    return layouts


def fields_layout(
    fields: str, macros: Mapping[str, int], structs: Mapping[str, np.dtype] | None = None
) -> np.dtype:
    """Return the layout of the struct whose body is `fields`; `structs` are earlier ones."""
    known = {**NUMPY_TYPES, **(structs or {})}
    found = re.findall(r"(\w+) (\w+)((?:\[[^\]]*\])*);", without_comments(fields))
    return np.dtype(
        [(name, known[kind], array_shape(sizes, macros)) for kind, name, sizes in found], align=True
    )


def array_shape(sizes: str, macros: Mapping[str, int]) -> tuple[int, ...]:
    """Return the numbers in brackets such as [2][(4 - 1) * 9 + 1]."""
    expressions = [
        re.sub(r"[A-Z]\w+", lambda name: str(macros[name[0]]), expression)
        for expression in re.findall(r"\[([^\]]*)\]", sizes)
    ]
    assert all(re.fullmatch(r"[\d\s+*/()-]+", expression) for expression in expressions), (
        f"no plain sizes: {sizes}"
    )
    return tuple(eval(expression.replace("/", "//")) for expression in expressions)


def without_comments(code: str) -> str:
    """Return C code without its /* comments */ and line ends."""
    return " ".join(re.sub(r"/\*.*?\*/", "", code, flags=re.DOTALL).split())
