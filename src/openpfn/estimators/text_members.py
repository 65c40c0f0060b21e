"""`Member`: one network adapted to a table, with how the table is put into words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from torch import Tensor

from openpfn.configs.text import FineTuneConfig
from openpfn.models.text.network import Task, TextTableNetwork
from openpfn.text.cells import outputs_of
from openpfn.text.finetune import finetune, split_rows
from openpfn.text.pretrain import texts_of
from openpfn.text.verbalize import TabSTARPreprocessor


@dataclass(frozen=True)
class Member:
    """An adapted network and the preprocessor of the rows it was trained on."""

    network: TextTableNetwork
    preprocessor: TabSTARPreprocessor
    losses: list[float]
    """Loss on the validation rows after each epoch; the first is that before any training."""
    averaged_epochs: tuple[int, ...]
    """Epochs whose weights were averaged."""

    def outputs(self, table: pd.DataFrame, encoder: Any) -> Float[Tensor, "Q outputs"]:
        """Return the logits of the classes, in the order of the tokens, or the outputs for a
        number, for each row."""
        rows = self.preprocessor.transform(table)
        return outputs_of(self.network, texts_of(self.network, encoder, rows.strings), rows)

    def numbers(self, outputs: Float[Tensor, "Q outputs"]) -> Float[np.ndarray, " Q"]:
        """Return the expected number of each row."""
        z = self.network.estimate(outputs)
        return self.preprocessor.target_.decode(z.double().numpy())

    @property
    def class_words(self) -> list[str]:
        """Words of the classes, in the order of the tokens."""
        classes = self.preprocessor.target_.classes
        return [] if classes is None else classes.tolist()


def fit_member(
    network: TextTableNetwork,
    encoder: Any,
    table: pd.DataFrame,
    target: pd.Series,
    labels: Int[np.ndarray, " n"] | None,
    config: FineTuneConfig,
    seed: int,
    deadline: float | None,
) -> Member:
    """Return `network` adapted to some of the rows of `table`; the others choose the epochs.

    `target` holds words of classes where `labels` are given, else numbers.
    """
    task: Task = "regression" if labels is None else "classification"
    trained, held = split_rows(labels, len(table), config, seed)
    preprocessor = TabSTARPreprocessor(network.config.version, task=task)
    preprocessor.fit(table.iloc[trained], target.iloc[trained])
    whole = preprocessor.transform(table, target)

    def texts(adapted: TextTableNetwork) -> Any:
        return texts_of(adapted, encoder, whole.strings)

    tuned = finetune(
        network,
        texts,
        whole.rows(trained),
        whole.rows(held),
        config,
        seed=seed,
        deadline=deadline,
    )
    adapted = tuned.network
    adapted.config = replace(adapted.config, encoder_fingerprint=encoder.fingerprint)
    return Member(adapted, preprocessor, tuned.losses, tuned.averaged_epochs)
