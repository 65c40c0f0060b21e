"""A table with text from end to end: read it, adapt a network to its words, score it against the
usual, and look at what it learnt.

    python recipes/text_tables.py TABLE.csv TARGET
    python recipes/text_tables.py TABLE.csv TARGET --rows 500 --model runs/text-small

Writes answers.png (the validation loss of each epoch, and the answers) and the fitted estimator
into --out.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import train_test_split

from openpfn import TextTableClassifier, TextTableRegressor
from openpfn.tables.load import load
from openpfn.tables.target import read_target

parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
parser.add_argument("table", help="CSV or parquet file")
parser.add_argument("target", help="column to predict")
parser.add_argument("--rows", type=int, default=1000, help="rows to train on, at most")
parser.add_argument("--model", default="auto", help="checkpoint to start from")
parser.add_argument("--encoder", default="auto", help="text encoder")
parser.add_argument("--epochs", type=int, default=50, help="passes over the rows, at most")
parser.add_argument("--seconds", type=float, default=180.0, help="time limit of the training")
parser.add_argument("--out", type=Path, default=Path("runs/text_tables"), help="folder of pictures")


def main() -> None:
    """Fit, score, draw."""
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    table = load(args.table, args.target)
    target = read_target(table.y)
    is_class = target.task == "classification"
    y = table.y if is_class else target.numbers(table.y)
    n_train = min(args.rows, len(table.X) * 3 // 4)
    train, test = train_test_split(np.arange(len(table.X)), train_size=n_train, random_state=0)
    y = np.asarray(y)

    kind = TextTableClassifier if is_class else TextTableRegressor
    estimator = kind(
        args.model, encoder=args.encoder, max_epochs=args.epochs, time_limit=args.seconds
    )
    began = time.perf_counter()
    estimator.fit(table.X.iloc[train], y[train])
    print(f"fitted {n_train} rows in {time.perf_counter() - began:.0f} s")
    if isinstance(estimator, TextTableClassifier):
        known = np.isin(y[test], estimator.classes_)
        p = estimator.predict_proba(table.X.iloc[test[known]])
        shown = p[:, 1] if p.shape[1] == 2 else p
        score = roc_auc_score(y[test[known]], shown, multi_class="ovo", labels=estimator.classes_)
        print(f"AUC {score:.3f} on {known.sum()} rows")
        answers = p.max(axis=1)
    else:
        answers = estimator.predict(table.X.iloc[test])
        print(f"R² {r2_score(y[test], answers):.3f} on {len(test)} rows")
    estimator.save(args.out / "estimator.safetensors")

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for member in estimator.members_:
        left.plot(member.losses)
    left.set_xlabel("epoch")
    left.set_ylabel("validation loss")
    if isinstance(estimator, TextTableClassifier):
        right.hist(answers, bins=20)
        right.set_xlabel("probability of the predicted class")
    else:
        right.scatter(answers, y[test], s=4)
        right.set_xlabel("predicted")
        right.set_ylabel("true")
    figure.savefig(args.out / "answers.png")
    print(f"wrote {args.out}/answers.png and estimator.safetensors")


if __name__ == "__main__":
    main()
