"""Train the shipped `tiny`: hours on one CPU core. Options after the recipe's own override them.

python recipes/train_tiny.py --out runs/tiny
python recipes/train_tiny.py --out runs/tiny --resume
"""

from __future__ import annotations

import shlex
import sys

from openpfn.cli import main

OPTIONS = """
    --preset tiny --num-steps 7500 --batch-size 16
    --optimizer muon --muon-learning-rate 0.005 --learning-rate 0.003 --weight-decay 0.01
    --schedule cosine --warmup-steps 200 --average-decay 0.998
    --tasks.min-features 2 --tasks.max-features 32 --tasks.min-seq-len 30 --tasks.max-seq-len 256
    --tasks.min-context-share 0.15 --tasks.max-context-share 0.85
    --log-every 50 --eval-every 500 --eval-batches 16
"""

if __name__ == "__main__":
    sys.exit(main(["train", *shlex.split(OPTIONS), *sys.argv[1:]]))
