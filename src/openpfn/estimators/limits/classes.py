"""More classes than a network tells apart: members that tell groups of classes apart, and classes
within a group."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Int

from openpfn.estimators.views.ensemble import Member

STRATEGIES = ("hierarchy", "codes", "neighbours")
"""Values of the parameter `many_classes`, beside "auto"."""
DEFAULT = "hierarchy"
"""What "auto" is: the best of the three on real tables."""
CODES_PER_MEMBER = 3
"""Codes for each member that is asked for: about the time that a hierarchy takes."""
TRIES = 100
"""Random codes of which the best is taken."""


def with_classes(
    members: list[Member],
    strategy: str,
    present: Bool[np.ndarray, " k"],
    most: int,
    seed: int,
) -> list[Member]:
    """Return members that tell at most `most` of k classes, or groups of these, apart. `present`
    marks the classes that the context has rows of."""
    random, n_classes = np.random.default_rng([seed, 5]), len(present)
    if strategy == "hierarchy":
        trees = [_tree(member, present, most, random) for member in members]
        return [node for tree in trees for node in tree]
    n_codes = len(members) * (CODES_PER_MEMBER if strategy == "codes" else 1)
    drawn, together = [], np.zeros((n_classes, n_classes))
    for i in range(n_codes):
        code = _apart(together, min(most, n_classes), random)
        together += code[:, None] == code
        like = members[i % len(members)]
        order = like.seed if i < len(members) else int(random.integers(2**31))
        drawn.append(replace(like, seed=order, code=tuple(code.tolist())))
    return drawn


def sharpness(members: list[Member], n_classes: int) -> float:
    """Return what the mean of the members' log-probabilities is multiplied by: 1 where each member,
    or tree of members, tells all classes apart. Codes do so only together: their mean counts as
    often as digits are needed to name a class."""
    n_digits = max(member.n_shown(n_classes) for member in members)
    if n_digits == n_classes or not all(member.is_whole for member in members):
        return 1.0
    return float(np.ceil(np.log(n_classes) / np.log(n_digits)))


def _tree(
    member: Member, present: Bool[np.ndarray, " k"], most: int, random: np.random.Generator
) -> list[Member]:
    """Return members that tell random groups of classes apart, then the classes of each group, in
    as many steps as it takes: the digits of a class in a mixed radix."""
    nodes: list[Member] = []

    def split(classes: Int[np.ndarray, " c"]) -> None:
        with_rows = present[classes]
        if len(classes) == 1 or not with_rows.any():
            return
        digits = np.arange(len(classes))
        if len(classes) > most:
            shuffled = random.permutation(len(classes))
            # classes without rows go last, so that they are spread over the groups
            shuffled = shuffled[np.argsort(~with_rows[shuffled], kind="stable")]
            n_groups = min(most, -(-len(classes) // most))
            digits[shuffled] = np.arange(len(classes)) % n_groups
        code = np.full(len(present), -1)
        code[classes] = digits
        nodes.append(replace(member, code=tuple(code.tolist())))
        if len(classes) > most:
            for digit in range(digits.max() + 1):
                split(classes[digits == digit])

    split(np.arange(len(present)))
    return nodes


def _apart(
    together: Float[np.ndarray, "k k"], n_digits: int, random: np.random.Generator
) -> Int[np.ndarray, " k"]:
    """Return a code of digits that come equally often, which parts the classes that are most often
    `together` in the codes so far."""
    best, least = None, np.inf
    for _ in range(TRIES):
        code = random.permutation(np.arange(len(together)) % n_digits)
        cost = float((together * (code[:, None] == code)).sum())
        if cost < least:
            best, least = code, cost
    assert best is not None
    return best
