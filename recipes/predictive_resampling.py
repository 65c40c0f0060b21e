"""Predictive resampling of linear regression networks, end to end: train networks on pools of
tasks, and ask what they believe. Minutes on one CPU core as it stands; options after the recipe's
own override those of the sweep.

python recipes/predictive_resampling.py --out runs/linear
python recipes/predictive_resampling.py --out runs/linear --steps 20000 --task-size 16 --examples 64
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from openpfn.cli import main

OUT = "runs/predictive-resampling"
SWEEP = """
    --tasks 1 16 1024 --task-size 4 --examples 32 --noise 0.25 --seeds 0
    --d-model 64 --n-layers 2 --n-heads 2 --d-mlp 128 --d-vocab 128
    --steps 3000 --batch 64 --eval-batch 512 --checkpoints 6
"""
QUESTIONS = {
    "raventos": "",
    "losses": "",
    "length": "",
    "prior-recovery": "--n-samples 400 --horizon 48",
    "posterior": "--n-samples 200 --horizon 48 --prompts 4",
    "prompt": "--prompts 6",
}


def run(arguments: list[str]) -> int:
    """Train the sweep, then answer each question; gives the first exit code that is not 0."""
    words = [*shlex.split(SWEEP), "--out", OUT, *arguments]
    out = Path(words[len(words) - words[::-1].index("--out")])
    code = main(["sweep", "task-diversity", *words])
    for name, options in QUESTIONS.items():
        if code:
            break
        where = ["--registry", str(out / "registry"), "--out", str(out / "beliefs")]
        code = main(["beliefs", name, *where, *shlex.split(options)])
    return code


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
