"""The word that every name of a library begins with, so that one firmware can hold several."""

from __future__ import annotations

import re

PREFIX = "pfn"
"""The prefix in which the C code is written."""
C_HEADERS = frozenset(
    "assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdarg"
    " stdbool stddef stdint stdio stdlib string tgmath time wchar wctype arduino".split()
)
"""Headers of C and of Arduino, which a library's header would hide."""
PARTS = ("model", "weights", "fitted", "serial")
"""Ends of a library's own files, as in pfn_model.h."""
_NAMES = re.compile(r"(?:(?<![A-Za-z0-9_])|(?<=-D)|(?<=CONFIG_))(pfn|PFN)(?=_|\.[ch]\b)")


def check_prefix(prefix: str) -> None:
    """Raise ValueError unless names in C, files and macros may begin with `prefix`, and cannot be
    those of a library whose prefix is another."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", prefix) or len(prefix) > 31:
        raise ValueError(
            f"prefix is {prefix!r}, must be at most 31 lower-case letters, digits and single _, a"
            " letter first, such as wine."
        )
    if prefix in C_HEADERS:
        raise ValueError(
            f"prefix is {prefix!r}: the library's header would be called like <{prefix}.h>. Take"
            " another."
        )
    first, *others = prefix.split("_")
    if others and (first == PREFIX or others[-1] in PARTS):
        raise ValueError(
            f"prefix is {prefix!r}, whose names might be those of another library: it must not"
            f" begin with {PREFIX}_ nor end with {', '.join(f'_{part}' for part in PARTS)}."
        )


def renamed(text: str, prefix: str) -> str:
    """Return C code, build files or file names with `prefix` in place of pfn: names such as
    pfn_fit, macros such as PFN_OK, and files such as pfn.h."""
    return _NAMES.sub(lambda found: prefix.upper() if found[0] == "PFN" else prefix, text)
