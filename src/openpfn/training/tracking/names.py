"""`RunNameScheme` and `create_run_name`: names of runs that tell their configurations, and can be
read back."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from openpfn.training.tracking.base import plain_config

SECTIONS = ("model", "data", "training")
NUMBER = r"-?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?|inf|nan)"
WORDS = {"True": True, "False": False, "None": None}


@dataclass(frozen=True)
class RunNameScheme:
    """Which fields of which configuration a run's name tells, in their order.

    A field's value is None where each run has its own, or the one value that all runs of the scheme
    have.

    >>> scheme = RunNameScheme.from_templates(
    ...     model={"n_layers": None, "d_model": None}, data={"num_tasks": None}
    ... )
    >>> create_run_name(
    ...     "exp",
    ...     model_config={"n_layers": 4, "d_model": 128},
    ...     data_config={"num_tasks": 100.0},
    ...     scheme=scheme,
    ... )
    'exp-model-n_layers4-d_model128-data-num_tasks100.0'
    >>> scheme.parse("exp-model-n_layers4-d_model128-data-num_tasks100.0").data
    {'num_tasks': 100.0}
    """

    model: tuple[tuple[str, Any], ...] = ()
    data: tuple[tuple[str, Any], ...] = ()
    training: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def from_templates(
        cls,
        model: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
        training: Mapping[str, Any] | None = None,
    ) -> RunNameScheme:
        """Return the scheme with these fields; a dot leads into a nested configuration
        ("config.max_features")."""
        for name, part in (("model", model), ("data", data), ("training", training)):
            if part is not None and not isinstance(part, Mapping):
                raise TypeError(
                    f"{name} is a {type(part).__name__}; expected a mapping such as {{'d_model':"
                    " None}."
                )
        return cls(*(tuple((part or {}).items()) for part in (model, data, training)))

    def fields(self) -> dict[str, dict[str, Any]]:
        """Return the fields of each section that has any, with their fixed values or None."""
        return {name: dict(getattr(self, name)) for name in SECTIONS if getattr(self, name)}

    def parse(self, name: str, extra: Iterable[str] = ()) -> ParsedRunName:
        """Return what a name made with this scheme (and these `extra` keys) says.

        Raises ValueError for any other name.
        """
        sections = {section: tuple(fields) for section, fields in self.fields().items()} | (
            {"extra": tuple(extra)} if extra else {}
        )
        value = rf"({NUMBER}|[^-]*)"
        tail = "".join(
            f"-{section}" + "".join(f"-{re.escape(field)}{value}" for field in fields)
            for section, fields in sections.items()
        )
        found = re.fullmatch(f"(.*){tail}", name)
        if found is None:
            wanted = ", ".join(
                f"{section}.{field}" for section, fields in sections.items() for field in fields
            )
            raise ValueError(
                f"{name!r} is no name of this scheme, or was cut because it was too long. It should"
                f" tell {wanted}."
            )
        base, *texts = found.groups()
        values = iter([from_text(text) for text in texts])
        told = {
            section: {field: next(values) for field in fields}
            for section, fields in sections.items()
        }
        return ParsedRunName(base, **told)


@dataclass(frozen=True)
class ParsedRunName:
    """What the name of a run says."""

    base: str
    model: Mapping[str, Any] | None = None
    data: Mapping[str, Any] | None = None
    training: Mapping[str, Any] | None = None
    extra: Mapping[str, Any] | None = None


def create_run_name(
    base: str,
    model_config: Any = None,
    training_config: Any = None,
    data_config: Any = None,
    scheme: RunNameScheme | None = None,
    include_fields: Iterable[str] | None = None,
    extra: Mapping[str, Any] | None = None,
    max_length: int = 128,
) -> str:
    """`base-model-FIELDvalue-…-data-…-training-…-extra-…`: the fields of `scheme`, each with its
    value.

    `include_fields` writes these fields only; without a scheme, each is taken from the
    configuration that has it. `extra` adds keys and values of your own. Numbers keep their exact
    value (100.0, 1e-10), a dash inside a text becomes %2D. A name longer than `max_length` is cut,
    and ends in a hash of the whole. Raises ValueError where a configuration lacks a field, or has
    another value than the scheme fixes.
    """
    configs = {"model": model_config, "data": data_config, "training": training_config}
    plain = {section: plain_config(config) for section, config in configs.items()}
    wanted = _without_scheme(plain, include_fields or ()) if scheme is None else scheme.fields()
    if scheme is not None and include_fields is not None:
        wanted = _only(wanted, tuple(include_fields))
    parts = [base]
    for section, fields in wanted.items():
        parts += [
            section,
            *(
                field + to_text(_value(plain[section], section, field, fixed))
                for field, fixed in fields.items()
            ),
        ]
    if extra:
        parts += ["extra", *(key + to_text(value) for key, value in extra.items())]
    return shortened("-".join(parts), max_length)


def shortened(name: str, max_length: int) -> str:
    """Return the name itself, or its beginning and eight hexadecimal digits of its SHA-256.

    >>> shortened("a" * 40, 20)
    'aaaaaaaaaaa-e33cdf9c'
    """
    if max_length < 10:
        raise ValueError(
            f"max_length is {max_length}; a name that may be cut needs at least 10 characters."
        )
    if len(name) <= max_length:
        return name
    return f"{name[: max_length - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def to_text(value: Any) -> str:
    """Return a value as a name tells it: without a dash except a number's own, and such that
    `from_text` gives it back.

    >>> [to_text(v) for v in (100.0, 1e-10, -3, True, None, "gpt2", "autoregressive-pfn", "4")]
    ['100.0', '1e-10', '-3', 'True', 'None', 'gpt2', 'autoregressive%2Dpfn', '%34']
    """
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    if not isinstance(value, str):
        recorded = plain_config({"value": value})["value"]
        if not isinstance(recorded, list | dict):
            return to_text(recorded)
        return "%" + quote(json.dumps(recorded, separators=(",", ":")), safe="").replace("-", "%2D")
    text = quote(value, safe="").replace("-", "%2D").replace("~", "%7E")
    if not text or _is_ambiguous(text):
        return f"%{ord(value[0]):02X}{text[1:]}" if value else "%"
    return text


def from_text(text: str) -> Any:
    """Return the value that `to_text` wrote."""
    if text in WORDS:
        return WORDS[text]
    if re.fullmatch(NUMBER, text):
        return float(text) if re.search(r"[.en]", text) else int(text)
    if text == "%":
        return ""
    if re.match(r"%%(5B|7B)", text):
        return json.loads(unquote(text[1:]))
    return unquote(text)


def lookup(config: Mapping[str, Any], field: str) -> Any:
    """Return the value of a field, where a dot leads into a nested mapping.

    Raises KeyError if there is none.
    """
    if field in config:
        return config[field]
    first, dot, rest = field.partition(".")
    if dot and isinstance(config.get(first), Mapping):
        return lookup(config[first], rest)
    raise KeyError(field)


def same_value(recorded: Any, wanted: Any) -> bool:
    """Return whether a recorded value is the wanted one: 4 is 4.0, but 1 is not True, and a tuple
    is the list that JSON made of it."""
    wanted = plain_config({"value": wanted})["value"]
    if isinstance(recorded, bool) or isinstance(wanted, bool):
        return recorded is wanted
    if isinstance(recorded, float) and isinstance(wanted, float) and math.isnan(recorded):
        return math.isnan(wanted)
    return recorded == wanted


def _is_ambiguous(text: str) -> bool:
    return text in WORDS or re.match(NUMBER, text) is not None


def _value(config: Mapping[str, Any], section: str, field: str, fixed: Any) -> Any:
    try:
        value = lookup(config, field)
    except KeyError:
        if fixed is not None:
            return fixed
        known = ", ".join(config) or "nothing"
        raise ValueError(
            f"the {section} configuration has no {field!r}, which the name should tell. It has"
            f" {known}."
        ) from None
    if fixed is not None and not same_value(value, fixed):
        raise ValueError(
            f"the scheme says {section}.{field} = {fixed!r}, the configuration {value!r}. Change"
            " one of them."
        )
    return value


def _only(
    fields: Mapping[str, Mapping[str, Any]], names: tuple[str, ...]
) -> dict[str, dict[str, Any]]:
    unknown = set(names) - {field for part in fields.values() for field in part}
    if unknown:
        raise ValueError(
            f"include_fields has {', '.join(sorted(unknown))}, which the scheme does not."
        )
    kept = {
        section: {field: fixed for field, fixed in part.items() if field in names}
        for section, part in fields.items()
    }
    return {section: part for section, part in kept.items() if part}


def _without_scheme(
    configs: Mapping[str, Mapping[str, Any]], names: Iterable[str]
) -> dict[str, dict[str, Any]]:
    fields: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    for name in names:
        owner = next((section for section in SECTIONS if name in configs[section]), None)
        if owner is None:
            raise ValueError(f"no configuration has the field {name!r} of include_fields.")
        fields[owner][name] = None
    return {section: part for section, part in fields.items() if part}
