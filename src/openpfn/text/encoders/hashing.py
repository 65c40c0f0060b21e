"""Encode strings by counting their groups of letters: no weights, no further package."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from openpfn.tables.spelling.letters import N_GRAM_BUCKETS, letter_groups, unit_rows
from openpfn.text.encoders.base import BatchEncoder


class HashingEncoder(BatchEncoder):
    """Encoder by hashed groups of 2 to 4 letters, some 50,000 short strings a second.

    Strings that share letters are close; meaning counts for nothing, nor do capitals. A vector has
    length 1, or 0 for a string of nothing but blanks.

    >>> vectors = HashingEncoder().encode(["a red house", "a red horse", "blue"])
    >>> bool(vectors[0] @ vectors[1] > vectors[0] @ vectors[2])
    True
    """

    width = N_GRAM_BUCKETS // 2
    fingerprint = f"hashing-{width}"
    batch_size = 1024

    def embed(self, texts: list[str]) -> Float[np.ndarray, "n width"]:
        # the square root keeps groups that repeat, as those of a shared opening, from drowning out
        # the others; opposite signs of the halves let collisions cancel (Weinberger et al. 2009)
        weights = letter_groups(texts).sqrt()
        folded = weights[:, : self.width] - weights[:, self.width :]
        return unit_rows(folded).toarray().astype(np.float32)
