"""One job of a comparison in a process of its own: train and score a run, score logistic
regression, or time the mechanisms; it tells which share of it is done."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from openpfn.benchmark.attention.config import AttentionConfig
from openpfn.device import peak_megabytes
from openpfn.files import write_whole
from openpfn.tables.schema import Kind

TASKS, LENGTHS, RUN, STEPS, INFERENCE = (
    "tasks.h5",
    "lengths.csv",
    "run.json",
    "steps.csv",
    "inference.csv",
)
LOGISTIC = "logistic"


@dataclass(frozen=True)
class Job:
    """Job of one process."""

    kind: str
    """train, logistic or timing."""
    mechanism: str = ""
    """Of a training."""
    seed: int = 0
    """Of a training."""

    @property
    def name(self) -> str:
        """Name of its folder."""
        return (
            f"{self.mechanism.replace(':', '.').lower()}-seed{self.seed}"
            if self.kind == "train"
            else self.kind
        )

    @property
    def last_file(self) -> str:
        """File that it writes when all else is done."""
        return {"train": RUN, LOGISTIC: LENGTHS, "timing": INFERENCE}[self.kind]


def do(order: tuple[AttentionConfig, Job], tell: Callable[[float], None]) -> bool:
    """Do one job, telling the share done on the way; true when all of it is done."""
    config, job = order
    (config.out / job.name).mkdir(parents=True, exist_ok=True)
    run = {"train": train_run, LOGISTIC: score_logistic, "timing": time_mechanisms}[job.kind]
    run(config, job, tell)
    return True


def train_run(config: AttentionConfig, job: Job, tell: Callable[[float], None]) -> None:
    """Train one network, from its last checkpoint if there is one, and score it on the held-out
    tasks at every context length."""
    import torch

    from openpfn.benchmark.attention.tasks import TaskSource, held_out_tasks, with_context
    from openpfn.data.dump_reader import PriorDumpDataLoader
    from openpfn.training import train

    folder = config.out / job.name
    tasks, longest = held_out_tasks(config), TaskSource(config).longest
    model = train(
        PriorDumpDataLoader(config.out / TASKS, None, config.batch_size, seed=job.seed),
        replace(config.network, attention_type=job.mechanism),
        replace(config.training(job.seed), checkpoint_dir=str(folder)),
        resume_from=folder if (folder / "latest.safetensors").exists() else None,
        eval_data_generator=[with_context(batch, longest) for batch in tasks],
        callbacks=[
            lambda event: (
                tell(0.98 * event.step / config.num_steps)
                if event.kind == "step" and event.step % 10 == 0
                else None
            )
        ],
    )
    device = next(model.parameters()).device
    peak = peak_megabytes(device)
    with torch.no_grad():
        scores = by_length(
            config, tasks, lambda batch: model.predictive(batch.to(device)).probs.cpu().numpy()
        )
        write_table(folder / LENGTHS, scores)
    facts = {
        "peak_mb": round(peak, 1),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "seconds": round(float(model.history["seconds"].iloc[-1]), 2),
        "nan_losses": int(model.history["nan_losses"].iloc[-1]),
    }
    write_whole(folder / RUN, json.dumps(facts) + "\n")


def score_logistic(config: AttentionConfig, job: Job, tell: Callable[[float], None]) -> None:
    """Score logistic regression, fitted to each held-out task's context."""
    from openpfn.benchmark.attention.tasks import held_out_tasks
    from openpfn.benchmark.tables import methods

    method = methods.method(LOGISTIC)
    tasks = held_out_tasks(config)
    n_done, n_all = 0, len(tasks) * len(config.lengths)

    def probabilities(batch: Any) -> np.ndarray:
        nonlocal n_done
        out = np.zeros((batch.n_tasks, batch.n_rows - batch.n_train, config.network.max_classes))
        for i in range(batch.n_tasks):
            x = pd.DataFrame(batch.x[i, :, : int(batch.n_features[i])].double().numpy()).add_prefix(
                "x"
            )
            flags = batch.categorical[i].tolist()
            kinds: dict[Hashable, Kind] = {
                c: "categorical" if flag else "numeric"
                for c, flag in zip(x.columns, flags, strict=False)
            }
            reader = method.build("classification", kinds, 0, "cpu").fit(
                x.iloc[: batch.n_train], batch.y_context[i].int().numpy()
            )
            out[i][:, reader.classes_] = reader.predict_proba(
                x.iloc[batch.n_train :].reset_index(drop=True)
            )
        n_done += 1
        tell(0.98 * n_done / n_all)
        return out

    write_table(config.out / job.name / LENGTHS, by_length(config, tasks, probabilities))


def time_mechanisms(config: AttentionConfig, job: Job, tell: Callable[[float], None]) -> None:
    """Time a training step, and fitting and reading at each number of context rows."""
    from openpfn.benchmark.attention import timing
    from openpfn.data.dump_reader import PriorDumpDataLoader

    folder = config.out / job.name
    n_batches = min(1 + timing.ROUNDS * timing.STEPS_PER_ROUND, max(2, config.num_steps))
    batches = list(PriorDumpDataLoader(config.out / TASKS, n_batches, config.batch_size))
    steps = _told(
        timing.step_seconds(config, batches),
        timing.ROUNDS * len(config.mechanisms),
        tell,
        0.2,
    )
    write_table(
        folder / STEPS, [{"mechanism": name, "seconds": seconds} for name, seconds in steps]
    )
    n_rows = timing.ROUNDS * len(config.mechanisms) * len(config.inference_rows)
    write_table(folder / INFERENCE, list(_told(timing.inference_costs(config), n_rows, tell, 0.98)))


def _told(
    items: Iterable[Any], n: int, tell: Callable[[float], None], last: float
) -> Iterator[Any]:
    for i, item in enumerate(items):
        tell(last * (i + 1) / n)
        yield item


def by_length(
    config: AttentionConfig, tasks: Iterable[Any], probabilities: Callable[[Any], np.ndarray]
) -> list[dict[str, float]]:
    """`log_loss` and `auc` of each held-out task at each context length; `probabilities` gives
    those of a batch's query rows."""
    import torch

    from openpfn.benchmark.attention.tasks import TaskSource, with_context
    from openpfn.benchmark.metrics import LEAST_PROBABILITY
    from openpfn.training.evaluation import areas_under_roc

    rows = []
    longest = TaskSource(config).longest
    for length in sorted(config.lengths):
        first = 0
        for batch in tasks:
            shown = with_context(batch, length * longest)
            p = torch.from_numpy(np.asarray(probabilities(shown), dtype=np.float64))  # (B, Q, K)
            of_truth = p.gather(-1, shown.y_query.long().unsqueeze(-1)).squeeze(-1)
            losses = -of_truth.clamp(min=LEAST_PROBABILITY).log().mean(dim=1).numpy()
            areas = areas_under_roc(p.float(), shown.y_query).numpy()
            for i in range(batch.n_tasks):
                scores = {"log_loss": float(losses[i]), "auc": float(areas[i])}
                rows.append(
                    {"length": length, "n_context": shown.n_train, "task": first + i} | scores
                )
            first += batch.n_tasks
    return rows


def write_table(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write `rows` as CSV, whole or not at all."""
    write_whole(path, pd.DataFrame(list(rows)).to_csv(index=False))
