"""
# Classification and its boundaries

Two classes on a plane: 1 is likely inside a disc, 0 outside. Where the disc lies and how large it
is, the network infers from the points it sees. Pictured is its probability of class 1 everywhere,
beside the exact one.
"""

import matplotlib.pyplot as plt
import torch
from torch.distributions import Bernoulli, Normal

from openpfn import BayesianGenerator, ClassificationConfig, TrainingConfig, train
from openpfn.bayes import DiscreteTask, Likelihood, Prior
from openpfn.bayes.exact import TaskPool
from openpfn.plots.beliefs import (
    color_bar,
    curve,
    legend_above,
    named,
    observed,
    panels,
    probability_field,
)

# %%
# ## A prior
#
# A pool of 1,000 discs (two coordinates of the centre, radius). Because the pool is finite, Bayes'
# rule is a sum: `TaskPool` weighs every disc by how well it explains the points.

ROWS = 48
generator = torch.Generator().manual_seed(0)
discs = torch.randn(1000, 3, generator=generator) * torch.tensor([0.8, 0.8, 0.0])
discs[:, 2] = 0.6 + torch.rand(len(discs), generator=generator)


def log_odds(x, disc):
    distance = (x - disc[:2]).square().sum(dim=-1)
    return 4 * (disc[2] ** 2 - distance)


likelihood = Likelihood(Bernoulli, lambda disc, x: {"logits": log_odds(x, disc)}, input_dim=2)
prior = BayesianGenerator(
    Prior(DiscreteTask(discs)), likelihood, x_distribution=Normal(0.0, 1.0), seq_len=ROWS
)
exact = TaskPool(discs, function=log_odds, family="bernoulli")

# %%
# ## A network

network = ClassificationConfig(
    d_model=32, n_layers=3, n_heads=2, input_dim=2, num_classes=2, use_pos_emb=False
)
training = TrainingConfig(
    num_steps=700,
    batch_size=32,
    seq_len=ROWS,
    optimizer="muon",
    learning_rate=4e-3,
    schedule="cosine",
    log_every=350,
    n_workers=0,
    n_threads=1,
    device="cpu",
    save_checkpoint=False,
)
model = train(prior, network, training)

# %%
# ## The boundary as points come in
#
# Above the network, below the exact posterior, after 4, 12 and 40 points. Lines are where both
# classes are equally likely.

task = prior.sample(1, torch.Generator().manual_seed(7))
side = torch.linspace(-3, 3, 41)
plane = torch.cartesian_prod(side, side).flip(-1).unsqueeze(0)

figure, axes = panels(3, 2, sharex=True, sharey=True, height=2.5)
for column, n in zip(axes.T, (4, 12, 40), strict=True):
    x, y = task.x[:, :n], task.y[:, :n]
    with torch.no_grad():
        fields = {
            "network": model.predictive_of(model(x, y, plane)).mean[
                0
            ],  # of classes 0 and 1: the probability of 1
            "exact": exact.predictive(x, y, plane).mean[0],
        }
    for panel, (who, field) in zip(column, fields.items(), strict=True):
        image = probability_field(
            panel, side.numpy(), side.numpy(), field.view(41, 41).double().numpy(), who
        )
        observed(panel, x[0, :, 0].numpy(), x[0, :, 1].numpy(), classes=y[0].numpy())
    named(column[0], f"after {n} points")
    named(column[1], x_label="x₁")
for who, panel in zip(("network", "exact posterior"), axes[:, 0], strict=True):
    named(panel, y_label=f"{who}: x₂")
color_bar(figure, image, axes, "probability of class 1")
legend_above(figure)

# %%
# ## What is lost
#
# Mean surprise (−log p) of each point, over 150 new tasks: few, so the curves are rough, but both
# are about the same tasks.

batch = prior.sample(150, torch.Generator().manual_seed(2))
with torch.no_grad():
    network_loss = -model.prefixes(batch).log_prob(batch.y).mean(dim=0)
parts = zip(batch.x.split(15), batch.y.split(15), strict=True)
exact_loss = -torch.cat([exact.prefixes(x, y).log_prob(y) for x, y in parts]).mean(dim=0)
print(f"gap to the exact posterior: {float((network_loss - exact_loss).mean()):.3f} nats a point")

figure, axes = panels(1, height=2.6)
curve(axes[0, 0], torch.arange(ROWS).numpy(), network_loss.numpy(), "network")
curve(axes[0, 0], torch.arange(ROWS).numpy(), exact_loss.numpy(), "exact")
named(axes[0, 0], x_label="points seen before", y_label="−log p of the next class, in nats")
axes[0, 0].set_ylim(bottom=0)
legend_above(figure)
plt.show()
