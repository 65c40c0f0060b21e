"""Names of runs tell configurations exactly, and what they tell can be read back."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openpfn.configs import TabularConfig, TrainingConfig
from openpfn.training.tracking.names import (
    RunNameScheme,
    create_run_name,
    from_text,
    same_value,
    to_text,
)


@dataclass
class DataConfig:
    num_tasks: int = 100
    input_dim: int = 10


LISTS = st.lists(st.integers() | st.floats(allow_nan=False) | st.text(max_size=4), max_size=3)
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), LISTS
)


def same(a, b) -> bool:
    return type(a) is type(b) and (
        a == b or (isinstance(a, float) and math.isnan(a) and math.isnan(b))
    )


def test_the_documents_example():
    @dataclass
    class Model:
        n_layers: int = 4
        d_model: int = 128

    scheme = RunNameScheme.from_templates(
        model={"n_layers": None, "d_model": None}, data={"num_tasks": None, "input_dim": None}
    )
    name = create_run_name(
        base="my-experiment", model_config=Model(), data_config=DataConfig(), scheme=scheme
    )
    assert name == "my-experiment-model-n_layers4-d_model128-data-num_tasks100-input_dim10"


@pytest.mark.slow
@given(VALUES)
def test_a_value_survives_the_way_through_its_text(value):
    assert same(from_text(to_text(value)), value)


@pytest.mark.slow
@given(st.lists(VALUES, min_size=4, max_size=4), st.text("ab-model1e ", max_size=12))
def test_a_name_gives_back_what_it_was_made_of(values, base):
    first, second, third, fourth = values
    scheme = RunNameScheme.from_templates(model={"d": None, "d_model": None}, training={"e": None})
    model, training = {"d": first, "d_model": second}, {"e": third}
    name = create_run_name(
        base, model, training, scheme=scheme, extra={"key": fourth}, max_length=100_000
    )
    parsed = scheme.parse(name, extra=["key"])
    assert parsed.base == base
    told = [*parsed.model.values(), *parsed.training.values(), *parsed.extra.values()]
    assert all(same(a, b) for a, b in zip(told, values, strict=True))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (100.0, "100.0"),
        (100, "100"),
        (1e-10, "1e-10"),
        (-3, "-3"),
        (-2.5e-7, "-2.5e-07"),
        (True, "True"),
        ("a-b", "a%2Db"),
        ("1", "%31"),
    ],
)
def test_values_are_told_exactly(value, text):
    assert to_text(value) == text


def test_real_configurations_have_their_names():
    scheme = RunNameScheme.from_templates(
        model={"attention_type": None}, training={"learning_rate": None}
    )
    name = create_run_name("e", TabularConfig(), TrainingConfig(learning_rate=1e-10), scheme=scheme)
    assert name == "e-model-attention_typesoftmax-training-learning_rate1e-10"


def test_names_that_are_too_long_are_cut_and_stay_different():
    scheme = RunNameScheme.from_templates(model={"text": None})
    names = [
        create_run_name("base", {"text": "x" * 200 + end}, scheme=scheme, max_length=60)
        for end in "ab"
    ]
    assert all(len(name) == 60 for name in names)
    assert names[0] != names[1]
    assert names[0][:51] == names[1][:51]
    with pytest.raises(ValueError, match="no name of this scheme, or was cut"):
        scheme.parse("base-data-x1")
    with pytest.raises(ValueError, match="at least 10"):
        create_run_name("base", max_length=5)


def test_fields_may_be_chosen_with_and_without_a_scheme():
    scheme = RunNameScheme.from_templates(
        model={"n_layers": None, "d_model": None}, data={"num_tasks": None}
    )
    model = {"n_layers": 2, "d_model": 8}
    assert (
        create_run_name(
            "e", model, data_config=DataConfig(), scheme=scheme, include_fields=["d_model"]
        )
        == "e-model-d_model8"
    )
    without_scheme = create_run_name(
        "e", model, data_config=DataConfig(), include_fields=["input_dim", "d_model"]
    )
    assert without_scheme == "e-model-d_model8-data-input_dim10"
    assert create_run_name("e", model) == "e"
    with pytest.raises(ValueError, match="has width, which the scheme does not"):
        create_run_name(
            "e", model, data_config=DataConfig(), scheme=scheme, include_fields=["width"]
        )
    with pytest.raises(ValueError, match="no configuration has the field 'width'"):
        create_run_name("e", model, include_fields=["width"])


def test_a_field_that_is_missing_or_differs_is_told():
    with pytest.raises(
        ValueError, match=r"the data configuration has no 'tasks'.*It has num_tasks, input_dim"
    ):
        create_run_name(
            "e", data_config=DataConfig(), scheme=RunNameScheme.from_templates(data={"tasks": None})
        )
    fixed = RunNameScheme.from_templates(data={"num_tasks": 7, "kind": "linear"})
    assert (
        create_run_name("e", data_config=DataConfig(7), scheme=fixed)
        == "e-data-num_tasks7-kindlinear"
    )
    with pytest.raises(ValueError, match=r"scheme says data.num_tasks = 7, the configuration 100"):
        create_run_name("e", data_config=DataConfig(), scheme=fixed)


def test_a_dot_leads_into_nested_configurations():
    @dataclass
    class Outer:
        inner: DataConfig = field(default_factory=DataConfig)

    scheme = RunNameScheme.from_templates(data={"inner.num_tasks": None})
    name = create_run_name("e", data_config=Outer(), scheme=scheme)
    assert scheme.parse(name).data == {"inner.num_tasks": 100}


def test_a_number_is_itself_whatever_its_type_but_no_truth_value():
    assert same_value(4, 4.0)
    assert same_value([1, 2], (1, 2))
    assert same_value(float("nan"), float("nan"))
    assert not same_value(1, True)
    assert not same_value("4", 4)
    assert not same_value(100, 1000)
