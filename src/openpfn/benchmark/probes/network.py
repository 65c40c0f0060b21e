"""`NetworkReader`: one pass of a network that predicts numbers, behind the face of an estimator."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from openpfn.tables.encode import TableEncoder
from openpfn.tables.schema import Kind


class NetworkReader:
    """Predicts the mean that the network of `checkpoint` gives each row, without an ensemble."""

    def __init__(self, checkpoint: str, kinds: Mapping[Hashable, Kind], device: str) -> None:
        self.checkpoint, self.kinds, self.device = checkpoint, kinds, device

    def fit(self, X: pd.DataFrame, y: Float[np.ndarray, " n"]) -> NetworkReader:
        self.encoder = TableEncoder().fit(X, dict(self.kinds))
        self.context, self.y = self.encoder.transform(X), y
        return self

    def predict(self, X: pd.DataFrame) -> Float[np.ndarray, " Q"]:
        import torch

        from openpfn.batch import TaskBatch
        from openpfn.estimators.network import find_network

        torch.set_num_threads(1)
        network = find_network(self.checkpoint, None, self.device)
        x = np.concatenate([self.context, self.encoder.transform(X)])

        def on_device(values: Any) -> torch.Tensor:
            return torch.as_tensor(values, device=network.device).unsqueeze(0)

        y = np.zeros(len(x))
        y[: len(self.y)] = self.y
        batch = TaskBatch(
            x=on_device(x.astype(np.float32)),
            y=on_device(y.astype(np.float32)),
            n_train=len(self.y),
            categorical=on_device(self.encoder.categorical),
        )
        with torch.inference_mode():
            mean = network.model.predictive(batch).mean
        return mean[0].double().cpu().numpy()
