"""Bayesian reference points: priors and likelihoods to train on, exact posteriors to compare a
network with."""

from openpfn.bayes import exact
from openpfn.generators.distributions import DiscreteTask, Likelihood, Mixture, Prior

__all__ = ["DiscreteTask", "Likelihood", "Mixture", "Prior", "exact"]
