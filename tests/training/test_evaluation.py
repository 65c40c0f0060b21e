"""The figures of an evaluation are those of scikit-learn."""

from __future__ import annotations

import numpy as np
import torch

from openpfn.benchmark.metrics import one_vs_rest_auc
from openpfn.training.evaluation import areas_under_roc


def test_the_area_under_the_curve_is_that_of_scikit_learn_with_ties_and_missing_classes() -> None:
    random = np.random.default_rng(0)
    probabilities = (
        random.dirichlet(np.ones(4), (6, 30)).round(1).astype(np.float32)
    )  # rounded: many ties
    y = random.integers(0, 3, (6, 30)).astype(np.float32)  # class 3 never occurs
    areas = areas_under_roc(torch.from_numpy(probabilities), torch.from_numpy(y))
    expected = [
        one_vs_rest_auc(labels, scores, range(4))
        for labels, scores in zip(y, probabilities, strict=True)
    ]
    np.testing.assert_allclose(areas.numpy(), expected, rtol=1e-5)


def test_rows_of_one_class_have_no_area() -> None:
    assert areas_under_roc(torch.rand(2, 9, 2), torch.ones(2, 9)).isnan().all()
