"""
# Linear regression

A network learns Bayesian linear regression from tasks alone: each task has its own slope and
intercept, and the network sees nothing but rows (x, y). The exact posterior predictive is known, so
we can see how close it came.
"""

import matplotlib.pyplot as plt
import torch
from torch.distributions import Normal

from openpfn import DeterministicGenerator, RegressionConfig, TrainingConfig, train
from openpfn.bayes.exact import ConjugateLinear
from openpfn.plots.beliefs import band, curve, legend_above, named, observed, panels

# %%
# ## A prior
#
# A slope and an intercept, both standard normal, and noise with standard deviation 0.3. The
# function is written for one task.

NOISE, ROWS = 0.3, 16


def line(x, params):
    slope, intercept = params
    return slope * x[:, 0] + intercept


prior = DeterministicGenerator(
    Normal(torch.zeros(2), 1.0), line, input_dim=1, noise_std=NOISE, seq_len=ROWS
)

# %%
# ## A network
#
# It answers with a mixture of normal distributions and is trained by the log-density of each row
# given those before it.

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
# ## Beliefs as the context grows
#
# One task, after 1, 3 and 12 of its rows. The band holds 90% of the probability of a new row.

exact = ConjugateLinear(noise_variance=NOISE**2, with_bias=True)
generator = torch.Generator().manual_seed(3)
task = prior.sample(1, generator)
grid = torch.linspace(-3, 3, 121).view(1, -1, 1)
levels = [0.05, 0.5, 0.95]

figure, axes = panels(3, sharey=True)
for panel, n in zip(axes[0], (1, 3, 12), strict=True):
    x, y = task.x[:, :n], task.y[:, :n]
    with torch.no_grad():
        believed = model.predictive_of(model(x, y, grid))
    true = exact.predictive(x, y, grid)
    band(panel, grid.flatten().numpy(), believed.quantile(levels)[:, 0].numpy(), "network")
    band(panel, grid.flatten().numpy(), true.quantile(levels)[:, 0].numpy(), "exact")
    observed(panel, x.flatten().numpy(), y.flatten().numpy())
    named(panel, f"after {n} row{'s' if n > 1 else ''}", "x")
named(axes[0, 0], y_label="y: median and 90% band")
legend_above(figure)

# %%
# ## What is lost
#
# Mean surprise (−log p) of each row over 2,000 new tasks. No predictor can be below the exact one
# on average; the gap is what the network loses to it.

batch = prior.sample(2000, generator)
with torch.no_grad():
    network_loss = -model.prefixes(batch).log_prob(batch.y).mean(dim=0)
exact_loss = -exact.prefixes(batch.x, batch.y).log_prob(batch.y).mean(dim=0)
print(f"gap to the exact posterior: {float((network_loss - exact_loss).mean()):.3f} nats a row")

figure, axes = panels(1, height=2.6)
rows = torch.arange(ROWS).numpy()
curve(axes[0, 0], rows, network_loss.numpy(), "network", marker="o", markersize=4)
curve(axes[0, 0], rows, exact_loss.numpy(), "exact")
named(axes[0, 0], x_label="rows seen before", y_label="−log p of the next y, in nats")
legend_above(figure)
plt.show()
