"""Measurements of the peers: their own code, from their package or from
a checkout."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

from openpfn.benchmark.speed.ours import (
    NANO_STEP,
    PRIOR_SHAPES,
    QUALITY_SHAPE,
    QUALITY_STEPS,
    STEP_CONTEXT,
    TABLE_SHAPES,
    TINY_STEP,
    mean_loss,
    quality_tasks,
    random_table,
    random_tasks,
    table_shape,
)
from openpfn.benchmark.speed.timers import (
    HeldOutLoss,
    Measurement,
    Milliseconds,
    Paths,
    PerCpuSecond,
    Timed,
)
from openpfn.configs.prior import PriorConfig

NETWORKS: dict[str, tuple[str, dict[str, int]]] = {
    "nanotabpfn": (
        "NanoTabPFN",
        {
            "embedding_size": 96,
            "num_attention_heads": 4,
            "mlp_hidden_size": 192,
            "num_layers": 3,
            "num_outputs": 2,
        },
    ),
    "tinypfn": (
        "TinyPFN",
        {
            "embedding_size": 16,
            "num_attention_heads": 1,
            "mlp_hidden_size": 32,
            "num_layers": 4,
            "num_outputs": 3,
        },
    ),
}
"""Names and sizes in their training scripts."""
TITLES = {"nanotabpfn": "nanoTabPFN", "tinypfn": "TinyPFN"}


def drawing(prior_type: str, config: PriorConfig, paths: Paths) -> Timed:
    """Tasks per processor second of a prior of the package tabicl."""
    from tabicl.prior import PriorDataset  # pyright: ignore[reportMissingImports]

    tasks = PriorDataset(
        batch_size=8,
        batch_size_per_gp=4,
        min_features=config.min_features,
        max_features=config.max_features,
        max_classes=config.max_classes,
        max_seq_len=config.max_seq_len,
        prior_type=prior_type,
        n_jobs=1,
    )
    return PerCpuSecond(lambda: len(tasks.get_batch()[0]))


def network(peer: str, paths: Paths) -> Any:
    """The peer's network, built by its own code."""
    if paths[peer] not in sys.path:
        sys.path.insert(0, paths[peer])
    import model  # pyright: ignore[reportMissingImports]

    name, sizes = NETWORKS[peer]
    return getattr(model, f"{name}Model")(**sizes)


def training_step(peer: str, paths: Paths) -> Timed:
    """A step of the peer's own `train`, on batches as its loader gives them."""
    import torch

    trained = network(peer, paths)
    import train  # pyright: ignore[reportMissingImports]

    n_steps = 2

    def batches() -> Any:
        for _ in range(n_steps):
            tasks = random_tasks(NETWORKS[peer][1]["num_outputs"])
            yield {"x": tasks.x, "y": tasks.y, "train_test_split_index": STEP_CONTEXT}

    def steps() -> None:
        train.train(trained, batches(), lr=4e-3, device=torch.device("cpu"), steps_per_eval=10**9)

    return Milliseconds(steps, n_per_call=n_steps)


def training(paths: Paths) -> Timed:
    """Held-out loss after `QUALITY_STEPS` steps of nanoTabPFN's own `train`, on the tasks that ours
    sees."""

    def loss_after(seed: int) -> float:
        import torch

        torch.manual_seed(seed)
        trained = network("nanotabpfn", paths)
        import train  # pyright: ignore[reportMissingImports]

        def batches() -> Any:
            for _, tasks in zip(range(QUALITY_STEPS), quality_tasks(seed), strict=False):
                yield {"x": tasks.x, "y": tasks.y, "train_test_split_index": tasks.n_train}

        def loss(tasks: Any) -> Any:
            logits = trained((tasks.x, tasks.y_context), train_test_split_index=tasks.n_train)
            return torch.nn.functional.cross_entropy(
                logits.flatten(0, 1), tasks.y_query.flatten().long()
            )

        def evaluate(
            classifier: Any,
        ) -> dict[str, float]:  # called with the weights to use, those that are averaged
            with torch.no_grad():
                return {"loss": mean_loss(loss)}

        _, history = train.train(
            trained,
            batches(),
            lr=4e-3,
            device=torch.device("cpu"),
            steps_per_eval=QUALITY_STEPS,
            eval_func=evaluate,
        )
        return history[-1][1]["loss"]

    return HeldOutLoss(loss_after)


def classifier(peer: str, paths: Paths) -> Any:
    import torch

    built = network(peer, paths).eval()
    import model  # pyright: ignore[reportMissingImports]

    return getattr(model, f"{NETWORKS[peer][0]}Classifier")(built, torch.device("cpu"))


def predicting(peer: str, shape: tuple[int, int, int], paths: Paths) -> Timed:
    x, y, queries = random_table(*shape)
    theirs = classifier(peer, paths)
    theirs.fit(x, y)
    return Milliseconds(lambda: theirs.predict_proba(queries))


def fitting_and_predicting(peer: str, shape: tuple[int, int, int], paths: Paths) -> Timed:
    x, y, queries = random_table(*shape)
    theirs = classifier(peer, paths)

    def operation() -> None:
        theirs.fit(x, y)
        theirs.predict_proba(queries)

    return Milliseconds(operation)


def measurements() -> list[Measurement]:
    """The rows of the peers."""
    rows = [
        Measurement(
            f"prior-tabicl-{name}-{shape.split()[0]}",
            "prior",
            f"tabicl {name}_scm",
            shape,
            "tasks/CPU-s",
            partial(drawing, f"{name}_scm", config),
            higher_is_better=True,
            needs="tabicl",
            one_thread=True,
        )
        for shape, config in PRIOR_SHAPES.items()
        for name in ("mix", "graph")
    ]
    rows += [
        Measurement(
            f"step-{peer}",
            "step",
            f"{TITLES[peer]}, its own loop",
            shape,
            "ms",
            partial(training_step, peer),
            needs=peer,
        )
        for peer, shape in (("nanotabpfn", NANO_STEP), ("tinypfn", TINY_STEP))
    ]
    rows.append(
        Measurement(
            "quality-nanotabpfn",
            "quality",
            "nanoTabPFN, its own loop",
            QUALITY_SHAPE,
            "nats",
            training,
            needs="nanotabpfn",
        )
    )
    operations = {"predict": predicting, "fit_predict": fitting_and_predicting}
    rows += [
        Measurement(
            f"{group}-{peer}-{shape[0]}x{shape[2]}",
            group,
            TITLES[peer],
            table_shape(*shape),
            "ms",
            partial(operation, peer, shape),
            needs=peer,
        )
        for group, operation in operations.items()
        for shape in TABLE_SHAPES
        for peer in NETWORKS
    ]
    return rows
