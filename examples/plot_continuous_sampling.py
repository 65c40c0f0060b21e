"""
# Sampling what comes next

Series of numbers, each pulled back to a level of its own. `generate` continues a series from the
network's own predictions, again and again. The exact continuations draw the parameters from their
posterior first.
"""

import matplotlib.pyplot as plt
import torch
from torch.distributions import Normal

from openpfn import ProgramGenerator, TrainingConfig, UnsupervisedConfig, train
from openpfn.bayes.exact import ConjugateLinear
from openpfn.generators import sample
from openpfn.plots.beliefs import band, curve, fan, legend_above, named, panels

# %%
# ## A prior
#
# Each number is `pull` times the one before, plus `drift`, plus noise. Given the series, that is
# linear regression of each number on the one before: `ConjugateLinear` knows the exact posterior of
# pull and drift.

NOISE, LENGTH, PROMPT = 0.3, 40, 8
PULL, DRIFT = (0.4, 0.15), (0.0, 0.6)


def series(n_rows):
    pull, drift = sample("pull", Normal(*PULL)), sample("drift", Normal(*DRIFT))
    noise = sample(None, Normal(torch.zeros(n_rows), NOISE))
    numbers = [noise[0]]
    for step in noise[1:]:
        numbers.append(pull * numbers[-1] + drift + step)
    return torch.stack(numbers)


prior = ProgramGenerator(series, seq_len=LENGTH)

# %%
# ## A network

network = UnsupervisedConfig(
    d_model=32,
    n_layers=3,
    n_heads=2,
    input_type="continuous",
    bucket_type="mixture",
    d_vocab=3,
    y_min=-2.0,
    y_max=2.0,
)
training = TrainingConfig(
    num_steps=700,
    batch_size=32,
    seq_len=LENGTH,
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
# ## Continuations
#
# Eight numbers are given, 32 follow, 300 times over. Of 40 series this is the one that drifts most.

exact = ConjugateLinear(
    NOISE**2,
    torch.tensor([PULL[1] ** 2, DRIFT[1] ** 2]),
    torch.tensor([PULL[0], DRIFT[0]]),
    with_bias=True,
)
generator = torch.Generator().manual_seed(1)
batch = prior.sample(40, generator)


def exact_continuations(prompt, n_draws):
    before, after = prompt[:-1].unsqueeze(-1), prompt[1:]
    pull, drift = exact.posterior(before, after).sample(n_draws, generator).float().unbind(-1)
    numbers = [prompt[-1].expand(n_draws)]
    for _ in range(LENGTH - PROMPT):
        numbers.append(
            pull * numbers[-1] + drift + NOISE * torch.randn(n_draws, generator=generator)
        )
    return torch.cat([prompt.expand(n_draws, -1), torch.stack(numbers[1:], dim=1)], dim=1)


prompt = batch.y[batch.latents["drift"].argmax(), :PROMPT]
made = {
    "network": model.generate(LENGTH - PROMPT, prompt, num_rollouts=300, generator=generator).y,
    "exact": exact_continuations(prompt, 300),
}
levels = torch.tensor([0.05, 0.5, 0.95])
steps = torch.arange(LENGTH).numpy()
figure, axes = panels(3, sharey=True)
for panel, (who, paths) in zip(axes[0, :2], made.items(), strict=True):
    fan(panel, steps[PROMPT - 1 :], paths[:15, PROMPT - 1 :].numpy(), who)
    band(
        axes[0, 2], steps[PROMPT - 1 :], paths[:, PROMPT - 1 :].quantile(levels, dim=0).numpy(), who
    )
for panel, title in zip(
    axes[0], ("15 made by the network", "15 exact ones", "median and 90% of 300 each"), strict=True
):
    curve(panel, steps[:PROMPT], prompt.numpy(), "truth", "given", linestyle="-")
    named(panel, title, "step")
named(axes[0, 0], y_label="value")
legend_above(figure)

# %%
# ## The same for 40 series
#
# Each continuation has a mean over its last 16 steps. A dot is a quantile of that mean, of 100
# continuations by the network against 100 exact ones: on the line they agree, up to the chance of
# the draws.

prompts = batch.y[:, :PROMPT]
ours = (
    model.generate(LENGTH - PROMPT, prompts, num_rollouts=100, generator=generator)
    .y[..., -16:]
    .mean(dim=-1)
)
theirs = torch.stack([exact_continuations(one, 100)[:, -16:].mean(dim=-1) for one in prompts])

ends, dots = (
    torch.tensor([-3.0, 4.0]).numpy(),
    {"linestyle": "", "marker": "o", "markersize": 4, "alpha": 0.7},
)
figure, axes = panels(3, sharex=True, sharey=True, height=2.7)
for panel, level in zip(axes[0], levels, strict=True):
    curve(panel, ends, ends, "exact", "equal")
    curve(
        panel,
        theirs.quantile(level, dim=1).numpy(),
        ours.quantile(level, dim=1).numpy(),
        "network",
        "one series",
        **dots,
    )
    named(panel, f"{level:.0%} quantile", "exact")
named(axes[0, 0], y_label="network")
legend_above(figure)

batch = prior.sample(2000, generator)
before, after = batch.y[:, :-1].unsqueeze(-1), batch.y[:, 1:]
with torch.no_grad():
    gap = (
        exact.prefixes(before, after).log_prob(after).mean()
        - model.prefixes(batch).log_prob(batch.y)[:, 1:].mean()
    )
print(f"gap to the exact posterior: {float(gap):.3f} nats a step")
plt.show()
