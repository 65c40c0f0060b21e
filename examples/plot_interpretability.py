"""
# Looking inside a network

A small network has learned to fit lines through the origin. Three looks inside, all with hook
points: what its heads attend to, what each layer knows already, and where the answer comes from.
"""

import matplotlib.pyplot as plt
import torch
from torch.distributions import Normal

from openpfn import DeterministicGenerator, RegressionConfig, TrainingConfig, train
from openpfn.bayes.exact import ConjugateLinear
from openpfn.plots.attention import pattern_axes
from openpfn.plots.beliefs import color_bar, curve, legend_above, named, number_map, panels
from openpfn.plots.mask import token_labels

# %%
# ## A network that fits lines

NOISE, ROWS = 0.2, 8


def line(x, slope):
    return slope * x[:, 0]


prior = DeterministicGenerator(Normal(0.0, 1.0), line, input_dim=1, noise_std=NOISE, seq_len=ROWS)
network = RegressionConfig(
    d_model=32, n_layers=3, n_heads=2, input_dim=1, prediction_type="point", use_pos_emb=False
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
# ## What heads attend to
#
# A row is two tokens: x, where y is predicted, and (x, y), which later tokens may read. Each panel
# is one head on one task.

batch = prior.sample(2000, torch.Generator().manual_seed(1))
with torch.no_grad():
    answers, cache = model.run_with_cache(batch.x, batch.y)

figure, axes = panels(network.n_layers, network.n_heads, height=2.7)
for layer in range(network.n_layers):
    pattern = cache[f"blocks.{layer}.attn.hook_pattern"][0]
    for head, panel in enumerate(axes[:, layer]):
        image = pattern_axes(
            panel, pattern[head].numpy(), token_labels(ROWS), f"layer {layer}, head {head}"
        )
for panel in axes[:, 0]:
    named(panel, y_label="reads")
for panel in axes[-1]:
    named(panel, x_label="is read")
color_bar(figure, image, axes, "weight")

# %%
# ## What each layer knows
#
# The logit lens: the residual stream after each layer, read out as if it were the last. Compared
# with the exact posterior mean, the estimate comes into being layer by layer.

exact = ConjugateLinear(noise_variance=NOISE**2).prefixes(batch.x, batch.y).mean
stream = [cache["blocks.0.hook_resid_pre"]] + [
    cache[f"blocks.{layer}.hook_resid_post"] for layer in range(network.n_layers)
]
with torch.no_grad():
    read_out = [model.unembed(model.ln_final(one))[:, 0::2, 0] for one in stream]

figure, axes = panels(1, height=2.6)
names = ["embedding", *(f"after layer {layer}" for layer in range(network.n_layers))]
for i, (name, mean) in enumerate(zip(names, read_out, strict=True)):
    distance = (mean - exact).square().mean(dim=0).sqrt()
    look = {"marker": "osD^"[i], "markersize": 5, "alpha": 0.35 + 0.65 * i / 3}
    curve(axes[0, 0], torch.arange(ROWS).numpy(), distance.numpy(), "network", name, **look)
axes[0, 0].set_ylim(bottom=0)
named(axes[0, 0], x_label="rows seen before", y_label="distance from the exact mean (RMS)")
legend_above(figure)

# %%
# ## Where the answer comes from
#
# Activation patching. Two tasks with the same x and opposite slopes; into the run on one, the
# residual stream of the other is put, at one layer and token at a time. 0 leaves the answer for the
# last row as it was, 1 turns it into that of the other task.

x = torch.tensor([-1.2, 0.4, 1.0, -0.6, 0.8, -0.3, 1.4, 1.5]).view(1, ROWS, 1)
y = line(x[0], 1.0).unsqueeze(0)
asked = 2 * (ROWS - 1)


def patched_answer(name, token):
    def put(stream, hook):
        stream[:, token] = clean[name][:, token]
        return stream

    return model.run_with_hooks(x, -y, fwd_hooks=[(name, put)])[0, -1, 0]


with torch.no_grad():
    (answer, clean), other = model.run_with_cache(x, y), model(x, -y)
    points = [f"blocks.{layer}.hook_resid_pre" for layer in range(network.n_layers)]
    moved = torch.tensor(
        [[patched_answer(name, token) for token in range(asked + 1)] for name in points]
    )
    effect = (moved - other[0, -1, 0]) / (answer[0, -1, 0] - other[0, -1, 0])
print(f"answers for x = 1.5: {float(answer[0, -1, 0]):.2f} and {float(other[0, -1, 0]):.2f}")

figure, axes = panels(1, height=2.2)
before = [f"layer {layer}" for layer in range(network.n_layers)]
image = number_map(axes[0, 0], effect.numpy(), before, token_labels(ROWS)[: asked + 1], (0, 1))
axes[0, 0].tick_params(axis="x", rotation=45)
named(axes[0, 0], x_label="token whose stream is replaced", y_label="before")
color_bar(figure, image, axes, "share of the answer")
plt.show()
