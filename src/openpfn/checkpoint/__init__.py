"""Checkpoints: one safetensors file with the weights, the configurations and where they come from;
no pickle.

The tensors carry the names of the model's `state_dict`. The metadata key `openpfn` is a JSON object
with `format`, `model` (the name of the configuration's module, "sequence.RegressionConfig" where
that holds several), `model_config`, `training_config`, `provenance`, and `sha256`, the hashes of
the tensors; the key `openpfn_sha256` is the hash of that object's text. A training checkpoint also
holds `training` (counters) and tensors whose names begin with `@training/`: everything that a run
needs to continue. Its plain tensors are the usable (averaged) weights. Tensors whose names begin
with `@tasks/` are the finite pools that the prior draws its tasks from.
"""

from openpfn.checkpoint.header import (
    FORMAT,
    TASKS,
    TRAINING,
    Header,
    as_json,
    from_json,
    plain,
    read_header,
    training_config_of,
)
from openpfn.checkpoint.location import (
    SHIPPED,
    earlier_names,
    locate,
    shipped_name,
)
from openpfn.checkpoint.shipped import shipped_names
from openpfn.checkpoint.storage import (
    Checkpoint,
    TrainingState,
    load,
    load_training_state,
    save,
)

__all__ = [
    "FORMAT",
    "SHIPPED",
    "TASKS",
    "TRAINING",
    "Checkpoint",
    "Header",
    "TrainingState",
    "as_json",
    "earlier_names",
    "from_json",
    "load",
    "load_training_state",
    "locate",
    "plain",
    "read_header",
    "save",
    "shipped_name",
    "shipped_names",
    "training_config_of",
]
