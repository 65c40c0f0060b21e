"""Spelling of the dates of a column, decided once and then applied word by word."""

from __future__ import annotations

import datetime
import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from openpfn.tables.spelling.numbers import MISSING_WORDS
from openpfn.tables.values import MICROSECONDS

Order = Literal["year first", "day first", "month first"]

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH_NAMES = (
    "january february march april may june july august september october november december"
).split()
_WEEKDAY = r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?\s+)?"
_FIELD = r"(\d{1,4}|[a-z]{3,9}\.?)(?:st|nd|rd|th)?"
_BETWEEN = r"\s*([-/., ])[, ]*"
_CLOCK = (
    r"(?:(?:\s*t\s*|,?\s+)(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d+))?)?\s*([ap]m)?"
    r"\s*(z|utc|gmt|(?:utc|gmt)?[+-]\d{2}:?(?:\d{2})?)?)?"
)
_DATE = re.compile(rf"\s*{_WEEKDAY}{_FIELD}{_BETWEEN}{_FIELD}{_BETWEEN}{_FIELD}{_CLOCK}\s*", re.I)
_LOOKS_LIKE_DATE = re.compile(
    r"^\s*(?:[a-z]+,?\s+)?(?:\d{4}[-/., ]+\w{1,9}[-/., ]+\d|\w{1,9}[-/., ]+\w{1,9}[-/., ]+\d{2,4})",
    re.I,
)
_SPARSE_FORMATS = ("%Y%m%d", "%Y-%m", "%m/%Y", "%Y")
"""Spellings without separators or days: dates only where a column is said to hold them."""
NEVER = np.datetime64("NaT", "us")


@dataclass(frozen=True)
class DateReading:
    """A spelling of dates, as in `datetime.strptime`.

    The order of day and month counts; signs between them and the time of day may differ from word
    to word. Dates that begin with a year of four digits are read in any column.
    """

    format: str = "%Y-%m-%d"
    """Spelling that most words have."""

    def __call__(self, word: str) -> np.datetime64:
        """Return `word` as a time in UTC; NaT where it is none in this spelling."""
        match = _DATE.fullmatch(word)
        time = NEVER if match is None else self._of_parts(match)
        return self._by_format(word) if np.isnat(time) else time

    @cached_property
    def order(self) -> Order:
        """Part of the date that comes first."""
        places = {part: self.format.find(part) for part in ("%Y", "%d")}
        month = max(self.format.find(part) for part in ("%m", "%b", "%B"))
        if places["%d"] < 0:
            return "year first"
        if 0 <= places["%Y"] < month or self.format.startswith("%y"):
            return "year first"
        return "day first" if places["%d"] < month else "month first"

    def _of_parts(self, match: re.Match[str]) -> np.datetime64:
        first, _, second, _, third = match.groups()[:5]
        named = [_month_of(field) for field in (first, second, third)]
        if len(first) == 4 and first.isdigit():
            year, month, day = first, named[1] or second, third
        elif named[0]:
            year, month, day = third, named[0], second
        elif named[1]:
            year, month, day = third, named[1], first
        elif self.order == "month first":
            year, month, day = third, first, second
        elif self.order == "day first":
            year, month, day = third, second, first
        else:
            return NEVER
        return _time(str(year), str(month), str(day), match.groups()[5:])

    def _by_format(self, word: str) -> np.datetime64:
        try:
            time = datetime.datetime.strptime(word.strip(), self.format)
            if time.tzinfo is not None:
                time = time.astimezone(datetime.UTC).replace(tzinfo=None)
        except (ValueError, OverflowError):
            return NEVER
        return np.datetime64(time).astype(MICROSECONDS)


@dataclass(frozen=True)
class FoundDates:
    """Spelling that reads most of a column's words as dates."""

    reading: DateReading
    """Spelling."""
    is_guess: bool
    """Whether day and month could as well be the other way round."""
    odd_words: frozenset[str]
    """Words that it cannot read."""
    n_odd: int
    """Rows that hold one of those."""


def find_date_reading(words: Counter[str], *, told: bool = False) -> FoundDates | None:
    """Return the spelling in which most rows of `words` (with their counts) are dates.

    None where fewer than half look like dates; `told` says that they are, whatever they look like.
    """
    words = Counter({w: n for w, n in words.items() if w.lower() not in MISSING_WORDS})
    distinct = sorted(words)  # so that nothing depends on the order of the rows
    sample = distinct[:: max(1, len(distinct) // 50)]
    if not told and 2 * sum(bool(_LOOKS_LIKE_DATE.match(w)) for w in sample) <= len(sample):
        return None
    trials = [_trial(words, form) for form in (*_formats(distinct), *_SPARSE_FORMATS * told)]
    best = min(trials, key=lambda trial: trial.n_odd, default=None)
    if best is None or len(best.odd_words) == len(words):
        return None
    rivals = [
        trial
        for trial in trials
        if trial.n_odd == best.n_odd
        and {trial.reading.order, best.reading.order} == {"day first", "month first"}
    ]
    differ = any(
        other.reading(word) != best.reading(word)
        for other in rivals
        for word in distinct
        if word not in best.odd_words
    )
    return FoundDates(best.reading, differ, best.odd_words, best.n_odd)


def _trial(words: Counter[str], form: str) -> FoundDates:
    reading = DateReading(form)
    odd = frozenset(w for w in words if np.isnat(reading(w)))
    return FoundDates(reading, False, odd, sum(words[w] for w in odd))


def _formats(distinct: list[str]) -> list[str]:
    """Return the spellings that the first date among the words may have, the likelier first."""
    match = next((m for m in map(_DATE.fullmatch, distinct) if m is not None), None)
    if match is None:
        return _unusual_formats(distinct)
    first, sign, second, sign_2, third = match.groups()[:5]
    between = [sign, sign_2]
    if ", " in match.group(0)[match.start(3) : match.start(5)]:
        between[1] = ", "
    year = "%Y" if len(third) == 4 else "%y"
    month_1, month_2 = _month_code(first), _month_code(second)
    if len(first) == 4:
        fields = [["%Y", month_2, "%d"]]
    elif first[0].isalpha():
        fields = [[month_1, "%d", year]]
    elif second[0].isalpha():
        fields = [["%d", month_2, year]]
    else:
        # dots are how countries that put the day first write dates; elsewhere the month comes first
        fields = [["%m", "%d", year], ["%d", "%m", year]]
        fields = fields[::-1] if sign == "." else fields
    clock = _clock_format(match)
    return [f"{a}{between[0]}{b}{between[1]}{c}{clock}" for a, b, c in fields]


def _clock_format(match: re.Match[str]) -> str:
    hour, _, second, fraction, half, zone = match.groups()[5:]
    if hour is None:
        return ""
    sign = "T" if match.group(0)[match.end(5)] in "tT" else " "
    seconds = ":%S" + (".%f" if fraction else "") if second else ""
    return f"{sign}{'%I' if half else '%H'}:%M{seconds}{' %p' if half else ''}{'%z' * bool(zone)}"


def _unusual_formats(distinct: list[str]) -> list[str]:
    from pandas.tseries.api import guess_datetime_format

    found = [guess_datetime_format(w) for w in distinct[:1] if len(w) < 60]
    return [form for form in found if form is not None]


def _month_of(field: str) -> int | None:
    """Return the number of the month called `field`; None where it is not a month's name."""
    name = field.lower().rstrip(".")
    if name in _MONTH_NAMES:
        return _MONTH_NAMES.index(name) + 1
    name = "sep" if name == "sept" else name
    return _MONTHS.index(name) + 1 if name in _MONTHS else None


def _month_code(field: str) -> str:
    return "%m" if field.isdigit() else "%b" if len(field) <= 4 else "%B"


def _time(year: str, month: str, day: str, clock: tuple[str | None, ...]) -> np.datetime64:
    """Return the time in UTC; NaT where no calendar has it."""
    if not (year.isdigit() and month.isdigit() and day.isdigit()) or len(year) not in (2, 4):
        return NEVER
    number = int(year)
    if len(year) == 2:
        number += 1900 if number >= 69 else 2000
    hour, minute, second, fraction, half, zone = clock
    hours = int(hour or 0)
    if half:
        if not 1 <= hours <= 12:
            return NEVER
        hours = hours % 12 + 12 * (half.lower() == "pm")
    try:
        time = datetime.datetime(
            number,
            int(month),
            int(day),
            hours,
            int(minute or 0),
            int(second or 0),
            int((fraction or "0")[:6].ljust(6, "0")),
        )
    except ValueError:
        return NEVER
    return np.datetime64(time).astype(MICROSECONDS) - _offset(zone)


def _offset(zone: str | None) -> np.timedelta64:
    digits = re.sub(r"[^0-9+-]", "", zone or "")
    if not digits:
        return np.timedelta64(0, "s")
    minutes = int(digits[1:3]) * 60 + int(digits[3:5] or 0)
    return np.timedelta64(-minutes if digits[0] == "-" else minutes, "m")
