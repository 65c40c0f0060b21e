"""Short names for priors written in Python: generators of sequences, and what they are put together
from."""

from openpfn.priors.base import SequencePrior, sample_batch
from openpfn.priors.bayesian import BayesianGenerator
from openpfn.priors.bayesian import BayesianGenerator as Bayesian
from openpfn.priors.dataset import DatasetGenerator
from openpfn.priors.dataset import DatasetGenerator as Dataset
from openpfn.priors.function import DeterministicGenerator
from openpfn.priors.function import DeterministicGenerator as Deterministic
from openpfn.priors.mixture_of_generators import MixtureGenerator
from openpfn.priors.program import ProgramGenerator
from openpfn.priors.program import ProgramGenerator as Program
from openpfn.priors.unsupervised import UnsupervisedBayesian
from openpfn.priors_io.distributions import DiscreteTask, Likelihood, Mixture, Prior
from openpfn.priors_io.sites import sample

__all__ = [
    "Bayesian",
    "BayesianGenerator",
    "Dataset",
    "DatasetGenerator",
    "Deterministic",
    "DeterministicGenerator",
    "DiscreteTask",
    "Likelihood",
    "Mixture",
    "MixtureGenerator",
    "Prior",
    "Program",
    "ProgramGenerator",
    "SequencePrior",
    "UnsupervisedBayesian",
    "sample",
    "sample_batch",
]
