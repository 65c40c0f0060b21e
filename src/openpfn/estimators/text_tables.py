"""`TextTableClassifier` and `TextTableRegressor`: a network that reads the words of a table,
adapted to it by `fit`."""

from __future__ import annotations

import time
import warnings
from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, no_type_check

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from openpfn.configs.text import TEXT_PRESETS, FineTuneConfig, TextConfig
from openpfn.device import pick_device
from openpfn.estimators.table_estimator import TableEstimator
from openpfn.estimators.text_members import Member, fit_member
from openpfn.models.text.network import TextTableNetwork
from openpfn.tables.values import as_word, counted, shown

E = TypeVar("E", bound="TextTableEstimator")
DEFAULT = "text-small"
"""Checkpoint that "auto" stands for, where it is shipped."""


class TextTableEstimator(TableEstimator, ABC):
    """Estimator whose `fit` adapts a network that reads each cell as text and number."""

    members_: list[Member]

    @no_type_check  # scikit-learn's contract: the constructor takes anything, `fit` complains
    def __init__(
        self,
        model: Any = "auto",
        *,
        encoder: Any = "auto",
        adapt: str = "auto",
        n_estimators: int = 1,
        max_epochs: int = 50,
        patience: int = 5,
        learning_rate: float | None = None,
        batch_size: int = 64,
        validation_share: float = 0.1,
        time_limit: float | None = None,
        device: str = "auto",
        cache: bool = True,
        random_state: Any = 0,
    ) -> None:
        self.model = model
        self.encoder = encoder
        self.adapt = adapt
        self.n_estimators = n_estimators
        self.max_epochs = max_epochs
        self.patience = patience
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.validation_share = validation_share
        self.time_limit = time_limit
        self.device = device
        self.cache = cache
        self.random_state = random_state

    def save(self, path: str | Path) -> Path:
        """Write the fitted estimator to one safetensors file, without pickle: the adapted weights,
        and how the table is put into words. The text encoder stays out: its fingerprint is kept."""
        from openpfn.estimators.text_saving import save

        check_is_fitted(self)
        return save(self, path)

    @classmethod
    def load(cls: type[E], path: str | Path, *, encoder: Any = None, device: str = "auto") -> E:
        """Return the estimator that `save` wrote to `path`, with the text encoder that it was
        fitted with, found by name unless given.

        Raises ValueError if the file is damaged, holds another estimator, or if the text encoder is
        another one.
        """
        from openpfn.estimators.text_saving import load

        return load(cls, path, encoder=encoder, device=device)

    def _table(self, X: Any, *, reset: bool) -> pd.DataFrame:
        """Return `X` as a DataFrame whose columns are those of `fit`, in their order."""
        names = getattr(self, "feature_names_in_", None)
        if not reset and names is not None and isinstance(X, pd.DataFrame):
            missing = [name for name in names if name not in X.columns]
            if missing:
                listed = ", ".join(map(shown, missing[:5]))
                raise ValueError(
                    f"X lacks {counted(len(missing), 'column')} that fit saw: {listed}. Give all of"
                    " them, in any order."
                )
            X = X.loc[:, list(names)]
        return super()._table(X, reset=reset)

    @abstractmethod
    def _read_target(self, y: Any, table: pd.DataFrame) -> tuple[np.ndarray, Any]:
        """Return the targets as the tokens say them, and class indices or None."""

    def _fit(self, X: Any, y: Any) -> Any:
        """Adapt `n_estimators` networks to the rows."""
        began = time.monotonic()
        self._check_parameters()
        table = self._table(X, reset=True)
        targets, labels = self._read_target(y, table)
        self.members_ = []
        if self._is_constant(targets):
            return self
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        network, is_pretrained = self._starting_network(seed)
        self.encoder_ = self.encoder_for(network.config)
        config = self._fine_tuning(network, is_pretrained)
        target = pd.Series(targets, name=str(getattr(y, "name", None) or "target"))
        for i in range(int(self.n_estimators)):
            deadline = None
            if self.time_limit is not None:
                left = began + self.time_limit - time.monotonic()
                if i and left <= 0:
                    break
                deadline = time.monotonic() + left / (self.n_estimators - i)
            start = network if is_pretrained else self._starting_network(seed + i)[0]
            self.members_.append(
                fit_member(start, self.encoder_, table, target, labels, config, seed + i, deadline)
            )
        return self

    def _outputs(self, X: Any) -> tuple[int, list[tuple[Member, Tensor]]]:
        """Return the number of rows, and each member's outputs for them."""
        check_is_fitted(self)
        table = self._table(X, reset=False)
        outputs = [(member, member.outputs(table, self.encoder_)) for member in self.members_]
        return len(table), outputs

    @abstractmethod
    def _is_constant(self, targets: np.ndarray) -> bool:
        """Return whether there is nothing to learn, and take up the constant."""

    def _starting_network(self, seed: int) -> tuple[TextTableNetwork, bool]:
        """Return the network to adapt, and whether it was pretrained."""
        from openpfn import checkpoint
        from openpfn.text.encoders import load_encoder
        from openpfn.text.pretrain import network_with

        device = pick_device(self.device)
        if isinstance(self.model, TextTableNetwork):
            return self.model.to(device), bool(self.model.config.encoder_fingerprint)
        source = self.model
        if source == "auto":
            source = DEFAULT if self._can_start_from_default() else TEXT_PRESETS[DEFAULT]
            if source != DEFAULT:
                warnings.warn(
                    "there is no pretrained network to start from with this text encoder: fit"
                    " trains one from random weights, which needs more rows to predict well."
                    " Pretrain one with `openpfn train --preset text-small --corpus FOLDER` and"
                    " give its folder as model=…",
                    stacklevel=4,
                )
        if isinstance(source, TextConfig):
            encoder: Any = load_encoder(self.encoder)
            config = _for_encoder(source, encoder)
            with torch.random.fork_rng([]):
                torch.manual_seed(seed)
                return network_with(config, encoder).to(device), False
        header = checkpoint.read_header(source)
        config = header.config
        if not isinstance(config, TextConfig):
            raise ValueError(
                f"{source} holds a {type(config).__name__}, not a network that reads text. Give one"
                " trained with --preset text-small, or use PFNClassifier or PFNRegressor."
            )
        network = network_with(
            config, load_encoder(config.encoder) if config.unfrozen_layers else None
        )
        return checkpoint.load(source, model=network).model.to(device), True

    def _can_start_from_default(self) -> bool:
        """Return whether the shipped network is there and reads by the text encoder asked for."""
        from openpfn import checkpoint
        from openpfn.text.encoders import load_encoder

        if DEFAULT not in checkpoint.shipped_names():
            return False
        known = checkpoint.read_header(DEFAULT).config.encoder_fingerprint
        return self.encoder == "auto" or load_encoder(self.encoder).fingerprint == known

    def encoder_for(self, config: TextConfig) -> Any:
        """Return the text encoder that `config` needs, behind the cache of vectors."""
        from openpfn.text.cache import CachedEncoder
        from openpfn.text.encoders import load_encoder
        from openpfn.text.pretrain import check_encoder

        named = self.encoder != "auto" or not config.encoder_fingerprint
        encoder = load_encoder(self.encoder if named else config.encoder)
        check_encoder(config, encoder)
        is_cheap = encoder.fingerprint.startswith("hashing")
        keeps = self.cache and not is_cheap and not config.unfrozen_layers
        return CachedEncoder(encoder) if keeps else encoder

    def _fine_tuning(self, network: TextTableNetwork, is_pretrained: bool) -> FineTuneConfig:
        adapt = self.adapt
        if adapt == "auto":
            adapt = "lora" if is_pretrained else "all"
        rate = self.learning_rate
        if rate is None:  # adapters of small networks need larger steps
            is_small = adapt == "lora" and not network.config.unfrozen_layers
            rate = 5e-3 if is_small else FineTuneConfig.learning_rate
        return FineTuneConfig(
            adapt=adapt,  # pyright: ignore[reportArgumentType]
            learning_rate=float(rate),
            max_epochs=int(self.max_epochs),
            patience=int(self.patience),
            batch_size=int(self.batch_size),
            validation_share=float(self.validation_share),
        )

    def _check_parameters(self) -> None:
        self._check_n_estimators()
        if self.time_limit is not None and not self.time_limit > 0:
            raise ValueError(
                f"time_limit is {self.time_limit!r}, must be seconds above 0, or None."
            )
        if self.adapt not in ("auto", "lora", "all"):
            raise ValueError(f"adapt is {self.adapt!r}, must be 'auto', 'lora' or 'all'.")


class TextTableClassifier(ClassifierMixin, TextTableEstimator):
    """Classifier that reads the words in a table: column names, cells and class names.

    A network pretrained on other tables is adapted to the rows by low-rank adapters (TabSTAR, Arazi
    et al. 2025). Takes DataFrames with text, numbers, categories, dates and missing values, and
    labels of any type. Columns are found by name, in any order. A prediction does not depend on the
    other query rows.

    Parameters
    ----------
    model : str, Path, TextConfig or network
        "auto" (the shipped "text-small"; with another encoder than its own random weights, and a
        warning), a checkpoint or run's folder, a configuration to start from random weights, or a
        network in memory.
    encoder : str, Path or TextEncoder
        "auto" (what the network was trained with), or what `load_encoder` takes.
    adapt : str
        "lora" trains adapters, "all" all weights; "auto" is adapters for a pretrained network.
    n_estimators : int
        Networks that are adapted, each with validation rows of its own; answers are averaged.
    max_epochs, patience : int
        Passes over the rows, and how many without a lower validation loss end training.
    learning_rate : float or None
        Peak rate; None for 0.001, or 0.005 for adapters beside a frozen text encoder.
    batch_size : int
        Rows per gradient.
    validation_share : float
        Rows that choose the epochs, whose weights are averaged.
    time_limit : float or None
        Seconds after which `fit` stops training. Encoding the strings counts, but is not cut short.
    device : str
        "auto" (cuda, then mps, then cpu) or a torch device.
    cache : bool
        Keep the vectors of strings on disk for later fits and predictions.
    random_state : int, RandomState or None
        Decides validation rows, order of rows, dropout and random weights.

    Attributes
    ----------
    classes_ : the labels, sorted.
    n_features_in_, feature_names_in_ : columns of the table.
    members_ : the adapted networks; empty where all rows have one class.
    encoder_ : the text encoder.

    >>> classifier = TextTableClassifier(n_estimators=2, time_limit=60)
    >>> classifier.fit(reviews, stars).predict_proba(others)    # doctest: +SKIP
    """

    def fit(self, X: Any, y: Any) -> TextTableClassifier:
        """Adapt the network to rows `X` (n, D) and their labels `y` (n,).

        Raises ValueError for infinite values, missing labels and text encoders that are not those
        of the network; FileNotFoundError for one that is not on disk.
        """
        return self._fit(X, y)

    def predict_proba(self, X: Any) -> Float[np.ndarray, "Q k"]:
        """Return the probability of each of `classes_` for each row of `X` (Q, D)."""
        n_rows, outputs = self._outputs(X)
        if not outputs:
            return np.ones((n_rows, 1))
        words = _distinct_words(self.classes_)
        parts = []
        for member, logits in outputs:  # tokens stand in the order of their words
            order = [member.class_words.index(word) for word in words]
            parts.append(torch.softmax(logits.double(), dim=1).numpy()[:, order])
        mean = np.mean(parts, axis=0)
        return mean / mean.sum(axis=1, keepdims=True)

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of each row of `X` (Q, D)."""
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(axis=1)]

    def _read_target(self, y: Any, table: pd.DataFrame) -> tuple[np.ndarray, Any]:
        labels: Int[np.ndarray, " n"] = self._labels(y, table)
        words = np.array(_distinct_words(self.classes_), dtype=object)
        return words[labels], labels

    def _is_constant(self, targets: np.ndarray) -> bool:
        return len(self.classes_) == 1


class TextTableRegressor(RegressorMixin, TextTableEstimator):
    """Regressor that reads the words in a table: column names and cells.

    Parameters and attributes are those of `TextTableClassifier`, but for the classes.

    >>> regressor = TextTableRegressor(time_limit=60)
    >>> regressor.fit(cars, prices).predict(others)    # doctest: +SKIP
    """

    def fit(self, X: Any, y: Any) -> TextTableRegressor:
        """Adapt the network to rows `X` (n, D) and their numbers `y` (n,).

        Raises as `TextTableClassifier.fit` does.
        """
        return self._fit(X, y)

    def predict(self, X: Any) -> Float[np.ndarray, " Q"]:
        """Return the expected number of each row of `X` (Q, D)."""
        n_rows, outputs = self._outputs(X)
        if not outputs:
            return np.full(n_rows, self.constant_)
        return np.mean([member.numbers(logits) for member, logits in outputs], axis=0)

    def _read_target(self, y: Any, table: pd.DataFrame) -> tuple[np.ndarray, Any]:
        return self._numbers(y, table), None

    def _is_constant(self, targets: np.ndarray) -> bool:
        self.constant_ = float(targets.mean())
        return bool(np.ptp(targets) == 0)


def _distinct_words(classes: np.ndarray) -> list[str]:
    """Return a word for each class; classes that are written alike are numbered."""
    words = [as_word(label) for label in classes.tolist()]
    return [f"{w} ({i})" if words.count(w) > 1 else w for i, w in enumerate(words)]


def _for_encoder(config: TextConfig, encoder: Any) -> TextConfig:
    """Return `config` for embeddings of `encoder`."""
    is_hashing = encoder.fingerprint.startswith("hashing")
    name = "hashing" if is_hashing else getattr(encoder, "name", encoder.fingerprint)
    return replace(
        config,
        d_text=encoder.width,
        encoder=name,
        encoder_fingerprint="",
    )
