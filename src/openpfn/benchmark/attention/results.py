"""From the files of a comparison to statements: means over seeds, paired differences, after equal
steps and after equal time."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from openpfn.benchmark.attention.config import AttentionConfig
from openpfn.benchmark.attention.worker import (
    INFERENCE,
    LENGTHS,
    LOGISTIC,
    RUN,
    STEPS,
    Job,
    write_table,
)

METRICS = ("auc", "log_loss", "train_loss")
"""Figures of a run: on held-out tasks the area under the ROC curve of each class against the rest
and the log-loss in nats, and the mean training loss since the last row of the history."""


@dataclass(frozen=True)
class Comparison:
    """Everything that was measured, as far as it is done."""

    config: AttentionConfig
    """Options of the comparison."""
    runs: pd.DataFrame
    """A row per finished run: mechanism, seed, seconds, peak_mb, parameters, nan_losses."""
    histories: dict[tuple[str, int], pd.DataFrame]
    """The history of each finished run, by mechanism and seed."""
    lengths: pd.DataFrame
    """Columns mechanism, seed, length, n_context, task, log_loss, auc; logistic regression is a
    mechanism of seed 0 here."""
    step_seconds: dict[str, float]
    """Median seconds of a training step, measured in turns."""
    inference: pd.DataFrame
    """Columns mechanism, n_context, fit, read (median seconds), state_bytes."""

    @property
    def mechanisms(self) -> list[str]:
        """Those with a finished run, in the order asked for."""
        return [name for name in self.config.mechanisms if (self.runs["mechanism"] == name).any()]


def read_results(config: AttentionConfig) -> Comparison:
    """Read the results in the folder. Raises ValueError when no run is finished."""
    runs: list[dict[str, Any]] = []
    histories, lengths = {}, []
    for name in config.mechanisms:
        for seed in range(config.seeds):
            folder = config.out / Job("train", name, seed).name
            if (folder / RUN).is_file():
                runs.append(
                    {"mechanism": name, "seed": seed} | json.loads((folder / RUN).read_text())
                )
                histories[name, seed] = pd.read_csv(folder / "history.csv")
                lengths.append(pd.read_csv(folder / LENGTHS).assign(mechanism=name, seed=seed))
    if not runs:
        raise ValueError(f"no run in {config.out} is finished: see log.txt in the folders there.")
    logistic = config.out / LOGISTIC / LENGTHS
    if logistic.is_file():
        lengths.append(pd.read_csv(logistic).assign(mechanism=LOGISTIC, seed=0))
    return Comparison(
        config,
        pd.DataFrame(runs),
        histories,
        pd.concat(lengths, ignore_index=True),
        *_timing(config),
    )


def _timing(config: AttentionConfig) -> tuple[dict[str, float], pd.DataFrame]:
    folder = config.out / "timing"
    if not (folder / STEPS).is_file():
        return {}, pd.DataFrame(columns=["mechanism", "n_context", "fit", "read", "state_bytes"])
    steps = pd.read_csv(folder / STEPS).groupby("mechanism")["seconds"].median()
    if not (folder / INFERENCE).is_file() or not config.inference_rows:
        inference = pd.DataFrame(columns=["mechanism", "n_context", "fit", "read", "state_bytes"])
    else:
        inference = (
            pd.read_csv(folder / INFERENCE)
            .groupby(["mechanism", "n_context"], as_index=False)
            .median()
        )
    return {str(name): float(seconds) for name, seconds in steps.items()}, inference


def after_equal_steps(results: Comparison) -> pd.DataFrame:
    """`METRICS` of each finished run at its end: one row per mechanism and seed."""
    own = results.lengths[
        (results.lengths["length"] == 1) & (results.lengths["mechanism"] != LOGISTIC)
    ]
    found = own.groupby(["mechanism", "seed"], as_index=False, sort=False)[
        ["auc", "log_loss"]
    ].mean()
    last = {key: float(history["loss"].iloc[-1]) for key, history in results.histories.items()}
    return found.assign(
        train_loss=[
            last[name, seed] for name, seed in zip(found["mechanism"], found["seed"], strict=True)
        ]
    )


def after_equal_time(results: Comparison) -> pd.DataFrame:
    """Return `METRICS` and `steps` when the mechanism of the quickest steps has done all of them.

    Between two rows of a history values are interpolated. Times are steps × the seconds of a step
    measured in turns.
    """
    quickest = min(results.step_seconds[name] for name in results.mechanisms)
    rows = []
    for (name, seed), history in results.histories.items():
        steps = results.config.num_steps * quickest / results.step_seconds[name]
        row: dict[str, Any] = {"mechanism": name, "seed": seed, "steps": steps}
        for metric, column in {
            "auc": "eval_auc",
            "log_loss": "eval_loss",
            "train_loss": "loss",
        }.items():
            known = history.dropna(subset=[column])
            row[metric] = float(np.interp(steps, known["step"], known[column]))
        rows.append(row)
    return pd.DataFrame(rows)


def summary(
    scores: pd.DataFrame, mechanisms: list[str], reference: str, metrics: tuple[str, ...] = METRICS
) -> pd.DataFrame:
    """Per mechanism the mean of each metric over seeds, its standard error, and the same of the
    difference to `reference`.

    Columns METRIC, METRIC_error, METRIC_difference, METRIC_difference_error. Differences are taken
    seed by seed.
    """
    out = pd.DataFrame(index=pd.Index(mechanisms, name="mechanism"))
    for metric in metrics:
        wide = scores.pivot_table(index="seed", columns="mechanism", values=metric)
        for name in mechanisms:
            out.loc[name, [metric, f"{metric}_error"]] = mean_and_error(
                wide[name].dropna().to_numpy()
            )
            if reference in wide:
                change = (wide[name] - wide[reference]).dropna().to_numpy()
                out.loc[name, [f"{metric}_difference", f"{metric}_difference_error"]] = (
                    mean_and_error(change)
                )
    return out


def length_changes(results: Comparison, metric: str = "log_loss") -> pd.DataFrame:
    """Per method and length, columns mean and error over seeds, and `change`, `change_error` from
    length 1, taken seed by seed.

    Logistic regression has no seeds: its errors are missing.
    """
    wide = results.lengths.pivot_table(index=["mechanism", "seed"], columns="length", values=metric)
    rows = []
    for name, group in wide.groupby(level="mechanism", sort=False):
        for length in wide.columns:
            mean, error = mean_and_error(group[length].to_numpy())
            change, change_error = mean_and_error((group[length] - group[1]).to_numpy())
            rows.append(
                {
                    "mechanism": name,
                    "length": length,
                    "mean": mean,
                    "error": error,
                    "change": change,
                    "change_error": change_error,
                }
            )
    return pd.DataFrame(rows)


def mean_and_error(values: Float[np.ndarray, " seeds"]) -> tuple[float, float]:
    """Mean and its standard error, missing for fewer than two values."""
    if not len(values):
        return float("nan"), float("nan")
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values))) if len(
        values
    ) > 1 else float("nan")


def write_results(results: Comparison) -> None:
    """results.csv (a row per run) and summary.csv (a row per mechanism) in the comparison's
    folder."""
    equal = after_equal_steps(results)
    by_length = results.lengths.pivot_table(
        index=["mechanism", "seed"], columns="length", values=["auc", "log_loss"]
    )
    by_length.columns = [f"{metric}_x{length}" for metric, length in by_length.columns]
    runs = results.runs.merge(equal, on=["mechanism", "seed"]).merge(
        by_length.reset_index(), on=["mechanism", "seed"]
    )
    table = summary(equal, results.mechanisms, results.config.reference)
    if results.step_seconds:
        timed = after_equal_time(results)
        runs = runs.merge(timed, on=["mechanism", "seed"], suffixes=("", "_equal_time"))
        table = table.join(
            summary(timed, results.mechanisms, results.config.reference).add_suffix("_equal_time")
        )
        table["step_seconds"] = pd.Series(results.step_seconds)
    write_table(results.config.out / "results.csv", runs.to_dict("records"))
    write_table(results.config.out / "summary.csv", table.reset_index().to_dict("records"))
