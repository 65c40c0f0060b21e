"""Write a table network as a C library: one header, one source file, its sizes and its weights."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float

from openpfn.checkpoint.fingerprint import fingerprint_of
from openpfn.configs.tabular import TabularConfig
from openpfn.export.calibrate import measured_ranges
from openpfn.export.fixed_point import IntegerMatrix, choose_exponents, integer_weights
from openpfn.export.quantize import QuantisedMatrix, quantise_rows
from openpfn.files import write_whole

Backend = Literal["f32", "int8", "int"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)
RECORD = "pfn_export.json"
Array = np.ndarray
Weights = dict[str, Any]
"""Matrices and vectors by the name of the C struct's field; a list is an array of structs."""


@dataclass(frozen=True)
class CodeOptions:
    """What the library is to carry."""

    backend: Backend = "f32"
    """f32: weights and arithmetic in float32. int8: weights in 8 bits, arithmetic in float32. int:
    weights in 8 bits, arithmetic in integers, with exponents calibrated on tasks of the prior
    `mixture`."""
    max_features: int = 8
    """Most features of a table."""
    max_classes: int = 4
    """Most classes of a table; the weights of further ones are left out."""

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise ValueError(f"backend is {self.backend!r}, must be one of {', '.join(BACKENDS)}.")
        if not 1 <= self.max_features <= 254:
            raise ValueError(f"max_features is {self.max_features}, must lie between 1 and 254.")
        if self.max_classes < 2:
            raise ValueError(f"max_classes is {self.max_classes}, must be at least 2.")


def write_library(
    model: Any, folder: str | Path, options: CodeOptions, source: str = ""
) -> dict[str, Path]:
    """Write pfn.h, pfn_model.h, pfn_weights.h and pfn.c, and a record of the export, into `folder`;
    their paths by name.

    `model` is a `TabularPFN`; `source` says where it came from. Raises ValueError for a network
    that the C code does not carry.
    """
    files = library(model, options)
    folder = Path(folder)
    files[RECORD] = (
        json.dumps(
            {
                "checkpoint": source,
                "fingerprint": fingerprint_of(model),
                "backend": options.backend,
                "max_features": options.max_features,
                "max_classes": options.max_classes,
            },
            indent=2,
        )
        + "\n"
    )
    for name, text in files.items():
        write_whole(folder / name, text)
    return {name: folder / name for name in files}


def library(model: Any, options: CodeOptions) -> dict[str, str]:
    """The text of each file of the library, by name."""
    config = model.config
    check_supported(config, options)
    weights, macros, attention = (
        gather(model, options.max_classes),
        {},
        f"attention_{config.attention_type}",
    )
    numbers = ["numbers_float.c"]
    if options.backend == "int":
        exponents = choose_exponents(
            weights, config, measured_ranges(model, options.max_features, options.max_classes)
        )
        weights, macros = integer_weights(weights, config, exponents), exponents.macros(config)
        numbers, attention = ["tables_int.c", "numbers_int.c"], f"{attention}_int"
    elif options.backend == "int8":
        weights = quantised(weights)
    text = f"static const pfn_network pfn_weights = {initialiser(weights)};\n"
    before = [f"weights_{options.backend}.c", "layers.c"]
    after = ["functions.c", *numbers, f"{attention}.c", "network.c", "pfn.c", "saving.c"]
    return {
        "pfn.h": runtime("pfn.h"),
        "pfn_model.h": model_header(config, options, macros, runtime(f"{attention}.h"), text),
        "pfn_weights.h": (
            "/* The weights, with nine significant digits: exact for float32. */\n" + text
        ),
        "pfn.c": amalgamated(before, after),
    }


def carried_attention() -> list[str]:
    """Mechanisms between rows whose C code exists."""
    names = (path.name for path in resources.files("openpfn.export").joinpath("runtime").iterdir())
    return sorted(
        found[1] for name in names if (found := re.fullmatch(r"attention_([a-z]+)\.c", name))
    )


def check_supported(config: Any, options: CodeOptions) -> None:
    """Raise ValueError, saying what the C code carries, where `config` asks for more."""
    if not isinstance(config, TabularConfig):
        raise ValueError(
            f"the network is a {type(config).__name__}; C code is written for the two-way table"
            " network (TabularConfig)."
        )
    if config.attention_type not in carried_attention():
        raise ValueError(
            f"attention_type is {config.attention_type!r}; the C code carries"
            f" {', '.join(carried_attention())}, whose state has a constant size. Train a network"
            " with one of them, such as the preset tiny."
        )
    if options.backend == "int" and config.attention_type != "linear":
        raise ValueError(
            f"attention_type is {config.attention_type!r}, whose equations need floats: the backend"
            " int carries linear alone. Take backend int8 or f32."
        )
    features = config.attention_options.get("features", "elu")
    wanted = {
        "column_attention_type": (
            config.column_attention_type == "softmax" and not config.column_attention_options
        ),
        "attention_options": config.attention_type != "linear" or features in ("elu", "relu"),
        "qassmax": not config.qassmax,
        "norm": config.norm == "rms",
        "n_thinking_rows": config.n_thinking_rows == 0,
        "use_ranks": not config.use_ranks,
        "categorical_flags": not config.categorical_flags,
        "column_shifts": config.column_shifts == (0,),
    }
    for name, fits in wanted.items():
        if not fits:
            raise ValueError(
                f"{name} is {getattr(config, name)!r}, which the C code does not carry. It carries"
                f" softmax between columns, {' and '.join(carried_attention())} between rows"
                " (features elu or relu), norm rms, knots or linear, missing_flags, target_aware"
                " and separate_query_weights, without thinking rows, ranks, categorical flags,"
                " column shifts and qassmax."
            )
    if options.max_classes > config.max_classes:
        raise ValueError(
            f"max_classes is {options.max_classes}, but the network tells at most"
            f" {config.max_classes} classes apart. Ask for fewer."
        )


def model_header(
    config: TabularConfig, options: CodeOptions, exponents: dict[str, int], state: str, weights: str
) -> str:
    """pfn_model.h: the sizes of the network as macros, and the types that depend on them."""
    sizes = {
        "PFN_EXPORTED_FEATURES": options.max_features,
        "PFN_MAX_CLASSES": options.max_classes,
        "PFN_D_MODEL": config.d_model,
        "PFN_N_HEADS": config.n_heads,
        "PFN_D_HEAD": config.d_model // config.n_heads,
        "PFN_N_LAYERS": config.n_layers,
        "PFN_D_MLP": config.d_mlp,
        "PFN_N_KNOTS": n_knots(config),
        "PFN_MISSING_FLAG": int(config.missing_flags),
        "PFN_TARGET_AWARE": int(config.target_aware),
        "PFN_SEPARATE_QUERY_WEIGHTS": int(separate_reading(config)),
        "PFN_INTEGER": int(options.backend == "int"),
        "PFN_RIDGE": int(config.attention_type == "ridge"),
        "PFN_RELU_FEATURES": int(config.attention_options.get("features") == "relu"),
    }
    lines = "\n".join(f"#define {name} {value}" for name, value in (sizes | exponents).items())
    identity = hashlib.sha256((lines + options.backend + weights).encode()).hexdigest()[:8]
    return (
        "/* The sizes of one exported network. */\n#ifndef PFN_MODEL_H\n#define"
        f" PFN_MODEL_H\n\n{lines}\n#define PFN_MODEL_ID 0x{identity}u    /* saved contexts of other"
        f" weights are refused */\n\n{state}\n{runtime('network.h')}\n#endif\n"
    )


def amalgamated(before: list[str], after: list[str]) -> str:
    """One source file out of the runtime's parts, the weights in between."""
    head = (
        '/* OpenPFN\'s runtime: see pfn.h. */\n#include "pfn.h"\n\n#include <math.h>\n#include'
        " <stddef.h>\n#include <string.h>\n\n#define LARGEST_VALUE 1e25f    /* sums over rows stay"
        " finite */\n#define NO_FEATURE 255         /* the column of a table in which nothing"
        " varies */\n"
    )
    parts = [*map(runtime, before), '#include "pfn_weights.h"\n', *map(runtime, after)]
    return "\n".join([head, *parts])


def runtime(name: str) -> str:
    """The text of a file of the runtime."""
    return resources.files("openpfn.export").joinpath("runtime", name).read_text(encoding="utf-8")


def separate_reading(config: TabularConfig) -> bool:
    """Whether query rows have weights of their own anywhere: the last layer never needs them."""
    return config.separate_query_weights and config.n_layers > 1


def gather(model: Any, max_classes: int) -> Weights:
    """The network's weights as the C structs name and lay them out."""
    config = model.config
    state = {
        name: tensor.detach().cpu().float().numpy() for name, tensor in model.state_dict().items()
    }
    weights: Weights = {
        "values": value_rows(state, config),
        "targets": target_rows(state, "target_encoder", max_classes),
    }
    if config.target_aware:
        weights["hints"] = target_rows(state, "hint_encoder", max_classes)
    weights["layers"] = [
        layer_weights(state, f"layers.{i}.", config) for i in range(config.n_layers)
    ]
    if separate_reading(config):
        prefixes = [f"layers.{i}.row_attention." for i in range(config.n_layers - 1)]
        weights["reading"] = [
            {"query": state[p + "read_query.weight"], "out": state[p + "read_out.weight"]}
            for p in prefixes
        ]
    return weights | {
        "head_hidden": {"weight": state["head.hidden.weight"], "bias": state["head.hidden.bias"]},
        "head_out": state["head.out.weight"][:max_classes],
        "head_out_bias": state["head.out.bias"][:max_classes],
    }


def n_knots(config: TabularConfig) -> int:
    """Knots of the curve that embeds a value; a straight line has two."""
    return config.n_knots if config.scalar_embedding == "knots" else 2


def value_rows(state: dict[str, Array], config: TabularConfig) -> Float[np.ndarray, "rows E"]:
    """Embeddings of a value at each knot, all of its parts together, and of a missing value."""
    embed = state["cell_encoder.embed.weight"].T.astype(
        np.float64
    )  # (features, E): slope, knots, missing
    squashed = np.linspace(-2, 2, n_knots(config))
    curve = squashed[:, None] * embed[:1] + state["cell_encoder.embed.bias"]  # (knots, E)
    missing = embed[len(embed) - config.missing_flags :] + state["cell_encoder.embed.bias"]
    if config.scalar_embedding == "knots":
        curve += embed[1 : 1 + config.n_knots]
    return np.concatenate([curve, missing]).astype(np.float32)


def target_rows(
    state: dict[str, Array], name: str, max_classes: int
) -> Float[np.ndarray, "rows E"]:
    """Embeddings of the classes, of the unknown class, and of the evidence."""
    return np.concatenate(
        [
            state[f"{name}.classes.weight"][:max_classes],
            state[f"{name}.unknown"][None],
            state[f"{name}.evidence"][None],
        ]
    )


def layer_weights(state: dict[str, Array], prefix: str, config: TabularConfig) -> Weights:
    """One layer; the softmax's 1/√(head width) is folded into the query weights."""
    scale = np.float32((config.d_model // config.n_heads) ** -0.5)
    weights: Weights = {"column_query": state[prefix + "column_attention.to_query.weight"] * scale}
    for ours, theirs in (("column", "column_attention."), ("row", "row_attention.")):
        if ours == "row":
            weights["row_query"] = state[prefix + theirs + "to_query.weight"]
        weights[f"{ours}_key_value"] = state[prefix + theirs + "to_key_value.weight"]
        weights[f"{ours}_out"] = state[prefix + theirs + "to_out.weight"]
    if config.attention_type == "ridge":
        weights["ridge"] = np.log1p(
            np.exp(state[prefix + "row_attention.raw_ridge"].astype(np.float64))
        ).astype(np.float32)
    mlp = {
        name: state[f"{prefix}mlp.{name}"]
        for name in ("hidden.weight", "hidden.bias", "out.weight", "out.bias")
    }
    hidden = {"weight": mlp["hidden.weight"], "bias": mlp["hidden.bias"]}
    return weights | {"hidden": hidden, "out": mlp["out.weight"], "out_bias": mlp["out.bias"]}


def quantised(weights: Weights) -> Weights:
    """The same with every matrix in 8 bits."""

    def small(value: Any) -> Any:
        if isinstance(value, list):
            return [quantised(part) for part in value]
        if isinstance(value, dict):
            return quantised(value)
        return quantise_rows(value) if value.ndim == 2 else value

    return {name: small(value) for name, value in weights.items()}


def initialiser(value: Any) -> str:
    """`value` as a C initialiser."""
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


def braced(array: Array) -> str:
    """Nested braces around the numbers of `array`."""
    if array.ndim > 1:
        return "{" + ",\n".join(map(braced, array)) + "}"
    return "{" + ", ".join(number(value) for value in array) + "}"


def number(value: Any) -> str:
    """A number as C source: whole ones plain, others with nine significant digits, which are exact
    for float32."""
    if isinstance(value, np.integer):
        return str(int(value))
    text = f"{float(value):.9g}"
    return (text if "." in text or "e" in text else text + ".0") + "f"
