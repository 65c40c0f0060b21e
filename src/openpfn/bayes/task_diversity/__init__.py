"""Task diversity: does a network memorise the tasks that it was trained on, or learn the
distribution that they came from?"""

from openpfn.bayes.task_diversity.experiment import Experiment, experiment_of
from openpfn.bayes.task_diversity.runs import sweep
from openpfn.bayes.task_diversity.scores import scores

__all__ = ["Experiment", "experiment_of", "scores", "sweep"]
