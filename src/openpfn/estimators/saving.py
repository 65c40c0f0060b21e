"""Fitted estimators in one safetensors file: context, encoder, views, and the network's weights or
their name and hash.

The metadata key `openpfn_estimator` is a JSON object. Tensors: `rows` and `labels` or `targets`
(the encoded context), `encoder/…`, `views/…` and `states/…` (what the network keeps of the context,
per group of views), and `checkpoint`, the bytes of a checkpoint file, where the weights are
embedded. Format 1 had neither views nor states; since format 3 the metadata key `openpfn_digest` is
a hash of the tensors and of the JSON text, which is checked on loading. Format 4 brought
regressors, and members that transform the target; format 5 encoders of texts by name, and
`text_scores/…`; format 6 members that see some columns, rows or classes, `context/…`,
`difference/…`, what fine-tuning changed in the weights of a checkpoint that is recorded by name,
and estimators of several targets, whose tensors `targets/…` are the bytes of a file for each;
format 7 `stacked/…`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from openpfn import __version__, checkpoint
from openpfn.checkpoint.fingerprint import fingerprint_of
from openpfn.configs.fine_tuning import FineTuneOptions
from openpfn.device import pick_device
from openpfn.estimators.adapting.difference import WeightDifference
from openpfn.estimators.adapting.fine_tuning import FineTuning
from openpfn.estimators.contexts.context import Context
from openpfn.estimators.contexts.states import (
    from_storage_order,
    in_storage_order,
    narrowed,
    put_together,
    take_apart,
)
from openpfn.estimators.network import Network, find_network, with_difference
from openpfn.estimators.saved_file import read, telling, write
from openpfn.estimators.views.ensemble import Member, View
from openpfn.estimators.views.row_reader import RowReader
from openpfn.files import below
from openpfn.tables.json_values import to_json

FORMAT = 8
ESTIMATORS = {"PFNClassifier", "PFNRegressor", "PFNImputer", "PFNOutlierDetector"}
"""Names of all estimators that are saved under `KEY`."""
KEY = "openpfn_estimator"
FIRST_WITH_DIGEST = 3
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""Precisions in which the layers' states can be stored."""
MOST_VALUES = 1000
"""Single values of a column that a file without rows holds at most."""


def save(
    estimator: Any,
    path: str | Path,
    *,
    embed_weights: bool | None = None,
    keep_rows: bool = True,
    states: str | None = None,
) -> Path:
    """Write the fitted `estimator` to `path`, atomically. Its method `save` tells what the options
    do."""
    if states is not None and states not in PRECISIONS:
        raise ValueError(f"states is {states!r}, must be None or one of {', '.join(PRECISIONS)}.")
    if estimator.estimators_ is not None:
        options = {"embed_weights": embed_weights, "keep_rows": keep_rows, "states": states}
        return _save_each(estimator, Path(path), options)
    context: Context | None = estimator.context_
    reading, arrays = RowReader.of(estimator).state()
    record = _facts(estimator) | {
        **reading,
        "fine_tuning": None if estimator.fine_tuning_ is None else estimator.fine_tuning_.record(),
        "context": None,
        **estimator.learnt(),
    }
    tensors: dict[str, Tensor] = {}
    if context is not None:
        network = context.ready_network()
        embed = embeds(network, embed_weights)
        if embed:
            arrays["checkpoint"] = checkpoint_bytes(network)
        elif network.difference is not None:
            changed = network.difference.arrays()
            arrays |= {f"difference/{name}": array for name, array in changed.items()}
        if keep_rows:
            arrays |= _rows(estimator, context)
        record["context"] = {
            "members": [asdict(member) for member in context.members],
            "categorical": context.categorical.tolist(),
            "source": None if embed else network.source,
            "fingerprint": fingerprint_of(network.model),
            "n_rows": context.n_rows,
            "groups": None,
        }
        if states is not None or not keep_rows:
            record["context"]["groups"], tensors = _groups(
                context, states or "float32", thin=not keep_rows
            )
            arrays |= {f"context/{name}": array for name, array in context.arrays().items()}
    tensors |= {
        name: torch.from_numpy(np.array(array, order="C")) for name, array in arrays.items()
    }
    write(Path(path), KEY, tensors, record)
    return Path(path)


def embeds(network: Network, wanted: bool | None) -> bool:
    """Return whether a file holds the network's weights: as `wanted`; if that is None, where no
    shipped checkpoint has them. Raises ValueError where they would be nowhere."""
    if wanted is None:
        return network.source not in checkpoint.shipped_names()
    if not wanted and network.source is None:
        raise ValueError(
            "the network is one in memory, not a checkpoint: embed_weights must be True or None to"
            " save it."
        )
    return wanted


def _facts(estimator: Any) -> dict[str, Any]:
    """Return what a file records of every estimator."""
    return {
        "format": FORMAT,
        "estimator": type(estimator).__name__,
        "version": __version__,
        "parameters": {
            name: _parameter_to_json(getattr(estimator, name))
            for name in estimator.saved_parameters
        },
        "checkpoint": str(estimator.checkpoint),
        "feature_names": (
            [str(name) for name in estimator.feature_names_in_]
            if hasattr(estimator, "feature_names_in_")
            else None
        ),
        "n_features": int(estimator.n_features_in_),
    }


def _save_each(estimator: Any, path: Path, options: dict[str, Any]) -> Path:
    """Write an estimator of several targets: the file of each, in one."""
    tensors = {}
    with telling(Path(tempfile.gettempdir())), tempfile.TemporaryDirectory() as folder:
        for j, one in enumerate(estimator.estimators_):
            content = save(one, Path(folder) / "one.safetensors", **options).read_bytes()
            tensors[f"targets/{j}"] = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    write(path, KEY, tensors, _facts(estimator) | {"n_targets": len(tensors)})
    return path


def _load_each(
    cls: Any, record: Mapping[str, Any], tensors: Mapping[str, Tensor], device: str
) -> Any:
    """Return the estimator of several targets that `_save_each` wrote."""
    estimator = cls(record["checkpoint"], device=device, **_parameters(record))
    _name_columns(estimator, record)
    with tempfile.TemporaryDirectory() as folder:
        fitted = []
        for j in range(record["n_targets"]):
            path = Path(folder) / f"{j}.safetensors"  # its tensors may stay in the file
            path.write_bytes(tensors[f"targets/{j}"].numpy().tobytes())
            fitted.append(load(cls, path, device=device))
    estimator.take_targets(fitted)
    return estimator


def _name_columns(estimator: Any, record: Mapping[str, Any]) -> None:
    estimator.n_features_in_ = record["n_features"]
    if record["feature_names"] is not None:
        estimator.feature_names_in_ = np.array(record["feature_names"], dtype=object)


def load(cls: Any, path: str | Path, *, device: str = "auto") -> Any:
    """Return the estimator of class `cls` in `path`.

    Raises ValueError if the file is none, is damaged, or if its checkpoint has other weights now.
    """
    pick_device(device)
    record, tensors = read(
        Path(path),
        KEY,
        cls.__name__,
        known=ESTIMATORS,
        newest=FORMAT,
        first_with_digest=FIRST_WITH_DIGEST,
    )
    if "n_targets" in record:
        return _load_each(cls, record, tensors, device)
    try:
        estimator = _restored(cls, record, tensors, device)
        _check_parts(estimator)
        if record["format"] < FIRST_WITH_DIGEST:
            _try_out(estimator)
        return estimator
    except (ValueError, OSError):
        raise
    except Exception as error:  # parts that do not fit together fail in any way
        raise ValueError(
            f"{path} is damaged: its parts do not fit together ({type(error).__name__}:"
            f" {' '.join(str(error).split())[:200]}). Save it anew."
        ) from error


def _restored(
    cls: Any, record: Mapping[str, Any], tensors: Mapping[str, Tensor], device: str
) -> Any:
    arrays = {
        name: tensor.numpy() for name, tensor in tensors.items() if not name.startswith("states/")
    }
    estimator = cls(record["checkpoint"], device=device, **_parameters(record))
    estimator.estimators_ = estimator.seen_ = None
    estimator.relearn(record)
    _name_columns(estimator, record)
    reader = RowReader.from_state(record, arrays)
    estimator.encoder_, estimator.columns_ = reader.encoder, reader.columns
    estimator.statistics_, estimator.text_scores_ = reader.statistics, reader.text_scores
    estimator.stacked_ = reader.stacked
    estimator.context_ = None
    history = record.get("fine_tuning")
    estimator.fine_tuning_ = None if history is None else FineTuning.from_record(history)
    if record["context"] is not None:
        estimator.context_ = context = _context(estimator, record["context"], arrays)
        if record["context"].get("groups") is not None:
            _resume(context, record["context"], arrays, tensors)
        if record["context"]["source"] is None:
            estimator.model = context.ready_network().model
    return estimator


def _check_parts(estimator: Any) -> None:
    """Raise IndexError where the parts of a loaded estimator cannot belong together."""
    encoder, context = estimator.encoder_, estimator.context_
    learnt = estimator.statistics_, estimator.text_scores_, estimator.stacked_
    added = [one for one in learnt if one is not None]
    width = max(len(estimator.columns_), 1) + sum(one.n_columns for one in added)
    facts = estimator.facts() | {
        "columns": len(encoder.columns) == estimator.n_features_in_
        and set(estimator.columns_.tolist()) <= set(range(len(encoder.categorical))),
    }
    if context is not None:
        facts["categories"] = context.categorical.shape == (width,)
        facts["members"] = len(context.members) > 0
        facts["rows"] = (context.rows is None) == (context.targets is None)
        if context.rows is not None and context.targets is not None:
            facts["rows"] = (
                context.rows.dtype == np.float64
                and context.rows.shape == (len(context.targets), width)
                and not np.isinf(context.rows).any()
            )
    wrong = [name for name, is_right in facts.items() if not is_right]
    if wrong:
        raise IndexError(f"wrong {wrong[0]}")


def _try_out(estimator: Any) -> None:
    """Use every part once: what is damaged in a file without a digest fails here, not later."""
    estimator._check_parameters()
    nothing = pd.DataFrame([[None] * estimator.n_features_in_], dtype=object)
    rows = estimator._select(estimator.encoder_.transform(nothing))
    if estimator.context_ is not None:
        estimator.context_.mean_log_probs(rows)
    estimator.encoder_.describe()


def _context(
    estimator: Any, record: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> Context:
    if record["source"] is None:
        network = embedded_network(arrays["checkpoint"], estimator.device)
    else:
        difference = WeightDifference.from_arrays(below("difference/", arrays))
        network = recorded_network(
            record["source"], record["fingerprint"], estimator.device, difference
        )
    return estimator.make_context(
        network,
        [Member.from_record(member) for member in record["members"]],
        arrays.get("rows"),
        arrays.get(estimator.targets_name),
        np.array(record["categorical"], dtype=bool),
    )


def _parameter_to_json(value: Any) -> Any:
    if isinstance(value, FineTuneOptions):
        return asdict(value)
    return dict(value) if isinstance(value, Mapping) else to_json(value)


def _parameters(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of the constructor that a file records."""
    return {
        name: FineTuneOptions(**value) if isinstance(value, Mapping) else value
        for name, value in record["parameters"].items()
    }


def recorded_network(
    source: str, fingerprint: str, device: str, difference: WeightDifference | None = None
) -> Network:
    """Return the network of the checkpoint `source`, with the `difference` that fine-tuning made,
    or, where that has other weights today, the shipped one of an earlier day that has the
    fingerprint."""
    names = [source, *(checkpoint.earlier_names() if source in checkpoint.shipped_names() else [])]
    for name in names:
        network = find_network(name, None, device)
        if difference and difference.steps and difference.fits(network.model):
            network = with_difference(network, difference)
        if fingerprint_of(network.model) == fingerprint:
            return network
    raise ValueError(
        f"the estimator was saved with other weights than checkpoint {source!r} holds now. Fit it"
        " again, or bring back that checkpoint; save(embed_weights=True) keeps the weights in the"
        " file."
    )


def _rows(estimator: Any, context: Context) -> dict[str, np.ndarray]:
    if context.rows is None or context.targets is None:
        raise ValueError(
            "this estimator came from a file without rows, so it has none to save. Use"
            " keep_rows=False, or fit it again."
        )
    return {"rows": context.rows, estimator.targets_name: context.targets}


def _groups(
    context: Context, precision: str, *, thin: bool
) -> tuple[list[dict[str, Any]], dict[str, Tensor]]:
    """Return the groups of views that pass through the network together, with their states: plain
    values, and tensors."""
    pairs = context.views_and_states()
    if any(state is None for _, state in pairs):
        raise ValueError(
            f"the states of this context take more than memory_limit = {context.memory_limit} bytes"
            " and were not kept, so they cannot be saved. Fit with a larger memory_limit or None,"
            " or save the rows alone."
        )
    records, tensors = [], {}
    for i, (views, state) in enumerate(pairs):
        if thin:
            views = [view.thinned(MOST_VALUES) for view in views]
            state = state.thinned(MOST_VALUES) if hasattr(state, "thinned") else state
        ends = take_apart(state)
        put_together(
            ends, context.example_state(views)
        )  # what could not be loaded must not be saved
        plain = {path: end for path, end in ends.items() if not isinstance(end, Tensor)}
        orders: dict[str, list[int]] = {}
        for path, end in narrowed(ends, PRECISIONS[precision]).items():
            if path not in plain:
                tensors[f"states/{i}/{path}"], orders[path] = in_storage_order(
                    end.detach().to("cpu", copy=True)
                )
        records.append(
            {"members": [asdict(view.member) for view in views], "plain": plain, "orders": orders}
        )
        for j, view in enumerate(views):
            tensors |= {
                f"views/{i}/{j}/{name}": torch.from_numpy(np.array(array))
                for name, array in view.arrays().items()
            }
    return records, tensors


def _resume(
    context: Context,
    record: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    tensors: Mapping[str, Tensor],
) -> None:
    """Give `context` its views and states back."""
    groups, states = [], []
    for i, group in enumerate(record["groups"]):
        members = [Member.from_record(member) for member in group["members"]]
        groups.append(
            [
                View.from_arrays(member, below(f"views/{i}/{j}/", arrays))
                for j, member in enumerate(members)
            ]
        )
        ends = {
            path: from_storage_order(end, group["orders"][path])
            for path, end in below(f"states/{i}/", tensors).items()
        }
        states.append(put_together(group["plain"] | ends, context.example_state(groups[-1])))
    context.resume(groups, states, record["n_rows"])
    context.take_up(below("context/", arrays))


def checkpoint_bytes(network: Network) -> np.ndarray:
    """Return the bytes of a checkpoint file of the network."""
    with telling(Path(tempfile.gettempdir())), tempfile.TemporaryDirectory() as folder:
        path = checkpoint.save(Path(folder) / "embedded.safetensors", network.model)
        return np.frombuffer(path.read_bytes(), dtype=np.uint8)


def embedded_network(content: np.ndarray, device: str) -> Network:
    """Return the network of `checkpoint_bytes`. Raises ValueError where these are damaged."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "embedded.safetensors"
        path.write_bytes(content.tobytes())
        try:
            model = checkpoint.load(path).model.requires_grad_(False)
        except Exception as error:
            reason = str(error).replace(str(path), "it").splitlines()[0]
            raise ValueError(
                f"the weights inside the saved estimator are damaged ({reason}). Bring back a"
                " copy, or fit and save it anew."
            ) from error
    return find_network(None, model.to(pick_device(device)), "auto")
