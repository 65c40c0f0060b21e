"""The networks of the library keep to the protocols that the rest of it asks for."""

import pytest

from openpfn.configs import ClassificationConfig, TabularConfig, UnsupervisedConfig
from openpfn.configs.published import PublishedConfig
from openpfn.models import PFN
from openpfn.models.base import KeepingContext, Predicting, ReadingSequences, Trainable

SMALL = {"d_model": 8, "n_heads": 2, "n_layers": 1}


@pytest.mark.parametrize(
    ("config", "protocols"),
    [
        (TabularConfig(**SMALL, d_mlp=8), {Trainable, Predicting, KeepingContext}),
        (PublishedConfig(**SMALL, d_mlp=8), {Trainable, Predicting, KeepingContext}),
        (ClassificationConfig(**SMALL), {Trainable, Predicting, ReadingSequences}),
        (UnsupervisedConfig(**SMALL), {Trainable, Predicting, ReadingSequences}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_network_can_be_what_its_family_is_for(config, protocols):
    network = PFN(config)
    asked = {Trainable, Predicting, ReadingSequences, KeepingContext}
    assert {protocol for protocol in asked if isinstance(network, protocol)} == protocols
