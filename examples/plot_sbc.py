"""
# Simulation-based calibration

Does a posterior mean what it says? Draw parameters from the prior, data from the parameters, and
see where the truth lies among the posterior's draws: anywhere, with equal probability, if the
posterior is right. We ask the exact posterior, one that misjudges the noise, and a network by
predictive resampling.
"""

import matplotlib.pyplot as plt
import torch
from torch.distributions import Normal

from openpfn import DeterministicGenerator, RegressionConfig, TrainingConfig, train
from openpfn.bayes import diagnostics, exact
from openpfn.plots.beliefs import LOOKS, curve, legend_above, named, panels

# %%
# ## Lines through the origin
#
# One slope, standard normal; noise with standard deviation 0.5; six rows are seen.

NOISE, SEEN, ROWS = 0.5, 6, 30


def line(x, slope):
    return slope * x[:, 0]


prior = DeterministicGenerator(Normal(0.0, 1.0), line, input_dim=1, noise_std=NOISE)
network = RegressionConfig(
    d_model=32,
    n_layers=2,
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
# ## Three posteriors
#
# The truth of 200 tasks beside 29 draws of each posterior. The network has no parameters to draw:
# its slopes are least squares of the rows that it completes the data with.

tasks = {"n_tasks": 200, "n_context": SEEN, "n_draws": 29}
posteriors = {
    "exact": exact.ConjugateLinear(NOISE**2),
    "noise variance halved": exact.ConjugateLinear(NOISE**2 / 2),
    "network": model,
}
made = {}
for name, posterior in posteriors.items():
    generator = torch.Generator().manual_seed(0)
    options = {"horizon": ROWS - SEEN, "x_sampler": Normal(0.0, 1.0)} if name == "network" else {}
    made[name] = diagnostics.simulated(prior, posterior, generator=generator, **tasks, **options)
    ranks = diagnostics.sbc(*made[name], names=["slope"])
    spread = float(ranks.spread[0])
    print(f"{name}: p = {ranks.p_value:.2g}; truths spread {spread:.2f} times as the draws do")

# %%
# ## Ranks
#
# A histogram that bends up at both ends is of a posterior that is too sure: the truth lies outside
# its draws too often. The band holds 95% of what is flat.

ranks_of_wrong = diagnostics.sbc(*made["noise variance halved"], names=["slope"])
ranks_of_wrong.plot()

# %%
# ## Coverage
#
# The same as a curve: how often the truth lies within the central interval of each probability.

figure, axes = panels(1, height=3.0)
looks = {"exact": "exact", "noise variance halved": "truth", "network": "network"}
for name, (truth, draws) in made.items():
    covered = diagnostics.coverage(truth, draws)
    label = "noise variance halved" if looks[name] == "truth" else name
    curve(axes[0, 0], covered.levels, covered.covered, looks[name], label)
    share, error = covered.at(0.9)
    print(f"{name}: 90% intervals hold {100 * share:.0f} ± {100 * error:.0f}% of the truths")
axes[0, 0].plot([0, 1], [0, 1], color=LOOKS["truth"]["color"], linewidth=0.6, label="calibrated")
named(axes[0, 0], x_label="probability of the interval", y_label="share of truths within")
legend_above(figure)
plt.show()
