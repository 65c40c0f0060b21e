"""What is exported, what is refused, and how numbers are written."""

from __future__ import annotations

import numpy as np
import pytest
from export.c_library import random_network
from hypothesis import given
from hypothesis import strategies as st

from openpfn.export.c_code import library, number
from openpfn.export.network.quantize import quantise_rows
from openpfn.export.options import BACKENDS, CodeOptions


@pytest.mark.slow
@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_numbers_are_written_exactly(value):
    assert np.float32(number(np.float32(value)).removesuffix("f")) == np.float32(value)
    assert (
        not number(np.float32(value)).removesuffix("f").lstrip("-").isdigit()
    )  # 3f is no number in C


@pytest.mark.parametrize(
    "changes",
    [
        {"attention_type": "softmax"},
        {"attention_type": "hybrid"},
        {"column_attention_type": "linear"},
        {"norm": "layer"},
        {"n_thinking_rows": 2},
        {"use_ranks": True},
        {"categorical_flags": True},
        {"column_shifts": (0, 1)},
        {"head": None, "regression_head": "quantiles"},
        {"attention_options": {"features": "learned"}},
    ],
    ids=str,
)
def test_what_the_c_code_does_not_carry_is_refused_with_what_it_does(changes):
    with pytest.raises(ValueError, match=r"linear and ridge|linear, ridge|elu and relu"):
        library(random_network(**changes), CodeOptions())


def test_loops_of_layers_with_weights_of_their_own_for_queries_are_refused():
    model = random_network(n_loops=2, separate_query_weights=True)
    with pytest.raises(ValueError, match="n_loops is 2 and separate_query_weights True"):
        library(model, CodeOptions())


def test_integers_carry_linear_attention_alone():
    with pytest.raises(ValueError, match="backend int carries linear alone"):
        library(random_network(attention_type="ridge"), CodeOptions("int"))


def test_a_network_too_wide_for_sums_of_32_bits_is_refused():
    with pytest.raises(ValueError, match="at most 256 and 512"):
        library(random_network(d_model=8, d_mlp=600), CodeOptions("int"))


@pytest.mark.slow
def test_weights_too_large_for_integers_are_refused():
    model = random_network()
    model.state_dict()["layers.0.mlp.out.weight"] *= 1e8
    with pytest.raises(ValueError, match="too large for the backend int"):
        library(model, CodeOptions("int"))


def test_more_classes_than_the_network_has_are_refused():
    with pytest.raises(ValueError, match="at most 4 classes"):
        library(random_network(), CodeOptions(max_classes=5))


@pytest.mark.parametrize(
    "options", [{"max_features": 0}, {"max_features": 255}, {"max_classes": 1}], ids=str
)
def test_impossible_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        CodeOptions(**options)


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_is_allocated_printed_or_kept(backend):
    files = library(random_network(n_layers=2), CodeOptions(backend))
    code = files["pfn.c"] + files["pfn.h"]
    for word in ("malloc", "stdio", "printf", "stdlib", "double", "errno"):
        assert word not in code
    for line in code.splitlines():
        assert not (line.startswith("static") and line.endswith(";") and "const" not in line), (
            f"a global that may change: {line}"
        )


def test_other_weights_make_another_model_id():
    ids = {
        library(random_network(seed=seed), CodeOptions())["pfn_model.h"].partition("PFN_MODEL_ID")[
            2
        ][:12]
        for seed in range(3)
    }
    assert len(ids) == 3


def test_eight_bits_lose_at_most_half_a_step_and_little_on_the_whole():
    matrix = np.random.default_rng(0).normal(size=(20, 64)).astype(np.float32)
    matrix[3] = 0
    small = quantise_rows(matrix)
    plain = np.abs(matrix).max(axis=1, keepdims=True) / 127
    assert ((small.restored() - matrix) ** 2).sum() <= (
        (np.rint(matrix / np.maximum(plain, 1e-9)) * plain - matrix) ** 2
    ).sum()
    np.testing.assert_allclose(small.restored(), matrix, atol=float(plain.max()) * 20)
    assert (small.weight[3] == 0).all()
