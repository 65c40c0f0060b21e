from openpfn.batch import TaskBatch as TaskBatch
from openpfn.configs.prior import PriorConfig as PriorConfig
from openpfn.configs.tabular import TabularConfig as TabularConfig
from openpfn.configs.training import TrainingConfig as TrainingConfig
from openpfn.estimators import PFNClassifier as PFNClassifier
from openpfn.models import PFN as PFN
from openpfn.priors.base import TaskPrior as TaskPrior
from openpfn.priors_io.dump import PriorDumpDataLoader as PriorDumpDataLoader
from openpfn.training import train as train

__version__: str
