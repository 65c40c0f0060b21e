"""Write a table network as a C library: one header, one source file, its sizes and its weights."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from openpfn.checkpoint.fingerprint import fingerprint_of
from openpfn.export.network.calibrate import measured_ranges
from openpfn.export.network.families import family_of
from openpfn.export.network.family import Family, Macros
from openpfn.export.network.fixed_point import (
    IntegerMatrix,
    check_widths,
    choose_exponents,
    integer_weights,
)
from openpfn.export.network.mechanisms import runtime
from openpfn.export.network.quantize import QuantisedMatrix
from openpfn.export.network.weights import quantised
from openpfn.export.options import Backend, CodeOptions
from openpfn.export.prefix import renamed
from openpfn.export.record import check_prefix_of_folder, recorded_source, write_record
from openpfn.export.values import LARGEST_VALUE, SMALLEST_DIFFERENCE
from openpfn.files import write_whole

HEAD = f"""/* OpenPFN's runtime: see pfn.h. */
#include "pfn.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#define LARGEST_VALUE {LARGEST_VALUE:g}f /* sums over rows stay finite */
#define SMALLEST_DIFFERENCE {SMALLEST_DIFFERENCE:g}f /* its inverse stays finite in any sum */
#define NO_FEATURE 255 /* what the one column reads where nothing varies */
"""


def write_library(
    model: Any, folder: str | Path, options: CodeOptions, source: str = ""
) -> dict[str, Path]:
    """Write pfn.h, pfn_model.h, pfn_weights.h, pfn.c and a record of the export into `folder`, and
    return their paths by name.

    Their names begin with the prefix of `options`. `model` is a `TabularPFN` or a `PublishedPFN`;
    `source` is the checkpoint that it came from. Raises ValueError for a network that the C code
    does not carry, and where `folder` holds a library of another prefix.
    """
    folder = Path(folder)
    check_prefix_of_folder(folder, options.prefix)
    files = library(model, options)
    for name, text in files.items():
        write_whole(folder / name, text)
    record = write_record(
        folder,
        {
            "checkpoint": recorded_source(source),
            "fingerprint": fingerprint_of(model),
            "backend": options.backend,
            "max_features": options.max_features,
            "max_classes": options.for_network(model.config.max_classes).max_classes,
            "prefix": options.prefix,
        },
    )
    return {name: folder / name for name in files} | {record.name: record}


def library(model: Any, options: CodeOptions) -> dict[str, str]:
    """Return the text of each file of the library, by name."""
    config = model.config
    options = check_supported(config, options)
    assert options.max_classes is not None, "settled for the network"
    family = family_of(config)
    weights, macros = family.gather(model, options.max_classes), {}
    if options.backend == "int":
        check_widths(config)
        exponents = choose_exponents(
            weights, config, measured_ranges(model, options.max_features, options.max_classes)
        )
        weights, macros = integer_weights(weights, config, exponents), exponents.macros(config)
    elif options.backend == "int8":
        weights = quantised(weights)
    text = f"static const pfn_network pfn_weights = {initialiser(weights)};\n"
    before = [f"weights_{options.backend}.c", f"{family.name}_weights.c"]
    after = ["functions.c", *family.arithmetic(options.backend)]
    after += [family.mechanism.source(options.backend), f"{family.name}_layers.c"]
    after += ["network.c", "pfn.c", "saving.c"]
    files = {
        "pfn.h": runtime("pfn.h"),
        "pfn_model.h": model_header(family, options, macros, text),
        "pfn_weights.h": (
            "/* The weights, with nine significant digits: exact for float32. */\n" + text
        ),
        "pfn.c": amalgamated(before, after),
    }
    return {
        renamed(name, options.prefix): renamed(code, options.prefix) for name, code in files.items()
    }


def supported_backends(config: Any) -> list[Backend]:
    """Return the backends that carry `config`. Raises ValueError where it is not carried at all."""
    return list(family_of(config).backends)


def check_supported(config: Any, options: CodeOptions) -> CodeOptions:
    """Return `options` settled for `config`. Raises ValueError, saying what the C code carries,
    where the two ask for more."""
    family_of(config).check(options.backend)
    return options.for_network(config.max_classes)


def model_header(family: Family, options: CodeOptions, exponents: Macros, weights: str) -> str:
    """Return pfn_model.h: the sizes of the network as macros, and the types that depend on them."""
    config, mechanism = family.config, family.mechanism
    sizes = {
        "PFN_EXPORTED_FEATURES": options.max_features,
        "PFN_MAX_CLASSES": options.max_classes,
        "PFN_D_MODEL": config.d_model,
        "PFN_N_HEADS": config.n_heads,
        "PFN_D_HEAD": config.d_model // config.n_heads,
        "PFN_N_LAYERS": config.n_layers,
        "PFN_N_PASSES": family.n_passes,
        "PFN_D_MLP": config.d_mlp,
        **family.macros(),
        "PFN_INTEGER": int(options.backend == "int"),
    }
    macros = sizes | mechanism.macros() | exponents
    lines = "\n".join(f"#define {name} {value}" for name, value in macros.items())
    identity = hashlib.sha256((lines + options.backend + weights).encode()).hexdigest()[:8]
    return f"""/* The sizes of one exported network. */
#ifndef PFN_MODEL_H
#define PFN_MODEL_H

{lines}
#define PFN_MODEL_ID 0x{identity}u /* contexts fitted with other weights are refused */

{mechanism.header(options.backend)}
{runtime(f"{family.name}.h")}
#endif
"""


def amalgamated(before: list[str], after: list[str]) -> str:
    """Return one source file out of the runtime's parts, the weights in between."""
    parts = [HEAD, *map(runtime, before), '#include "pfn_weights.h"\n', *map(runtime, after)]
    return "\n".join(parts)


def initialiser(value: Any) -> str:
    """Return `value` as a C initialiser."""
    if isinstance(value, dict):
        return (
            "{\n"
            + ",\n".join(f".{name} = {initialiser(part)}" for name, part in value.items())
            + "}"
        )
    if isinstance(value, list):
        return "{" + ",\n".join(map(initialiser, value)) + "}"
    if isinstance(value, QuantisedMatrix):
        return f"{{{braced(value.weight)}, {braced(value.scale)}}}"
    if isinstance(value, IntegerMatrix):
        return f"{{{braced(value.weight)}, {braced(value.factor)}, {braced(value.shift)}}}"
    return f"{{{braced(value)}}}" if value.ndim == 2 else braced(value)


def braced(array: np.ndarray) -> str:
    """Return the numbers of `array` in nested braces."""
    if array.ndim > 1:
        return "{" + ",\n".join(map(braced, array)) + "}"
    return "{" + ", ".join(number(value) for value in array) + "}"


def number(value: Any) -> str:
    """Return a number as C source: whole ones plain, others with nine significant digits, which
    are exact for float32."""
    if isinstance(value, np.integer):
        return str(int(value))
    text = f"{float(value):.9g}"
    return (text if "." in text or "e" in text else text + ".0") + "f"
