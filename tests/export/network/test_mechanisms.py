"""Attention between rows in C: resolved once from any of its names, described once."""

from __future__ import annotations

import numpy as np
import pytest
from export.c_library import CLibrary, random_network

from openpfn.attention.linear import LinearAttention
from openpfn.export.budget import all_backends
from openpfn.export.c_code import library
from openpfn.export.network import mechanisms
from openpfn.export.network.mechanisms import (
    MECHANISMS,
    backends_of,
    carried_attention,
    row_mechanism,
)
from openpfn.export.options import CodeOptions
from openpfn.export.verification.reference import reference_logits
from openpfn.export.verification.vectors import Vectors
from openpfn.export.verification.verify import relative_error


class OwnAttention(LinearAttention):
    """A user's own mechanism, which no C code computes."""


SPELLINGS = {
    "ridge": ["mesa", "Ridge", "openpfn.attention.ridge:RidgeAttention"],
    "linear": ["Linear", "LINEAR", "openpfn.attention.linear:LinearAttention"],
}


@pytest.mark.parametrize(
    ("name", "spelling"), [(name, one) for name, names in SPELLINGS.items() for one in names]
)
def test_every_spelling_of_a_mechanism_exports_the_same_library(name, spelling):
    model, renamed = (random_network(attention_type=one) for one in (name, spelling))
    assert library(renamed, CodeOptions()) == library(model, CodeOptions())
    assert all_backends(renamed.config, 50, 5, 3) == all_backends(model.config, 50, 5, 3)


@pytest.mark.parametrize("spelling", ["original", "Softmax"])
def test_attention_between_columns_has_aliases_too(spelling):
    model, renamed = random_network(), random_network(column_attention_type=spelling)
    assert library(renamed, CodeOptions()) == library(model, CodeOptions())


@pytest.mark.slow
def test_a_network_named_by_an_alias_answers_as_it_should(tmp_path):
    model = random_network(attention_type="mesa", n_layers=2)
    c_library = CLibrary(model, tmp_path, CodeOptions(max_features=3))
    x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    y = np.arange(20, dtype=np.int32) % 3
    assert c_library.fit(x, y) == "ok"
    expected = reference_logits(model, Vectors(x, y, x, 3))
    assert relative_error(c_library.ask(x, 3), expected) < 1e-5


def test_a_mechanism_of_the_users_own_is_refused():
    model = random_network(attention_type=f"{__name__}:OwnAttention")
    with pytest.raises(ValueError, match="carries linear, ridge"):
        library(model, CodeOptions())


def test_a_c_file_makes_a_mechanism_carried(monkeypatch):
    files = mechanisms.runtime_files() | {"attention_pooled.c", "attention_pooled.h"}
    monkeypatch.setattr(mechanisms, "runtime_files", lambda: files)
    assert carried_attention() == ["linear", "pooled", "ridge"]
    assert backends_of("pooled") == ("f32", "int8")
    assert backends_of("linear") == ("f32", "int8", "int")


@pytest.mark.parametrize("name", carried_attention())
def test_every_mechanism_is_described(name):
    mechanism = row_mechanism(random_network(attention_type=name).config)
    assert mechanism.weight_bytes() >= 0
    for backend in mechanism.backends:
        assert mechanism.state_layout(backend).itemsize > 0


def test_every_description_has_its_c_file():
    assert set(MECHANISMS) <= set(carried_attention())


def test_options_that_change_the_computation_are_carried_or_refused():
    config = random_network(attention_options={"features": "relu"}).config
    assert row_mechanism(config).macros() == {"PFN_FEATURES_ELU": 0, "PFN_FEATURES_RELU": 1}
    config = random_network(attention_type="ridge", attention_options={"ridge": 0.5}).config
    assert row_mechanism(config).macros() == {}, "training has changed it since"
