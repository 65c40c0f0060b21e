"""Train the shipped `micro`: an hour on one CPU core. Options after the recipe's own override
them.

python recipes/train_micro.py --out runs/micro
python recipes/train_micro.py --out runs/micro --resume
"""

from __future__ import annotations

import shlex
import sys

from openpfn.cli import main

OPTIONS = """
    --preset micro --num-steps 9000 --batch-size 32
    --optimizer muon --muon-learning-rate 0.01 --learning-rate 0.006 --weight-decay 0.0
    --schedule cosine --warmup-steps 200 --average-decay 0.999
    --tasks.min-features 1 --tasks.max-features 8 --tasks.min-seq-len 16 --tasks.max-seq-len 160
    --tasks.max-classes 4
    --tasks.min-context-share 0.15 --tasks.max-context-share 0.85
    --log-every 100 --eval-every 1000 --eval-batches 16
"""

if __name__ == "__main__":
    sys.exit(main(["train", *shlex.split(OPTIONS), *sys.argv[1:]]))
