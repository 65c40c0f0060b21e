from openpfn import bayes as bayes
from openpfn import checkpointing as checkpointing
from openpfn import configs as configs
from openpfn import generators as generators
from openpfn import wandb as wandb
from openpfn.batch import TaskBatch as TaskBatch
from openpfn.configs.fine_tuning import FineTuneOptions as FineTuneOptions
from openpfn.configs.prior import PriorConfig as PriorConfig
from openpfn.configs.real_table import RealTableConfig as RealTableConfig
from openpfn.configs.sequence import ClassificationConfig as ClassificationConfig
from openpfn.configs.sequence import RegressionConfig as RegressionConfig
from openpfn.configs.sequence import UnsupervisedConfig as UnsupervisedConfig
from openpfn.configs.tabular import TabularConfig as TabularConfig
from openpfn.configs.training import TrainingConfig as TrainingConfig
from openpfn.data.dump_reader import PriorDumpDataLoader as PriorDumpDataLoader
from openpfn.data.real_table_dump import (
    create_h5_prior_from_dataset as create_h5_prior_from_dataset,
)
from openpfn.device import get_default_device as get_default_device
from openpfn.estimators import PFNClassifier as PFNClassifier
from openpfn.estimators import PFNRegressor as PFNRegressor
from openpfn.estimators.distilling.distilled import DistilledClassifier as DistilledClassifier
from openpfn.estimators.distilling.distilled import DistilledRegressor as DistilledRegressor
from openpfn.estimators.inspection.explainer import PFNExplainer as PFNExplainer
from openpfn.estimators.text_tables import TextTableClassifier as TextTableClassifier
from openpfn.estimators.text_tables import TextTableRegressor as TextTableRegressor
from openpfn.estimators.unsupervised.generation import sample_rows as sample_rows
from openpfn.estimators.unsupervised.imputer import PFNImputer as PFNImputer
from openpfn.estimators.unsupervised.outliers import PFNOutlierDetector as PFNOutlierDetector
from openpfn.generators.base import sample_batch as sample_batch
from openpfn.generators.bayesian import BayesianGenerator as BayesianGenerator
from openpfn.generators.dataset import DatasetGenerator as DatasetGenerator
from openpfn.generators.deterministic import DeterministicGenerator as DeterministicGenerator
from openpfn.generators.mixture import MixtureGenerator as MixtureGenerator
from openpfn.generators.program import ProgramGenerator as ProgramGenerator
from openpfn.generators.unsupervised import UnsupervisedBayesian as UnsupervisedBayesian
from openpfn.heads.bars import estimate_riemann_borders as estimate_riemann_borders
from openpfn.models import PFN as PFN
from openpfn.plots.metric import plot_metric as plot_metric
from openpfn.priors.base import TaskPrior as TaskPrior
from openpfn.training import train as train
from openpfn.training.tracking.weights_and_biases import WandbLogger as WandbLogger

__version__: str
