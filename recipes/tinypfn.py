"""TinyPFN's quick start from end to end: draw tasks, train a network on them, write it as C, and
hold the C's logits against the network's.

    python recipes/tinypfn.py                                  # half an hour on one CPU core
    python recipes/tinypfn.py --target cortex-m4f              # ... and run it on an emulated chip
    python recipes/tinypfn.py --weights tinypfn_prior_trained.pt --features 5   # TinyPFN's own

The numbers are those of its description: 4,000 tasks of at most 150 rows, 5 columns and 3 classes.
`openpfn export c … --sketch` then writes what an Arduino board needs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from openpfn.cli import main as openpfn

parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
parser.add_argument("--num-batches", type=int, default=250, help="batches of tasks to draw")
parser.add_argument("--batch-size", type=int, default=16, help="tasks of a batch")
parser.add_argument("--features", type=int, default=5, help="most columns of a table")
parser.add_argument("--rows", type=int, default=150, help="most rows of a task")
parser.add_argument("--classes", type=int, default=3, help="most classes of a table")
parser.add_argument("--preset", default="tiny", help="size of the network: micro or tiny")
parser.add_argument("--num-steps", type=int, default=2500, help="optimizer steps")
parser.add_argument("--backend", default="int8", help="f32, int8 or int")
parser.add_argument("--target", default="host", help="core on which the C code is validated")
parser.add_argument("--data", default="iris", help="table whose rows it is validated on")
parser.add_argument("--weights", type=Path, help="a .pt file of TinyPFN, in place of training")
parser.add_argument("--out", type=Path, default=Path("runs/tinypfn"), help="folder for everything")


def step(title: str, *words: object) -> None:
    """Run one command of openpfn; a failure ends the recipe with the command's status."""
    command = [str(word) for word in words]
    print(f"\n{title}: openpfn {' '.join(command)}", flush=True)
    status = openpfn(command)
    if status:
        sys.exit(status)


def main() -> None:
    """Generate, train, export, validate."""
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    firmware = args.out / "firmware"
    if args.weights is None:
        tasks, network = args.out / "tasks.h5", args.out / "run"
        size = ["--num-batches", args.num_batches, "--batch-size", args.batch_size]
        table = ["--max-features", args.features, "--max-seq-len", args.rows]
        classes = ["--min-classes", 2, "--max-classes", args.classes]
        where = ["--save-path", tasks, "--force"]
        step("1 draw tasks", "priors", "generate", *size, *table, *classes, *where)
        how = ["--preset", args.preset, "--dump", tasks, "--num-steps", args.num_steps]
        rate = ["--batch-size", args.batch_size, "--optimizer", "muon", "--schedule", "cosine"]
        step("2 train", "train", *how, *rate, "--out", network, "--overwrite")
    else:
        network = args.out / "imported.safetensors"
        kind = ["--kind", "tinypfn", "--overwrite"]
        step("1, 2 import", "import", args.weights, "--out", network, *kind)
    limits = ["--max-features", args.features, "--backend", args.backend]
    step("3 export", "export", "c", network, "--out", firmware, *limits)
    where = ["--target", args.target, "--data", args.data]
    step("4 validate", "export", "verify", firmware, *where)


if __name__ == "__main__":
    main()
