"""Exact posteriors, which answer with the same `Predictive` as a network: what a perfectly trained
one would say."""

from openpfn.bayes.exact.base import ExactPosterior, GaussianPosterior
from openpfn.bayes.exact.coin import BetaBernoulli
from openpfn.bayes.exact.gaussian_process import GP, GPPosterior
from openpfn.bayes.exact.linear import ConjugateLinear
from openpfn.bayes.exact.pool import PoolPosterior, TaskPool
from openpfn.bayes.exact.streamed import StreamedMixture

__all__ = [
    "GP",
    "BetaBernoulli",
    "ConjugateLinear",
    "ExactPosterior",
    "GPPosterior",
    "GaussianPosterior",
    "PoolPosterior",
    "StreamedMixture",
    "TaskPool",
]
