"""Heads: from embeddings to a `Predictive`; one kind of distribution, one file."""

from openpfn.heads.bars import BarDistribution, Bucketizer, estimate_riemann_borders
from openpfn.heads.base import Head, Predictive, Rescaled
from openpfn.heads.categorical import Categorical
from openpfn.heads.gaussian import Gaussian, GaussianMixture
from openpfn.heads.quantiles import Quantiles

__all__ = [
    "BarDistribution",
    "Bucketizer",
    "Categorical",
    "Gaussian",
    "GaussianMixture",
    "Head",
    "Predictive",
    "Quantiles",
    "Rescaled",
    "estimate_riemann_borders",
]
