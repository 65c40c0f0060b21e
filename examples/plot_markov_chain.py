"""
# Markov chains

Each sequence is a walk between three places with its own probabilities of going from one to the
other. The network learns to infer them while it watches. The exact answer is a count: under a
uniform Dirichlet prior the chance of going from i to j is (1 + times it went from i to j) / (3 +
times it left i).
"""

import matplotlib.pyplot as plt
import torch
from torch.nn.functional import one_hot

from openpfn import TaskBatch, TaskPrior, TrainingConfig, UnsupervisedConfig, train
from openpfn.plots.beliefs import color_bar, curve, legend_above, named, number_map, panels

# %%
# ## A prior
#
# A prior is a class with `sample`: it gives a batch of tasks, all drawn at once. Exponential
# numbers divided by their sum are a uniform draw of probabilities.

PLACES, STEPS = 3, 80


class Chains(TaskPrior):
    def sample(self, n_tasks, generator):
        moves = torch.empty(n_tasks, PLACES, PLACES).exponential_(generator=generator)
        moves /= moves.sum(dim=-1, keepdim=True)
        walk = [torch.randint(PLACES, (n_tasks,), generator=generator)]
        for _ in range(STEPS - 1):
            chances = moves[torch.arange(n_tasks), walk[-1]]
            walk.append(torch.multinomial(chances, 1, generator=generator).squeeze(1))
        return TaskBatch(
            None, torch.stack(walk, dim=1).float(), n_train=0, latents={"moves": moves}
        )


prior = Chains()

# %%
# ## A network

network = UnsupervisedConfig(d_model=32, n_layers=2, n_heads=2, d_vocab=PLACES)
training = TrainingConfig(
    num_steps=800,
    batch_size=32,
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
# ## The exact posterior predictive
#
# Count the moves out of the place where the chain stands, among those seen so far.


def exact_probabilities(walk):
    place = one_hot(walk.long(), PLACES).float()
    moved = torch.einsum("bni,bnj->bnij", place[:, :-1], place[:, 1:])
    before = moved.cumsum(dim=1) - moved
    counts = torch.einsum("bni,bnij->bnj", place[:, :-1], before)
    later = (1 + counts) / (PLACES + counts.sum(dim=-1, keepdim=True))
    return torch.cat([torch.full_like(later[:, :1], 1 / PLACES), later], dim=1)


batch = prior.sample(2000, torch.Generator().manual_seed(1))
with torch.no_grad():
    believed = model.prefixes(batch)
exact = exact_probabilities(batch.y)
gap = (
    exact.log().gather(-1, batch.y.long().unsqueeze(-1)).mean() - believed.log_prob(batch.y).mean()
)
print(f"gap to the exact posterior: {float(gap):.4f} nats a step")

# %%
# ## Watching one chain
#
# What is expected next, each time the chain stands at A, at B or at C. The letters at the right say
# where each curve leads.

CHAIN, NAMES = 159, "ABC"
walk, truth = batch.y[CHAIN].long(), batch.latents["moves"][CHAIN]

figure, axes = panels(PLACES, sharey=True)
for i, panel in enumerate(axes[0]):
    visits = (walk[:-1] == i).nonzero().squeeze(1) + 1
    for j in range(PLACES):
        curve(panel, visits.numpy(), believed.probs[CHAIN, visits, j].numpy(), "network")
        curve(panel, visits.numpy(), exact[CHAIN, visits, j].numpy(), "exact")
        curve(panel, visits.numpy(), truth[i, j].expand(len(visits)).numpy(), "truth")
        panel.annotate(
            f"→ {NAMES[j]}",
            (STEPS + 2, truth[i, j]),
            va="center",
            fontsize=8,
            annotation_clip=False,
        )
    named(panel, f"standing at {NAMES[i]}", "steps seen")
    panel.set_xlim(0, STEPS)
named(axes[0, 0], y_label="probability of going there next")
legend_above(figure)

# %%
# ## What was learned of it
#
# The chances of going from the row's place to the column's, after the chain's last visit to each.

last = [int((walk[:-1] == i).nonzero()[-1]) + 1 for i in range(PLACES)]
maps = {
    "truth": truth,
    "exact posterior": exact[CHAIN, last],
    "network": believed.probs[CHAIN, last],
}
figure, axes = panels(len(maps), sharey=True, height=2.4)
for panel, (title, chances) in zip(axes[0], maps.items(), strict=True):
    image = number_map(panel, chances.numpy(), list(NAMES), list(NAMES), (0, 1))
    named(panel, title, "to")
named(axes[0, 0], y_label="from")
color_bar(figure, image, axes, "probability")
plt.show()
