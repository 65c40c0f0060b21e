"""Shapley values from the worths of coalitions: all of them, or a drawn part."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
from jaxtyping import Bool, Float


def all_coalitions(n_players: int) -> Bool[np.ndarray, "S P"]:
    """Return every subset of the players, each as a row of who is in."""
    numbers = np.arange(2**n_players)
    return (numbers[:, None] >> np.arange(n_players) & 1).astype(bool)


def exact_values(
    coalitions: Bool[np.ndarray, "S P"], worths: Float[np.ndarray, "S K"]
) -> Float[np.ndarray, "P K"]:
    """Return the Shapley values (Shapley 1953, eq. 12) of `worths` of `all_coalitions`."""
    n_players = coalitions.shape[1]
    sizes = coalitions.sum(axis=1)
    share = np.array([1 / (n_players * comb(n_players - 1, s)) for s in range(n_players)])
    # a coalition counts for its members as s − 1 others, and against the rest as s others
    joined = np.where(sizes > 0, share[np.maximum(sizes - 1, 0)], 0.0)
    absent = np.where(sizes < n_players, share[np.minimum(sizes, n_players - 1)], 0.0)
    signs = np.where(coalitions, joined[:, None], -absent[:, None])  # (S, P)
    return signs.T @ worths


def drawn_coalitions(
    n_players: int, n_coalitions: int, random: np.random.Generator
) -> tuple[Bool[np.ndarray, "S P"], Float[np.ndarray, " S"]]:
    """Return about `n_coalitions` subsets that are neither empty nor whole, and the weight of each
    in a regression whose coefficients are Shapley values (Lundberg & Lee 2017, theorem 2).

    Subsets of the sizes that weigh most, 1 and n − 1 first, are all taken as far as they fit; the
    others are drawn by their weight, each with its complement, which halves the error of most games
    (Covert & Lee 2021, section 4.2).
    """
    half = (n_players - 1) // 2
    sizes = np.arange(1, n_players // 2 + 1)
    weight = np.array([(n_players - 1) / (s * (n_players - s)) for s in sizes])
    weight = weight * np.where(sizes <= half, 2.0, 1.0)  # with the complements' sizes
    weight /= weight.sum()
    masks, weights, left, n_whole = [], [], n_coalitions, 0
    for size, mass in zip(sizes, weight, strict=True):
        count = comb(n_players, int(size)) * (2 if size <= half else 1)
        share = mass / weight[n_whole:].sum()
        if count > left or (count > left * share and n_whole > 0):
            break
        for members in combinations(range(n_players), int(size)):
            mask = np.zeros(n_players, dtype=bool)
            mask[list(members)] = True
            pair = [mask, ~mask] if size <= half else [mask]
            masks += pair
            weights += [mass / count] * len(pair)
        left, n_whole = left - count, n_whole + 1
    if n_whole < len(sizes) and left >= 2:
        rest = weight[n_whole:] / weight[n_whole:].sum()
        counted: dict[bytes, int] = {}
        for size in random.choice(sizes[n_whole:], p=rest, size=4 * left):
            mask = np.zeros(n_players, dtype=bool)
            mask[random.permutation(n_players)[:size]] = True
            for one in (mask, ~mask):
                counted[one.tobytes()] = counted.get(one.tobytes(), 0) + 1
            if len(counted) >= left - 1:
                break
        total = sum(counted.values())
        masks += [np.frombuffer(key, dtype=bool) for key in counted]
        weights += [weight[n_whole:].sum() * n / total for n in counted.values()]
    return np.array(masks), np.array(weights)


def regressed_values(
    coalitions: Bool[np.ndarray, "S P"],
    weights: Float[np.ndarray, " S"],
    worths: Float[np.ndarray, "S K"],
    nobody: Float[np.ndarray, " K"],
    everybody: Float[np.ndarray, " K"],
) -> Float[np.ndarray, "P K"]:
    """Return the coefficients of the weighted regression of `worths` on who is in, which add up to
    the worth of everybody less that of nobody."""
    gain = everybody - nobody
    last = coalitions[:, -1:].astype(np.float64)
    # the constraint takes the last coefficient out of the regression
    x = coalitions[:, :-1] - last  # (S, P − 1)
    y = worths - nobody - last * gain
    scale = np.sqrt(weights)[:, None]
    first = np.linalg.lstsq(scale * x, scale * y, rcond=None)[0]
    return np.concatenate([first, (gain - first.sum(axis=0))[None]])
