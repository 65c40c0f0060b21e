"""Train `nano-1`, the shipped `nano` of earlier days: hours on one CPU core, minutes on a GPU.
Options after the recipe's own override them.

python recipes/train_nano.py --out runs/nano
python recipes/train_nano.py --out runs/nano --resume
"""

from __future__ import annotations

import shlex
import sys

from openpfn.cli import main

OPTIONS = """
    --preset nano --num-steps 6000 --batch-size 16 --precision auto
    --optimizer muon --muon-learning-rate 0.003 --learning-rate 0.002 --weight-decay 0.01
    --schedule cosine --warmup-steps 200 --average-decay 0.998
    --tasks.min-features 2 --tasks.max-features 40 --tasks.min-seq-len 40 --tasks.max-seq-len 256
    --tasks.min-context-share 0.15 --tasks.max-context-share 0.85
    --log-every 50 --eval-every 500 --eval-batches 16
"""

if __name__ == "__main__":
    sys.exit(main(["train", *shlex.split(OPTIONS), *sys.argv[1:]]))
