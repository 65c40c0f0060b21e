"""Options of `openpfn benchmark bayes`: what to measure, and how to train the networks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from openpfn.configs.checks import check_least

GAP_NAMES = ("linear_1", "linear_4", "gp", "coin")
"""Priors whose exact posterior predictive is known: each trains a network."""
SPEED_NAMES = ("sampling", "share", "generation_64", "generation_128", "permutation")
"""Measurements that take seconds: drawing, its share of training, generation, and the order of a
set's context."""


@dataclass(frozen=True)
class BayesConfig:
    """Select measurements, and how to train the networks. None stands for a problem's default."""

    only: tuple[str, ...] = ()
    """Of linear_1, linear_4, gp, coin (each trains a network), sampling, share, generation_64,
    generation_128, permutation; all by default."""
    minutes: float | None = None
    """Processor minutes of each training, tasks drawn included; None: 5 for linear_1, 2 for coin,
    10 for the others."""
    head: Literal["mixture", "uniform"] = "mixture"
    """Form of predicted numbers: a mixture of normal distributions, or buckets of equal width,
    whose rounding is then told apart."""
    d_vocab: int | None = None
    """Components of the mixture (8), or buckets (500)."""
    d_model: int = 64
    """Width of the trained networks."""
    n_layers: int = 3
    """Layers of the trained networks."""
    batch_size: int = 64
    """Sequences a step."""
    optimizer: Literal["adamw", "muon"] = "muon"
    """The optimizer, with a warm-up and a cosine to zero over the whole budget."""
    learning_rate: float = 2e-3
    """Peak rate of AdamW."""
    muon_learning_rate: float = 5e-3
    """Peak rate of Muon on 2-D weights."""
    warmup_steps: int = 200
    """Steps of the warm-up, at most a tenth of all."""
    eval_tasks: int = 4096
    """Sequences that the gap is measured on: none of them is trained on."""
    rollouts: int = 256
    """Sequences generated at once: the more there are, the less each step's overhead weighs."""
    repeats: int = 3
    """Repeats of what is timed; the sides of a ratio take turns, and the median of the ratios is
    told."""
    seed: int = 0
    """Decides weights and tasks."""
    out: Path = Path("bayes.json")
    """Results file, with the machine and the versions. Rows of an earlier call with the same
    options stay, unless they are measured again."""
    page: Path | None = None
    """Also write them as a Markdown page, such as docs/bayes.md."""

    def __post_init__(self) -> None:
        for name in self.only:
            if name not in (*GAP_NAMES, *SPEED_NAMES):
                raise ValueError(
                    f"only holds {name!r}. Choose of {', '.join((*GAP_NAMES, *SPEED_NAMES))}."
                )
        check_least(self, eval_tasks=2, rollouts=1, repeats=1, batch_size=1)
        if self.minutes is not None and not self.minutes > 0:
            raise ValueError(f"minutes is {self.minutes}, must be positive, or None.")
        if self.d_vocab is None:
            object.__setattr__(
                self, "d_vocab", 8 if self.head == "mixture" else 500
            )  # the record holds what None stood for
