"""Reference logits: what an exported library has to answer, computed by `PFNClassifier`."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from openpfn.estimators import PFNClassifier
from openpfn.export.verification.vectors import Vectors


def reference_logits(model: Any, vectors: Vectors) -> Float[np.ndarray, "Q k"]:
    """Return the logits behind the probabilities of `PFNClassifier(model=model, n_estimators=1)`,
    by label; −inf for classes without context rows."""
    x = vectors.x.astype(np.float64)
    if np.isnan(x).all():  # the classifier needs a column with values; one of zeros says as little
        x = np.zeros_like(x)
    with warnings.catch_warnings():
        # more rows than in training: the library answers all the same
        warnings.simplefilter("ignore")
        classifier = PFNClassifier(model=model, n_estimators=1)
        classifier.fit(x, vectors.y)
    logits = np.full((len(vectors.queries), vectors.n_classes), -np.inf, dtype=np.float32)
    context = classifier.context_
    if context is None:  # a single class, which is certain
        logits[:, classifier.classes_] = 0.0
        return logits
    assert context.groups is not None, "no limit of memory was set"
    view = context.groups[0][0]
    with torch.inference_mode():
        answer = context.ready_network().model.read(
            torch.from_numpy(view(read_columns(classifier, vectors.queries)))[None],
            context.states[0],
        )
    places = classifier.classes_[classifier.order_]
    logits[:, places] = answer[0, :, : len(places)].cpu().numpy()
    return logits


def read_columns(
    classifier: PFNClassifier, rows: Float[np.ndarray, "Q D"]
) -> Float[np.ndarray, "Q S"]:
    """Return the columns of `rows` that the fitted classifier reads: encoded, since a column
    without values has no number, and of these the ones that vary; zeros where none does."""
    encoded = classifier.encoder_.transform(pd.DataFrame(rows.astype(np.float64)))
    columns = classifier.columns_
    return encoded[:, columns] if len(columns) else np.zeros((len(rows), 1))
