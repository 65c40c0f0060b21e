"""How an estimator reads columns of text: what its parameter `text` means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float

from openpfn.tables.columns.base import ColumnEncoder
from openpfn.tables.columns.texts import NoText, Sentences, WordsAndLetters
from openpfn.tables.values import ColumnValues

TEXT_READINGS = ("auto", "string", "encoder", "drop")
"""Values of the parameter `text`; "auto" is "string", which needs nothing installed."""
SENTENCE_ENCODERS = ("e5", "minilm")
"""Sentence encoders that "encoder" means: the first that is on disk. Nothing is downloaded."""


@dataclass(frozen=True)
class RecordedModel:
    """An encoder of sentences by name and fingerprint: it is found again wherever a pickle or a
    saved file is read. Its vectors are kept on disk."""

    name: str
    """Name that `openpfn.text.encoders.load_encoder` knows."""
    fingerprint: str
    """That of the encoder that was fitted with."""

    def encode(self, texts: list[str]) -> Float[np.ndarray, "n width"]:
        """Return one vector per text. Raises ValueError if the encoder has another fingerprint."""
        found = _encoder(self.name)
        if found.fingerprint != self.fingerprint:
            raise ValueError(
                f"the texts were read by the encoder {self.name!r} with fingerprint"
                f" {self.fingerprint}, but the one found here has {found.fingerprint}. Bring back"
                " the encoder, or fit again."
            )
        return found.encode(texts)


def text_reading(text: Any) -> Callable[[ColumnValues], ColumnEncoder]:
    """Return what makes the encoder of a column of text from its values."""
    if text in ("auto", "string"):
        return WordsAndLetters.fit
    if text == "drop":
        return NoText.fit
    if text == "encoder":
        return fit_sentences
    raise ValueError(f"text is {text!r}, must be one of {', '.join(TEXT_READINGS)}.")


def fit_sentences(values: ColumnValues) -> Sentences:
    """Return the encoder of a column by the first of `SENTENCE_ENCODERS` that is on disk."""
    return Sentences.fit(values, _recorded())


def fit_vectors(values: ColumnValues, n_components: int) -> Sentences:
    """Return that of its vectors alone, as so many principal components."""
    return Sentences.fit_vectors(values, _recorded(), n_components)


def _recorded() -> RecordedModel:
    *better, last = SENTENCE_ENCODERS
    name = next((name for name in better if _is_on_disk(name)), last)
    return RecordedModel(name, _encoder(name).fingerprint)


def _is_on_disk(name: str) -> bool:
    try:
        return _encoder(name) is not None
    except (FileNotFoundError, ImportError):
        return False


@lru_cache(maxsize=2)
def _encoder(name: str) -> Any:
    """Return the encoder, loaded once per process."""
    from openpfn.text.cache import CachedEncoder
    from openpfn.text.encoders import load_encoder

    return CachedEncoder(load_encoder(name))
