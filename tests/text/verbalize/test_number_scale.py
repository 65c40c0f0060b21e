"""What training values say of any number: closed forms, and nothing but training values."""

from __future__ import annotations

import numpy as np
import pytest

from openpfn.text.verbalize.number_scale import NumberScale

TRAINING = np.arange(101.0)
SCALE = NumberScale.fit(TRAINING)


def bin_texts(scale, values):
    places, texts = scale.bins(np.asarray(values, dtype=float))
    return [texts[place] for place in places]


def test_numbers_are_standardised_by_training_values_and_clipped():
    values = np.array([50.0, 50 + TRAINING.std(), 1e6, -1e300, np.nan])
    np.testing.assert_allclose(SCALE.standardised(values), [0, 1, 3, -3, 0], atol=1e-12)


def test_bins_are_tenths_of_the_training_values():
    assert bin_texts(SCALE, [0, 9.9, 10, 55, 100, -1, 101, np.nan]) == [
        "0 to 10 (Quantile 0 - 10%)",
        "0 to 10 (Quantile 0 - 10%)",
        "10 to 20 (Quantile 10 - 20%)",
        "50 to 60 (Quantile 50 - 60%)",
        "90 to 100 (Quantile 90 - 100%)",
        "Lower than 0 (Quantile 0%)",
        "Higher than 100 (Quantile 100%)",
        None,
    ]


def test_a_value_that_fills_tenths_alone_has_its_own_bin():
    scale = NumberScale.fit(np.array([0.0] * 75 + list(range(1, 27))))
    assert bin_texts(scale, [0, 0.5, 26]) == [
        "0 (Quantile 0 - 70%)",
        "0 to 6 (Quantile 70 - 80%)",
        "16 to 26 (Quantile 90 - 100%)",
    ]


def test_six_numbers_say_where_a_value_lies():
    six = SCALE.six(np.array([50.0, 100.0, 1000.0, -5.0, np.nan]))
    deviation = TRAINING.std()
    np.testing.assert_allclose(
        six,
        [
            [0, 0.5, 0.5, 0, 0, 1],
            [50 / deviation, 1, 1, 0, 0, 1],
            [3, 1, 1, 1, 0, 1],
            [-55 / deviation, 0, 0, 0, 0, 1],
            [0, 0, 0, 0, 1, 1],
        ],
        atol=1e-12,
    )


def test_equal_values_count_half_in_the_quantile():
    scale = NumberScale.fit(np.array([0.0] * 50 + [1.0] * 50))
    np.testing.assert_allclose(
        scale.quantile(np.array([0.0, 0.5, 1.0])), [0.25, 0.5, 0.75], atol=0.01
    )


@pytest.mark.parametrize(
    "training",
    [[7.0], [7.0, np.nan], [np.nan], [], [1.7e308, -1.7e308], [5e-324, 0.0], [1e300, 1.1e300]],
)
def test_every_training_column_gives_finite_numbers(training):
    scale = NumberScale.fit(np.array(training))
    values = np.array([0.0, 7.0, 1.7e308, -1.7e308, 5e-324, np.nan])
    assert np.isfinite(scale.six(values)).all()
    assert np.abs(scale.standardised(values)).max() <= 3
    assert (np.diff(scale.quantiles) >= 0).all()
    assert bin_texts(scale, values)[-1] is None
