"""Cheaper attention on one real table: networks that differ in their attention between rows alone,
trained on tasks drawn from its rows.

    python recipes/cheaper_attention.py    # adult, from OpenML
    python recipes/cheaper_attention.py --table.source my.csv --table.target label --out runs/mine

Training tasks and held-out tasks take different rows of the table. Each task numbers its classes
and orders its columns anew, so that a network has to read them from the context. OUT/report.html
says what each mechanism is worth and costs.
"""

from __future__ import annotations

import shlex
import sys

from openpfn.cli import main

OPTIONS = """
    --prior real_tables --table.source openml:data/1590 --table.total-rows 100 --table.train-rows 80
    --table.shuffle-columns-for-each-task --table.shuffle-classes-for-each-task
    --mechanisms original scratch sparse local pooling linear ridge hybrid
    --num-steps 800 --seeds 1 --jobs 2 --held-out 128 --lengths 1 4
    --inference-rows 40 100 500 1000 5000 --out runs/cheaper-attention
"""

if __name__ == "__main__":
    sys.exit(main(["benchmark", "attention", *shlex.split(OPTIONS), *sys.argv[1:]]))
