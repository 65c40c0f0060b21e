from openpfn.batch import TaskBatch as TaskBatch
from openpfn.configs.prior import PriorConfig as PriorConfig
from openpfn.configs.real_table import RealTableConfig as RealTableConfig
from openpfn.configs.sequence import ClassificationConfig as ClassificationConfig
from openpfn.configs.sequence import RegressionConfig as RegressionConfig
from openpfn.configs.sequence import UnsupervisedConfig as UnsupervisedConfig
from openpfn.configs.tabular import TabularConfig as TabularConfig
from openpfn.configs.training import TrainingConfig as TrainingConfig
from openpfn.estimators import PFNClassifier as PFNClassifier
from openpfn.heads.bars import estimate_riemann_borders as estimate_riemann_borders
from openpfn.models import PFN as PFN
from openpfn.plots.metric import plot_metric as plot_metric
from openpfn.priors.base import TaskPrior as TaskPrior
from openpfn.priors.base import sample_batch as sample_batch
from openpfn.priors.bayesian import BayesianGenerator as BayesianGenerator
from openpfn.priors.dataset import DatasetGenerator as DatasetGenerator
from openpfn.priors.function import DeterministicGenerator as DeterministicGenerator
from openpfn.priors.mixture_of_generators import MixtureGenerator as MixtureGenerator
from openpfn.priors.program import ProgramGenerator as ProgramGenerator
from openpfn.priors.real_tables import create_h5_prior_from_dataset as create_h5_prior_from_dataset
from openpfn.priors.unsupervised import UnsupervisedBayesian as UnsupervisedBayesian
from openpfn.priors_io.dump import PriorDumpDataLoader as PriorDumpDataLoader
from openpfn.training import train as train
from openpfn.training.surroundings import get_default_device as get_default_device
from openpfn.training.tracking.weights_and_biases import WandbLogger as WandbLogger

__version__: str
