"""
# Coin flips

A sequence without inputs: each coin has its own probability of heads, and the network predicts
every flip from those before. Laplace's rule of succession is the exact answer: after s heads in n
flips, heads come with (s + 1) / (n + 2).
"""

import matplotlib.pyplot as plt
import torch
from torch.distributions import Bernoulli, Beta

from openpfn import TrainingConfig, UnsupervisedBayesian, UnsupervisedConfig, train
from openpfn.bayes import Likelihood, Prior
from openpfn.bayes.exact import BetaBernoulli
from openpfn.plots.beliefs import curve, legend_above, named, panels

# %%
# ## A prior
#
# The probability of heads is uniform between 0 and 1. The likelihood is written for one coin; `x`
# stands for the rows alone.

FLIPS = 64


def flip(probability, x):
    return {"probs": probability.expand(len(x))}


prior = UnsupervisedBayesian(
    Prior(Beta(1.0, 1.0)), Likelihood(Bernoulli, flip, input_dim=1), seq_len=FLIPS
)

# %%
# ## A network
#
# Two tokens, tails and heads, each predicted from those before.

network = UnsupervisedConfig(d_model=32, n_layers=2, n_heads=2, d_vocab=2)
training = TrainingConfig(
    num_steps=500,
    batch_size=32,
    seq_len=FLIPS,
    optimizer="muon",
    learning_rate=4e-3,
    schedule="cosine",
    log_every=250,
    n_workers=0,
    n_threads=1,
    device="cpu",
    save_checkpoint=False,
)
model = train(prior, network, training)

# %%
# ## One coin after another
#
# Three coins, flipped 64 times each. The dotted line is the probability that nobody was told.

exact = BetaBernoulli(1.0, 1.0)
generator = torch.Generator().manual_seed(4)
truths = torch.tensor([0.15, 0.5, 0.9])
flips = torch.bernoulli(truths.view(3, 1).expand(3, FLIPS), generator=generator)
with torch.no_grad():
    believed = model.predictive_of(model(flips)).probs[..., 1]
laplace = exact.prefixes(None, flips).probs[..., 1]

figure, axes = panels(3, sharey=True)
seen = torch.arange(FLIPS).numpy()
for i, panel in enumerate(axes[0]):
    curve(panel, seen, believed[i].numpy(), "network")
    curve(panel, seen, laplace[i].numpy(), "exact")
    curve(panel, seen, truths[i].expand(FLIPS).numpy(), "truth")
    named(panel, f"a coin with {truths[i]:.2f}", "flips seen")
named(axes[0, 0], y_label="probability of heads")
legend_above(figure)

# %%
# ## What counts is the count
#
# The order of the flips says nothing, so all sequences with as many heads deserve the same answer.
# A dot is one sequence of n flips; the lines are Laplace's rule. Where dots of one column spread,
# the network still listens to the order.

figure, axes = panels(3, sharey=True)
for panel, n in zip(axes[0], (4, 16, 63), strict=True):
    rows = prior.sample(400, generator).y[:, : n + 1]
    with torch.no_grad():
        answers = model.predictive_of(model(rows)).probs[:, n, 1]
    heads = rows[:, :n].sum(dim=1)
    curve(
        panel,
        heads.numpy(),
        answers.numpy(),
        "network",
        linestyle="",
        marker="o",
        markersize=2.5,
        alpha=0.6,
    )
    counts = torch.arange(n + 1)
    curve(panel, counts.numpy(), ((counts + 1) / (n + 2)).numpy(), "exact")
    named(panel, f"after {n} flips", "heads among them")
named(axes[0, 0], y_label="probability of heads")
legend_above(figure)

batch = prior.sample(2000, generator)
with torch.no_grad():
    gap = (
        exact.prefixes(None, batch.y).log_prob(batch.y).mean()
        - model.prefixes(batch).log_prob(batch.y).mean()
    )
print(f"gap to the exact posterior: {float(gap):.4f} nats a flip")
plt.show()
