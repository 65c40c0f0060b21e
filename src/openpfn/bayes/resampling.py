"""`predictive_resample`: draws of any quantity from what a model believes, by completing the data
with its own predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from openpfn.bayes.believers import believer_of
from openpfn.bayes.context import context_of
from openpfn.bayes.functionals import functional_of
from openpfn.bayes.martingale import MartingalePosterior
from openpfn.bayes.rollouts import Resampling


def predictive_resample(
    model: Any,
    x: Any = None,
    y: Any = None,
    functional: Any = "mean",
    *,
    n_samples: int = 1000,
    horizon: int = 64,
    x_sampler: Any = "bootstrap",
    method: str = "rollout",
    level: float | Sequence[float] | None = None,
    sampling: str = "density",
    refit: str = "each",
    n_classes: int | None = None,
    correlation: float = 0.5,
    n_trace: int | None = None,
    trajectories: bool = False,
    cached: bool = True,
    memory_limit: int = 2**30,
    generator: torch.Generator | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> MartingalePosterior:
    """Return the martingale posterior of a quantity: `n_samples` times the data are completed by
    `horizon` rows drawn from the model's own predictions, and the quantity is taken of all rows
    (Fong, Holmes & Walker 2023). If the predictions are Bayes', it is the posterior under the
    model's implicit prior; from an empty context it is that prior.

    Parameters
    ----------
    model : a sequence network, an exact posterior of `openpfn.bayes.exact`, a two-way table
        network, or an estimator such as `PFNClassifier`, which is fitted to `x` and `y` here.
    x, y : the given rows, (n, D) and (n,): tensors, arrays or a DataFrame; or a batch of contexts
        (B, n, D) and (B, n). None, or no row, where the prior is asked for; `x` is None for models
        without inputs.
    functional : "ols" (coefficients, no intercept), "mean", "median" or "quantile" of y at
        `level`; a scikit-learn estimator, whose coefficients or importances count; or a function
        (x, y) of complete data that gives a number or several.
    x_sampler : "bootstrap" draws the inputs of new rows from all rows so far (the Bayesian
        bootstrap), "empirical" from the given rows alone; or a `torch.distributions` object or a
        function (n_sequences, n_rows, generator).
    method : "rollout" asks the model anew for each row. "copula" asks it once, and goes on with
        updates by a Gaussian copula of the given `correlation` ρ: P_{n+1} = (1 − α_n) P_n +
        α_n H_ρ(P_n, P_n(y_n)) with α_n = (2 − 1/n) / (n + 1), a martingale whatever the model is
        (Fong et al. 2023; Nagler & Rügamer 2025). At ρ = 0.5 a mean spreads as in the Bayesian
        bootstrap; greater values follow single rows more closely and spread more.
    sampling : "density" draws from the whole predictive, "centres" the middles of its buckets.
    refit : for two-way table networks, where a new row changes what earlier ones stand for. "each"
        reads all rows anew for each new one. "frozen" keeps what earlier rows were: faster, and
        approximate; the error is measured and told.
    n_classes : classes of a table network's task, where it predicts both numbers and classes.
    n_trace : horizons at which the quantity is looked at on the way; None for 16, or 4 where each
        takes fits of an estimator.
    trajectories : also keep the completed data.
    cached : False has a sequence network read the whole sequence anew for each row.
    memory_limit : bytes that the rollouts made at once may take, about. Draws do not depend on it.
    progress : called with the rows drawn so far and in all.

    All draws come from `generator`, or from torch's own randomness if that is None. Raises
    ValueError or TypeError for what cannot be done, saying what to do.

    >>> from openpfn.bayes import exact
    >>> lines = exact.ConjugateLinear(noise_variance=0.25)
    >>> x, y = torch.eye(2), torch.tensor([1.0, -1.0])
    >>> slopes = predictive_resample(
    ...     lines,
    ...     x,
    ...     y,
    ...     functional="ols",
    ...     horizon=100,
    ...     x_sampler=torch.distributions.Normal(0.0, 1.0),
    ...     generator=torch.Generator().manual_seed(0),
    ... )
    >>> bool((abs(slopes.mean - lines.posterior(x, y).mean.numpy()) < 0.1).all())
    True
    """
    resampling = prepared(
        model,
        x,
        y,
        functional,
        n_samples=n_samples,
        horizon=horizon,
        x_sampler=x_sampler,
        method=method,
        level=level,
        sampling=sampling,
        refit=refit,
        n_classes=n_classes,
        correlation=correlation,
        n_trace=n_trace,
        trajectories=trajectories,
        cached=cached,
        memory_limit=memory_limit,
        generator=generator,
    )
    blocks = []
    for index in range(resampling.n_blocks):
        blocks.append(resampling.block(index, progress))
    return resampling.posterior(blocks)


def prepared(
    model: Any,
    x: Any,
    y: Any,
    functional: Any,
    *,
    level: float | Sequence[float] | None = None,
    refit: str = "each",
    n_classes: int | None = None,
    cached: bool = True,
    generator: torch.Generator | None = None,
    **options: Any,
) -> Resampling:
    """Return the checked work of `predictive_resample`, in blocks that can be done one at a time;
    see there."""
    wanted = functional_of(functional, level)
    believer = believer_of(model, x, y, n_classes=n_classes, refit=refit, cached=cached)
    context = context_of(believer, x, y, as_numbers=wanted.needs_columns)
    return Resampling(believer, context, wanted, generator=generator, **options)
