"""Fitted `TextTableClassifier` and `TextTableRegressor` in one safetensors file, without pickle.

The metadata key `openpfn_text_estimator` is a JSON object; `openpfn_digest` is a hash of it and of
the tensors. Tensors `I/NAME` are the weights of member I; the frozen text encoder stays out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from openpfn import __version__
from openpfn.checkpoint.header import as_json, from_json
from openpfn.configs.text import TextConfig
from openpfn.device import pick_device
from openpfn.estimators.saved_file import read, write
from openpfn.estimators.text_members import Member
from openpfn.files import below
from openpfn.tables.json_values import array_from_json, array_to_json
from openpfn.text.pretrain import network_with
from openpfn.text.verbalize import TabSTARPreprocessor

FORMAT = 1
ESTIMATORS = {"TextTableClassifier", "TextTableRegressor"}
KEY = "openpfn_text_estimator"


def save(estimator: Any, path: str | Path) -> Path:
    """Write the fitted `estimator` to `path`, atomically."""
    path, is_classifier = Path(path), hasattr(estimator, "classes_")
    kept = {k: v for k, v in estimator.get_params(deep=False).items() if _is_plain(v)}
    names = getattr(estimator, "feature_names_in_", None)
    members = estimator.members_
    record = {
        "format": FORMAT,
        "estimator": type(estimator).__name__,
        "version": __version__,
        "parameters": kept,
        "n_features": int(estimator.n_features_in_),
        "feature_names": None if names is None else array_to_json(names),
        "classes": array_to_json(estimator.classes_) if is_classifier else None,
        "constant": None if is_classifier else estimator.constant_,
        "encoder": estimator.encoder_.fingerprint if members else None,
        "members": [
            {
                "config": as_json(member.network.config),
                "preprocessor": member.preprocessor.state(),
                "losses": [float(loss) for loss in member.losses],
                "averaged_epochs": list(member.averaged_epochs),
            }
            for member in members
        ],
    }
    tensors = {
        f"{i}/{name}": tensor.detach().to("cpu", copy=True).contiguous()
        for i, member in enumerate(members)
        for name, tensor in member.network.state_dict().items()
    }
    write(path, KEY, tensors, record)
    return path


def load(cls: Any, path: str | Path, *, encoder: Any = None, device: str = "auto") -> Any:
    """Return the estimator of class `cls` in `path`. Raises ValueError if the file is none, is
    damaged, or if the text encoder is another one."""
    record, tensors = read(Path(path), KEY, cls.__name__, known=ESTIMATORS, newest=FORMAT)
    estimator = cls(**record["parameters"])
    estimator.device = device
    if encoder is not None:
        estimator.encoder = encoder
    estimator.n_features_in_ = record["n_features"]
    if record["feature_names"] is not None:
        estimator.feature_names_in_ = array_from_json(record["feature_names"])
    if record["classes"] is not None:
        estimator.classes_ = array_from_json(record["classes"])
    else:
        estimator.constant_ = record["constant"]
    configs = [from_json(TextConfig, one["config"], Path(path)) for one in record["members"]]
    if configs:
        estimator.encoder_ = estimator.encoder_for(configs[0])
    estimator.members_ = [
        _member(estimator, config, one, below(f"{i}/", tensors))
        for i, (config, one) in enumerate(zip(configs, record["members"], strict=True))
    ]
    return estimator


def _member(
    estimator: Any, config: TextConfig, record: Mapping[str, Any], weights: dict[str, Tensor]
) -> Member:
    encoder = getattr(estimator.encoder_, "encoder", estimator.encoder_)
    network = network_with(config, encoder)
    network.load_state_dict(weights)
    return Member(
        network.to(pick_device(estimator.device)).eval(),
        TabSTARPreprocessor.from_state(record["preprocessor"]),
        record["losses"],
        tuple(record["averaged_epochs"]),
    )


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (str, bool, int, float))
