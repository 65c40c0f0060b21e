"""The library from end to end: a prior in Python, a network trained on it under a name, found
again, asked, and held against the truth.

    python recipes/library.py                     # some minutes on one CPU core
    python recipes/library.py --num-steps 20000 --out runs/library

Bayesian linear regression, whose exact posterior predictive is known: the last lines tell how many
nats a row the network loses to it.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.distributions import Normal

from openpfn import DeterministicGenerator, RegressionConfig, TrainingConfig, train
from openpfn.bayes.exact import ConjugateLinear
from openpfn.wandb import (
    RunNameScheme,
    RunRegistry,
    create_run_name,
    list_checkpoints,
    load_by_config,
)

parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
parser.add_argument("--num-steps", type=int, default=3000, help="optimizer steps")
parser.add_argument("--batch-size", type=int, default=64, help="sequences a step")
parser.add_argument("--d-model", type=int, default=64, help="width of the network")
parser.add_argument(
    "--eval-tasks",
    type=int,
    default=2000,
    help="sequences that the network is held against the truth on",
)
parser.add_argument(
    "--out", type=Path, default=Path("runs/library"), help="folder of the run and of the registry"
)


@dataclass
class DataConfig:
    """What the network is trained on: recorded with it."""

    input_dim: int = 2
    """Columns of x."""
    noise_std: float = 0.5
    """Standard deviation of the noise."""
    seq_len: int = 24
    """Rows of a sequence."""


def line(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """Targets of one task: x (rows, columns), w (columns,)."""
    return (w * x).sum(dim=-1)


def main() -> None:
    """Train, load, ask, compare."""
    args, data = parser.parse_args(), DataConfig()
    registry = RunRegistry(args.out / "registry")
    prior = DeterministicGenerator(
        Normal(torch.zeros(data.input_dim), 1.0),
        line,
        data.input_dim,
        data.noise_std,
        seq_len=data.seq_len,
    )
    network = RegressionConfig(
        d_model=args.d_model,
        n_layers=3,
        input_dim=data.input_dim,
        bucket_type="mixture",
        d_vocab=8,
        y_min=-3.0,
        y_max=3.0,
    )

    scheme = RunNameScheme.from_templates(
        model={"d_model": None}, data={"input_dim": None, "noise_std": None}
    )
    name = create_run_name("lines", model_config=network, data_config=data, scheme=scheme)
    training = TrainingConfig(
        num_steps=args.num_steps,
        batch_size=args.batch_size,
        seq_len=data.seq_len,
        learning_rate=2e-3,
        schedule="cosine",
        warmup_steps=200,
        log_every=max(1, args.num_steps // 20),
        eval_every=max(1, args.num_steps // 4),
        save_every=max(1, args.num_steps // 2),
        n_workers=0,
        device="cpu",
        wandb_run_name=name,
        checkpoint_dir=str(args.out / "run"),
        overwrite=True,
    )
    train(prior, network, training, data_config=data, tracker=registry)

    model, _, metadata = load_by_config(
        scheme, d_model=args.d_model, noise_std=data.noise_std, device="cpu", tracker=registry
    )
    steps = [one.step for one in list_checkpoints(metadata.run_id or "", tracker=registry)]
    print(
        f"{metadata.run_name}: step {metadata.step} of the kept {steps}, on {metadata.data_config}"
    )

    generator = torch.Generator().manual_seed(1)
    batch = prior.sample(args.eval_tasks, generator)
    assert batch.x is not None
    exact = ConjugateLinear(noise_variance=data.noise_std**2)
    with torch.no_grad():
        believed, truth = model.prefixes(batch), exact.prefixes(batch.x, batch.y)
        gap = (truth.log_prob(batch.y) - believed.log_prob(batch.y)).mean(dim=0)  # (rows,)
    low, high = believed.interval(0.9)
    inside = ((batch.y >= low) & (batch.y <= high)).float().mean()
    print(f"90% intervals hold {inside:.1%} of the targets")

    made = model.generate(
        Normal(0.0, 1.0), 8, batch.x[0, :16], batch.y[0, :16], num_rollouts=100, generator=generator
    )
    before, after = (
        exact.posterior(batch.x[0, :16], batch.y[0, :16]),
        exact.posterior(made.x, made.y),
    )
    due = (
        (before.covariance - after.covariance.mean(dim=0)).diagonal().sqrt()
    )  # the law of total variance
    print(
        f"8 rows that the network makes up move the slopes by {after.mean.std(dim=0).tolist()};"
        f" exact ones by {due.tolist()}"
    )
    print(
        f"gap to the exact predictive: {gap.mean():.4f} nats a row; {gap[0]:.4f} before any row,"
        f" {gap[-1]:.4f} after {data.seq_len - 1}"
    )


if __name__ == "__main__":
    main()
