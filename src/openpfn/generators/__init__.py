"""Short names for priors written in Python: generators of sequences, and what they are put together
from."""

from openpfn.generators.base import SequencePrior, sample_batch
from openpfn.generators.bayesian import BayesianGenerator
from openpfn.generators.bayesian import BayesianGenerator as Bayesian
from openpfn.generators.dataset import DatasetGenerator
from openpfn.generators.dataset import DatasetGenerator as Dataset
from openpfn.generators.deterministic import DeterministicGenerator
from openpfn.generators.deterministic import DeterministicGenerator as Deterministic
from openpfn.generators.distributions import DiscreteTask, Likelihood, Mixture, Prior
from openpfn.generators.mixture import MixtureGenerator
from openpfn.generators.program import ProgramGenerator
from openpfn.generators.program import ProgramGenerator as Program
from openpfn.generators.tracing import sample
from openpfn.generators.unsupervised import UnsupervisedBayesian

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
