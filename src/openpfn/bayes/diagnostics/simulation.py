"""`simulated`: parameters from a prior beside a posterior's draws of them, for tests of
calibration."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float

from openpfn.bayes.exact import ConjugateLinear
from openpfn.bayes.resampling import predictive_resample
from openpfn.generators.base import SequencePrior


def simulated(
    prior: SequencePrior,
    posterior: Any,
    *,
    n_tasks: int = 1000,
    n_context: int = 16,
    n_draws: int = 99,
    parameter: str = "params",
    generator: torch.Generator | None = None,
    **options: Any,
) -> tuple[Float[np.ndarray, "R P"], Float[np.ndarray, "R S P"]]:
    """Return the true parameters of `n_tasks` tasks of the prior, and draws of what a posterior
    says about them after `n_context` rows.

    `posterior` is a `ConjugateLinear`, a function (x, y, n_draws, generator) that gives draws
    (R, n_draws, P), or any model that `predictive_resample` takes, which then draws the
    `functional` (and other `options`) that stands for the parameters. `parameter` names the prior's
    latents.

    >>> from openpfn.bayes import exact
    >>> from openpfn.generators import Deterministic
    >>> normal = torch.distributions.Normal(torch.zeros(2), 1.0)
    >>> lines = Deterministic(normal, torch.mv, input_dim=2, noise_std=0.5)
    >>> truth, draws = simulated(lines, exact.ConjugateLinear(0.25), n_tasks=10, n_draws=5)
    >>> truth.shape, draws.shape
    ((10, 2), (10, 5, 2))
    """
    for name, value, least in (("n_tasks", n_tasks, 1), ("n_context", n_context, 0)):
        if value < least:
            raise ValueError(f"{name} is {value}, must be at least {least}.")
    source = generator or torch.Generator().manual_seed(int(torch.randint(2**31, ())))
    batch = prior.of_length(max(1, n_context)).sample(n_tasks, source)
    if parameter not in batch.latents:
        known = ", ".join(batch.latents) or "none"
        raise ValueError(f"the prior has no latent {parameter!r}; it has: {known}.")
    truth = batch.latents[parameter].double().reshape(n_tasks, -1).numpy()
    x, y = None if batch.x is None else batch.x[:, :n_context], batch.y[:, :n_context]
    if isinstance(posterior, ConjugateLinear) and not options:
        draws = posterior.posterior(x, y).sample(n_draws, source).transpose(0, 1)
    elif hasattr(posterior, "predictive") or hasattr(posterior, "fit"):
        options = {"functional": "ols", "n_trace": 1} | options
        draws = predictive_resample(
            posterior, x, y, n_samples=n_draws, generator=source, **options
        ).samples
    else:
        draws = cast(Any, posterior)(x, y, n_draws, source)
    found = np.asarray(draws, dtype=np.float64)
    if found.shape != (n_tasks, n_draws, truth.shape[1]):
        raise ValueError(
            f"the posterior gave draws of shape {found.shape}; expected"
            f" {(n_tasks, n_draws, truth.shape[1])}, as many numbers as the prior has parameters."
        )
    return truth, found
