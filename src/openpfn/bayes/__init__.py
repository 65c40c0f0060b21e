"""Bayesian reference points and questions: priors and likelihoods to train on, exact posteriors to
compare a network with, and what a network believes, by predictive resampling."""

from openpfn.bayes import diagnostics, exact
from openpfn.bayes.martingale import MartingalePosterior
from openpfn.bayes.resampling import predictive_resample
from openpfn.generators.distributions import DiscreteTask, Likelihood, Mixture, Prior

__all__ = [
    "DiscreteTask",
    "Likelihood",
    "MartingalePosterior",
    "Mixture",
    "Prior",
    "diagnostics",
    "exact",
    "predictive_resample",
]
