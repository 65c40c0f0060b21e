"""Turn published weights (nanoTabPFN, TinyPFN) into a checkpoint of ours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro


@dataclass(frozen=True)
class ImportOptions:
    """Turn published weights into a checkpoint that gives the original's logits; every other
    command takes it like any other."""

    weights: tyro.conf.Positional[Path]
    """The published file: a state dict written by torch.save, alone or as "model_state_dict"."""
    kind: Literal["tinypfn", "nanotabpfn"]
    """Whose network the weights are of."""
    out: Path
    """The checkpoint to write."""
    n_heads: int | None = None
    """Attention heads; by default what the file says, else the published training script's: tinypfn
    1, nanotabpfn 4."""
    overwrite: bool = False
    """Replace OUT if it exists."""


def main(argv: list[str]) -> int:
    """Read, convert, save, and say what came out."""
    options = tyro.cli(ImportOptions, args=argv, prog="openpfn import")
    if options.out.exists() and not options.overwrite:
        raise FileExistsError(f"{options.out} exists. Choose another name, or say --overwrite.")
    from openpfn import checkpoint
    from openpfn.checkpoint import published as foreign
    from openpfn.files import sha256_of

    model = foreign.load(options.weights, options.kind, n_heads=options.n_heads)
    provenance = {
        "imported_from": options.weights.name,
        "kind": options.kind,
        "sha256": sha256_of(options.weights),
    }
    checkpoint.save(options.out, model, provenance=provenance)
    config = model.config
    n_parameters = sum(p.numel() for p in model.parameters())
    print(
        f"{options.out}: {n_parameters:,} parameters, {config.n_layers} layers, d_model"
        f" {config.d_model}, n_heads {config.n_heads}, d_mlp {config.d_mlp},"
        f" {config.attention_type} attention, at most {config.max_classes} classes"
    )
    return 0
