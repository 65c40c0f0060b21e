"""
# Polynomials, and beyond the data

Cubic curves with random coefficients. A linear model in the features 1, x, x², x³ is exact here;
the network is told of no features and has to find out from tasks how far such curves can swing
where it has seen nothing.
"""

import matplotlib.pyplot as plt
import torch
from torch.distributions import Normal, Uniform

from openpfn import DeterministicGenerator, RegressionConfig, TrainingConfig, train
from openpfn.bayes.exact import ConjugateLinear
from openpfn.plots.beliefs import band, curve, legend_above, named, observed, panels

# %%
# ## A prior
#
# Four standard normal coefficients, x uniform between −1 and 1, and noise with standard deviation
# 0.2.

NOISE, ROWS = 0.2, 20


def powers(x):
    return torch.cat([torch.ones_like(x), x, x**2, x**3], dim=-1)


def cubic(x, coefficients):
    return powers(x) @ coefficients


prior = DeterministicGenerator(
    Normal(torch.zeros(4), 1.0),
    cubic,
    input_dim=1,
    noise_std=NOISE,
    x_distribution=Uniform(-1.0, 1.0),
    seq_len=ROWS,
)

# %%
# ## A network

network = RegressionConfig(
    d_model=32,
    n_layers=3,
    n_heads=2,
    input_dim=1,
    bucket_type="mixture",
    d_vocab=3,
    use_pos_emb=False,
)
training = TrainingConfig(
    num_steps=1000,
    batch_size=32,
    seq_len=ROWS,
    optimizer="muon",
    learning_rate=4e-3,
    schedule="cosine",
    log_every=500,
    n_workers=0,
    n_threads=1,
    device="cpu",
    save_checkpoint=False,
)
model = train(prior, network, training)

# %%
# ## Extrapolation
#
# All rows lie left of 0. To the right both must say how little they know; in the grey, beyond ±1,
# no x of the training ever lay.

exact = ConjugateLinear(noise_variance=NOISE**2)
generator = torch.Generator().manual_seed(5)
coefficients = torch.tensor([0.3, -1.2, -0.8, 1.6])
x = -torch.rand(1, 10, 1, generator=generator)
y = cubic(x, coefficients) + NOISE * torch.randn(1, 10, generator=generator)
grid = torch.linspace(-1.3, 1.3, 131).view(1, -1, 1)
levels = [0.05, 0.5, 0.95]

figure, axes = panels(3, sharey=True)
for panel, n in zip(axes[0], (2, 4, 10), strict=True):
    with torch.no_grad():
        believed = model.predictive_of(model(x[:, :n], y[:, :n], grid))
    true = exact.predictive(powers(x[:, :n]), y[:, :n], powers(grid))
    places = grid.flatten().numpy()
    band(panel, places, believed.quantile(levels)[:, 0].numpy(), "network")
    band(panel, places, true.quantile(levels)[:, 0].numpy(), "exact")
    curve(panel, places, cubic(grid, coefficients)[0].numpy(), "truth")
    observed(panel, x[0, :n, 0].numpy(), y[0, :n].numpy())
    for side in (-1, 1):
        panel.axvspan(side, 1.3 * side, color="#eceef0", zorder=0)
    named(panel, f"after {n} rows", "x")
    panel.set_xlim(-1.3, 1.3)
    panel.set_ylim(-5, 5)
named(axes[0, 0], y_label="y: median and 90% band")
legend_above(figure)

# %%
# ## Where it can be trusted
#
# What the network loses to the exact answer at each x, over 1,000 tasks, after 10 rows drawn like
# those of the training.

batch = prior.sample(1000, generator)
x, y, places = batch.x[:, :10], batch.y[:, :10], grid.expand(1000, -1, 1)
curves = torch.einsum("bqk,bk->bq", powers(places), batch.latents["params"])
targets = curves + NOISE * torch.randn(curves.shape, generator=generator)
with torch.no_grad():
    believed = model.predictive_of(model(x, y, places))
    gap = (
        exact.predictive(powers(x), y, powers(places)).log_prob(targets)
        - believed.log_prob(targets)
    ).mean(dim=0)
inside = grid.flatten().abs() <= 1
print(
    f"gap to the exact posterior: {float(gap[inside].mean()):.3f} nats where it was trained,"
    f" {float(gap[~inside].mean()):.2f} beyond"
)

figure, axes = panels(1, height=2.6)
curve(axes[0, 0], grid.flatten().numpy(), gap.numpy(), "network")
for side in (-1, 1):
    axes[0, 0].axvspan(side, 1.3 * side, color="#eceef0", zorder=0)
axes[0, 0].set_xlim(-1.3, 1.3)
named(axes[0, 0], x_label="x", y_label="lost to the exact posterior, in nats")
plt.show()
