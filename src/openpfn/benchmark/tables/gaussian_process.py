"""A Gaussian process that chooses its scales itself and takes only so many rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process import kernels as k

from openpfn.benchmark.tables.distributions import Answer, normal_quantiles

SMOOTHNESS = {"rbf": float("inf"), "matern52": 2.5, "matern32": 1.5, "matern12": 0.5}


class GaussianProcess(RegressorMixin, BaseEstimator):
    """scikit-learn's Gaussian process: a smooth function, a linear one and noise, whose scales have
    the largest marginal likelihood.

    Parameters
    ----------
    kernel : a name in `SMOOTHNESS`.
    own_scales : one length scale per column, not one for all.
    most_rows : rows that it is fitted to at most, drawn at random: its time grows with their cube.
    random_state : seed of that draw.
    """

    def __init__(
        self,
        kernel: str = "rbf",
        own_scales: bool = False,
        most_rows: int = 500,
        random_state: int = 0,
    ) -> None:
        self.kernel = kernel
        self.own_scales = own_scales
        self.most_rows = most_rows
        self.random_state = random_state

    def fit(self, X: Float[np.ndarray, "n D"], y: Float[np.ndarray, " n"]) -> GaussianProcess:
        scales = np.full(X.shape[1] if self.own_scales else 1, X.shape[1] ** 0.5)
        wide = (1e-2, 1e4)
        smooth = k.ConstantKernel(1.0, (1e-4, 1e4)) * k.Matern(
            scales, wide, nu=SMOOTHNESS[self.kernel]
        )
        linear = k.ConstantKernel(0.1, (1e-6, 1e2)) * k.DotProduct(1.0, "fixed")
        noise = k.WhiteKernel(0.1, (1e-6, 1e1))
        rows = np.random.default_rng(self.random_state).permutation(len(y))[: self.most_rows]
        self.process_ = GaussianProcessRegressor(smooth + linear + noise, normalize_y=True)
        self.process_.fit(X[rows], y[rows])
        return self

    def predict(self, X: Float[np.ndarray, "Q D"], return_std: bool = False) -> Any:
        """Return means (Q,), and standard deviations (Q,) of targets with their noise."""
        return self.process_.predict(X, return_std=return_std)


def ask_process(process: Any, columns: Any, levels: Any) -> Answer:
    """Return means and quantiles at `levels` of the query rows `columns`."""
    mean, std = process.predict(columns, return_std=True)
    return mean, normal_quantiles(mean, std, levels)
