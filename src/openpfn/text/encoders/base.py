"""`TextEncoder`: strings in, vectors out; `BatchEncoder` reads each distinct string once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float


@runtime_checkable
class TextEncoder(Protocol):
    """Anything that turns strings into vectors, the same vector for the same string."""

    fingerprint: str
    """Name of the function from strings to vectors: encoders that share it agree on every string
    (to rounding)."""
    width: int
    """Numbers in a vector."""

    def encode(self, texts: Sequence[str]) -> Float[np.ndarray, "n width"]:
        """Return one float32 vector per string, in the order of `texts`."""
        ...


class BatchEncoder(ABC):
    """Encoder that embeds each distinct string once, in batches of strings of like length.

    The distinct strings are put in order before they are batched, so that neither their order nor
    repeats among them change a vector.
    """

    fingerprint: str
    width: int
    batch_size: ClassVar[int] = 64
    """Strings that are embedded together."""

    def encode(self, texts: Sequence[str]) -> Float[np.ndarray, "n width"]:
        """Return one float32 vector per string, in the order of `texts`.

        Letters that UTF-8 cannot hold (halves of surrogate pairs) are read as question marks.
        Raises TypeError for a single string, or for anything else among the strings.
        """
        codes, distinct = distinct_strings(texts)
        vectors = np.empty((len(distinct), self.width), dtype=np.float32)
        for chosen in self._batches(distinct):
            vectors[chosen] = self.embed([encodable(distinct[i]) for i in chosen])
        return vectors[codes]

    @abstractmethod
    def embed(self, texts: list[str]) -> Float[np.ndarray, "n width"]:
        """Return the vectors of one batch of distinct strings."""

    def _batches(self, distinct: list[str]) -> Iterator[list[int]]:
        """Yield numbers of strings that go together, the longest first: if memory is short, that
        shows at once."""
        order = sorted(range(len(distinct)), key=lambda i: (-len(distinct[i]), distinct[i]))
        for start in range(0, len(order), self.batch_size):
            yield order[start : start + self.batch_size]


def distinct_strings(texts: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """Return the place of each text among the distinct ones, and those in order of appearance."""
    if isinstance(texts, str):
        raise TypeError("got one string; expected a sequence of strings. Put it into a list.")
    places: dict[str, int] = {}
    codes = np.empty(len(texts), dtype=np.int64)
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(
                f"text {i} is {text!r}, a {type(text).__name__}; expected a string. Turn values"
                " into strings first, as TabSTARPreprocessor does."
            )
        codes[i] = places.setdefault(text, len(places))
    return codes, list(places)


def encodable(text: str) -> str:
    """Return `text` with what UTF-8 cannot hold as question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")
