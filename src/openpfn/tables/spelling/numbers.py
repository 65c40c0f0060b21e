"""Spelling of the numbers of a column, decided once and then applied word by word."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np

MISSING_WORDS = frozenset(
    {
        "",
        "?",
        "-",
        ".",
        "na",
        "n/a",
        "#n/a",
        "nan",
        "null",
        "none",
        "<na>",
        "nat",
        "missing",
        "unknown",
    }
)
"""Words that stand for a missing number or date (in lower case). In a column of categories only the
empty word is missing."""
SPACES = str.maketrans("\u00a0\u2009\u202f\u2019", "   '")
"""Other spellings of the blank and the apostrophe between groups of digits."""
_NAMES = {
    ",": "commas",
    ".": "dots",
    " ": "blanks",
    "'": "apostrophes",
}


@dataclass(frozen=True)
class NumberReading:
    """Spelling of numbers: the sign before decimals, and the sign between thousands."""

    decimal: str = "."
    """Sign before the decimals: a dot or a comma."""
    thousands: str = ""
    """Sign between groups of three digits; empty where there is none."""

    def __call__(self, word: str) -> float:
        """Return `word` as a number; NaN where it is none in this spelling."""
        if self.decimal == "." and not self.thousands:
            return _float(word)
        word = word.translate(SPACES).strip()
        if not self._pattern.fullmatch(word):
            return np.nan
        if self.thousands:
            word = word.replace(self.thousands, "")
        return _float(word.replace(self.decimal, "."))

    def __str__(self) -> str:
        words = [] if self.decimal == "." else ["decimal commas"]
        if self.thousands:
            words.append(f"{_NAMES[self.thousands]} between thousands")
        return " and ".join(words)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        decimal = re.escape(self.decimal)
        groups = (
            rf"|[1-9]\d{{0,2}}(?:{re.escape(self.thousands)}\d{{3}})+" if self.thousands else ""
        )
        return re.compile(
            rf"[+-]?(?:(?:\d+{groups})(?:{decimal}\d*)?|{decimal}\d+)(?:[eE][+-]?\d+)?"
        )


PLAIN = NumberReading()
READINGS = (
    PLAIN,
    NumberReading(",", ""),
    NumberReading(".", ","),
    NumberReading(",", "."),
    NumberReading(".", " "),
    NumberReading(",", " "),
    NumberReading(".", "'"),
    NumberReading(",", "'"),
)
"""Known spellings, the likeliest first."""


@dataclass(frozen=True)
class FoundNumbers:
    """Spelling that reads most of a column's words."""

    reading: NumberReading
    """Spelling."""
    is_guess: bool
    """Whether another spelling reads as many words, as other numbers."""
    odd_words: frozenset[str]
    """Words that it cannot read."""
    n_odd: int
    """Rows that hold one of those."""


def find_number_reading(words: Counter[str]) -> FoundNumbers:
    """Return the spelling in which most rows of `words` (with their counts) are numbers."""
    words = Counter({w: n for w, n in words.items() if w.lower() not in MISSING_WORDS})
    trials: list[FoundNumbers] = []
    for reading in READINGS:
        odd = frozenset(w for w in words if np.isnan(reading(w)))
        found = FoundNumbers(reading, False, odd, sum(words[w] for w in odd))
        if not odd and reading == PLAIN:
            return found
        trials.append(found)
    fewest = min(trial.n_odd for trial in trials)
    best = [trial for trial in trials if trial.n_odd == fewest]
    chosen = best[0]
    if chosen.reading == READINGS[1] and best[1:2] and best[1].reading == READINGS[2]:
        # every comma stands before three digits: decimals have fewer now and then, and numbers
        # with grouped thousands have no four digits in a row
        ungrouped = any(re.search(r"\d{4}", w) for w in words if w not in chosen.odd_words)
        doubtful = chosen.reading if ungrouped else best[1].reading
        return FoundNumbers(doubtful, True, chosen.odd_words, fewest)
    return chosen


def _float(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return np.nan
