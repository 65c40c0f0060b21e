"""
# The martingale posterior of a median

What is the median of a population of which we have twelve rows? A network that predicts rows can
complete the data, again and again; the medians of the completed data are draws of what it believes.
No likelihood of a median is needed.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch.distributions import LogNormal, MultivariateNormal

from openpfn import TrainingConfig, UnsupervisedBayesian, UnsupervisedConfig, train
from openpfn.bayes import Likelihood, Prior, diagnostics, predictive_resample
from openpfn.plots.beliefs import LOOKS, legend_above, named, panels

# %%
# ## A prior over skewed numbers
#
# Each task is a log-normal distribution of unknown scale and skew. The network sees numbers alone.

ROWS, GIVEN = 48, 12


def skewed(theta, x):
    return {"loc": theta[0], "scale": 0.5 * torch.exp(0.3 * theta[1])}


parameters = MultivariateNormal(torch.zeros(2), torch.diag(torch.tensor([0.25, 1.0])))
prior = UnsupervisedBayesian(Prior(parameters), Likelihood(LogNormal, skewed, input_dim=1))
network = UnsupervisedConfig(
    d_model=32,
    n_layers=2,
    n_heads=2,
    n_ctx=ROWS,
    input_type="continuous",
    bucket_type="mixture",
    d_vocab=6,
    y_min=0.0,
    y_max=4.0,
)
training = TrainingConfig(
    num_steps=1200,
    batch_size=32,
    seq_len=ROWS,
    optimizer="muon",
    learning_rate=4e-3,
    schedule="cosine",
    log_every=400,
    n_workers=0,
    n_threads=1,
    device="cpu",
    save_checkpoint=False,
)
model = train(prior, network, training)

# %%
# ## Completing twelve rows
#
# Left: the medians of 400 completed data sets. Right: how they spread as rows are drawn. At the
# beginning the twelve given rows decide; the spread grows until the rest of the population is
# known as well as the network's predictions let it be.

generator = torch.Generator().manual_seed(4)
population, theta = prior.generate_with_params(2000, generator)
given = population[:GIVEN]
posterior = predictive_resample(
    model,
    None,
    given,
    functional="median",
    n_samples=400,
    horizon=ROWS - GIVEN,
    generator=generator,
)
truth = float(theta[0].exp())
print(posterior)
print(f"the true median is {truth:.3f}")
posterior.plot(0.9, truth=[truth])

# %%
# ## Beside the bootstrap
#
# The Bayesian bootstrap knows nothing but the twelve numbers: its medians stand on them. The
# network knows what such numbers are like, and fills the gaps.

weights = np.random.default_rng(0).dirichlet(np.ones(GIVEN), 400)
order = np.argsort(given.numpy())
reached = weights[:, order].cumsum(axis=1) >= 0.5
bootstrap = given.numpy()[order][reached.argmax(axis=1)]

figure, axes = panels(1, height=2.6)
bins = np.linspace(0, 2.5 * truth, 50)
network_look, bootstrap_look = LOOKS["network"], LOOKS["exact"]
for values, look, label in (
    (posterior.samples[:, 0], network_look, "completed by the network"),
    (bootstrap, bootstrap_look, "Bayesian bootstrap"),
):
    axes[0, 0].hist(
        values, bins=bins, density=True, histtype="step", color=look["color"], label=label
    )
axes[0, 0].axvline(truth, label="truth", **LOOKS["truth"])
named(axes[0, 0], x_label="median", y_label="density")
legend_above(figure)

# %%
# ## Is it coherent?
#
# A Bayesian's predictions do not drift on average as she reads rows that she predicted herself. The
# network's may: the drift of probabilities, and whether it is more than chance.

drift = diagnostics.martingale(model, None, given, horizon=16, n_samples=200, generator=generator)
told = ", ".join(f"{d:.3f}" for d in drift.drift)
print(
    f"drift of probabilities after {drift.horizons.tolist()} rows: {told} (p = {drift.p_value:.2g})"
)
drift.plot()
plt.show()
