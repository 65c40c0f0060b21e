"""Measurements of our own code, and of the machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from openpfn.benchmark.speed.timers import (
    HeldOutLoss,
    Measurement,
    Milliseconds,
    Paths,
    PerCpuSecond,
    Rate,
    Timed,
)
from openpfn.configs import PriorConfig, TabularConfig, preset
from openpfn.configs.published import PublishedConfig

STEP_SHAPE = (32, 150, 5)
"""Tasks, rows and columns of nanoTabPFN's and TinyPFN's training batches."""
STEP_CONTEXT = 100
TABLE_SHAPES = ((100, 50, 5), (1000, 200, 20), (5000, 500, 20))
"""Context rows, query rows and columns of the tables to fit and predict."""
PRIOR_SHAPES = {
    "150 rows × 5 columns, ≤ 3 classes": PriorConfig(
        min_features=5, max_features=5, max_seq_len=150, max_classes=3
    ),
    "1024 rows × ≤ 20 columns, ≤ 10 classes": PriorConfig(
        min_features=2, max_features=20, max_seq_len=1024, max_classes=10
    ),
}
PRIOR_BATCH = 64
"""Tasks that are drawn at once, as the recipes do."""
QUALITY_STEPS = 300
"""Steps after which losses are compared."""
QUALITY_PRIOR = PriorConfig(
    min_features=5, max_features=5, max_seq_len=150, max_classes=2, missing_share=0.0
)
NANO = PublishedConfig(
    d_model=96, n_heads=4, n_layers=3, d_mlp=192, max_classes=2, attention_type="softmax"
)
"""nanoTabPFN's published network."""
TINY = PublishedConfig(
    d_model=16, n_heads=1, n_layers=4, d_mlp=32, max_classes=3, attention_type="linear"
)
"""TinyPFN's published network of 14,083 parameters."""
TABLE = TabularConfig(
    d_model=96,
    n_heads=4,
    n_layers=3,
    d_mlp=192,
    max_classes=2,
    scalar_embedding="linear",
    missing_flags=False,
    target_aware=False,
    separate_query_weights=False,
)
"""Our table network of nanoTabPFN's size, without the parts that nanoTabPFN has not."""

RECIPE_PRIOR = PriorConfig(
    min_features=2,
    max_features=40,
    min_seq_len=30,
    max_seq_len=400,
    min_context_share=0.15,
    max_context_share=0.85,
    regression_share=0.5,
)
RECIPE_NETWORK = replace(
    preset("nano"), n_thinking_rows=8, column_shifts=(0, 1, 3), regression_head="quantiles"
)
"""Tasks and network of recipes/nano.toml."""
RECIPE_BATCHES = 12
"""Batches that a repeat trains on."""

Operation = Callable[[], Any]


def step_shape(size: str) -> str:
    return f"{size}, batch {'×'.join(map(str, STEP_SHAPE))}"


NANO_STEP = step_shape("E96 H4 MLP192 L3")
TINY_STEP = step_shape("E16 H1 MLP32 L4")


QUALITY_SHAPE = f"{NANO_STEP}, {QUALITY_STEPS} steps"


def table_shape(n_context: int, n_query: int, n_columns: int) -> str:
    return f"{n_context} + {n_query} rows × {n_columns} columns"


def matrix_product(precision: str, matmul_precision: str, paths: Paths) -> Timed:
    """GFLOP/s of a product of square matrices: the ceiling of what follows."""
    import torch

    torch.set_float32_matmul_precision(matmul_precision)
    n = 1024
    a, b, c = (torch.randn(n, n, dtype=getattr(torch, precision)) for _ in range(3))
    return Rate(lambda: torch.mm(a, b, out=c), 2 * n**3 / 1e9)


def drawing(name: str, config: PriorConfig, paths: Paths) -> Timed:
    """Tasks per processor second of one of our priors."""
    import torch

    from openpfn import registry
    from openpfn.priors.base import TaskPrior

    prior = registry.find("priors", name, TaskPrior)(config)
    generator = torch.Generator().manual_seed(0)
    return PerCpuSecond(lambda: prior.sample(PRIOR_BATCH, generator).n_tasks)


def training_step(config: Any, precision: str, paths: Paths) -> Timed:
    """Forward, backward, clipping and schedule-free AdamW, as `train` does them."""
    return Milliseconds(
        stepper(config, precision, lambda: random_tasks(config.max_classes)), count_flops=True
    )


def stepper(
    config: Any, precision: str, next_batch: Operation, training_config: Any = None
) -> Operation:
    """A function that trains a new network of `config` on one more batch."""
    import torch

    from openpfn.configs import TrainingConfig
    from openpfn.models import PFN
    from openpfn.training.optimizers import Optimizers
    from openpfn.training.process import keep_freed_memory

    keep_freed_memory()
    model = PFN(config).train()
    usual = TrainingConfig(optimizer="schedulefree", learning_rate=4e-3, weight_decay=0.0)
    optimizers = Optimizers(model, training_config or usual)

    def step() -> float:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            loss = model.loss(next_batch())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(optimizers.parameters, 1.0)
        optimizers.step(1.0)
        optimizers.zero_grad()
        return loss.item()

    return step


def recipe_steps(batch_size: int, precision: str, paths: Paths) -> Timed:
    """Time per task of the steps that train `nano`, on tasks of its own recipe, which are drawn
    before."""
    from openpfn.configs import TrainingConfig

    batches = [recipe_batch(batch_size, seed) for seed in range(RECIPE_BATCHES)]
    tasks = iter(())

    def next_batch() -> Any:
        nonlocal tasks
        if (batch := next(tasks, None)) is None:
            tasks = iter(batches)
            batch = next(tasks)
        return batch

    step = stepper(RECIPE_NETWORK, precision, next_batch, TrainingConfig(optimizer="muon"))

    def all_batches() -> None:
        for _ in batches:
            step()

    return Milliseconds(all_batches, n_per_call=RECIPE_BATCHES * batch_size, count_flops=True)


def recipe_batch(batch_size: int, seed: int) -> Any:
    """A batch of `RECIPE_PRIOR`, whose kind and numbers of rows hang on `seed` alone:
    batches of other sizes are as long."""
    import torch

    from openpfn import registry
    from openpfn.priors.base import TaskPrior

    prior = registry.find("priors", "mixture", TaskPrior)(RECIPE_PRIOR)
    return prior.sample(batch_size, torch.Generator().manual_seed(seed))


def random_tasks(n_classes: int) -> Any:
    """A batch in nanoTabPFN's shape whose labels depend on the columns."""
    import torch

    from openpfn.batch import TaskBatch

    x = torch.randn(STEP_SHAPE)
    score = x[..., 0] * x[..., 1] + x[..., 2]
    return TaskBatch(
        x=x, y=(score > 0).float() + (score > 1).float() * (n_classes > 2), n_train=STEP_CONTEXT
    )


def training(config: Any, precision: Literal["float32", "bfloat16"], paths: Paths) -> Timed:
    """Held-out loss after `QUALITY_STEPS` steps of `train`."""

    def loss_after(seed: int) -> float:
        import torch

        from openpfn.configs import TrainingConfig
        from openpfn.training import train

        training_config = TrainingConfig(
            num_steps=QUALITY_STEPS,
            batch_size=STEP_SHAPE[0],
            optimizer="schedulefree",
            learning_rate=4e-3,
            weight_decay=0.0,
            precision=precision,
            seed=seed,
            save_checkpoint=False,
            eval_every=None,
            log_every=QUALITY_STEPS,
        )
        trained = train(quality_tasks(seed), config, training_config)
        with torch.no_grad():
            return mean_loss(trained.loss)

    return HeldOutLoss(loss_after)


def quality_tasks(seed: int, start: int = 0) -> Any:
    """Tasks that ours and the peer train on alike, drawn in this process."""
    from openpfn import registry
    from openpfn.data.stream import TaskStream
    from openpfn.priors.base import TaskPrior

    return TaskStream(
        registry.find("priors", "mixture", TaskPrior)(QUALITY_PRIOR),
        STEP_SHAPE[0],
        seed=seed,
        n_workers=0,
        start=start,
    )


def mean_loss(loss: Callable[[Any], Any]) -> float:
    """Mean over 1,024 tasks that no training sees."""
    from openpfn.training.evaluation import EVALUATION_START

    n_batches = 32
    tasks = quality_tasks(seed=0, start=EVALUATION_START)
    return sum(float(loss(next(tasks))) for _ in range(n_batches)) / n_batches


class WaitingShare:
    """Percent of wall time that training waits for the tasks that one worker process draws."""

    def __init__(self, model_config: Any, precision: str, prior_config: PriorConfig) -> None:
        from openpfn import registry
        from openpfn.data.stream import PREFETCH, TaskStream
        from openpfn.priors.base import TaskPrior

        prior = registry.find("priors", "mixture", TaskPrior)(prior_config)
        self.stream = TaskStream(prior, STEP_SHAPE[0], seed=0, n_workers=1)
        self.tasks = iter(self.stream)
        self.step = stepper(model_config, precision, lambda: next(self.tasks))
        self.n_drawn_ahead = PREFETCH + 2
        self.steps_per_second = 0.0

    def value(self, seconds: float) -> float:
        for _ in range(self.n_drawn_ahead):  # what was drawn while nobody trained does not count
            self.step()
        n_steps, began, waited = 0, time.perf_counter(), self.stream.wait_seconds
        while n_steps < 3 or time.perf_counter() - began < 5 * seconds:
            self.step()
            n_steps += 1
        elapsed = time.perf_counter() - began
        self.steps_per_second = n_steps / elapsed
        return 100 * (self.stream.wait_seconds - waited) / elapsed

    def facts(self) -> dict[str, Any]:
        return {"steps_per_second": round(self.steps_per_second, 2)}


def waiting(model_config: Any, precision: str, prior_config: PriorConfig, paths: Paths) -> Timed:
    return WaitingShare(model_config, precision, prior_config)


def classifier(config: Any) -> Any:
    """Our classifier with a network of random weights: what it answers does not change how long it
    takes."""
    from openpfn.estimators.classifier import PFNClassifier
    from openpfn.models import PFN

    model = PFN(config).eval()
    # the whole table, as peers read it
    whole = {"rows_per_member": None, "columns_per_member": None}
    return PFNClassifier(model=model, n_estimators=1, device="cpu", **whole)


def random_table(n_context: int, n_query: int, n_columns: int) -> tuple[Any, Any, Any]:
    """Context rows, their labels, and query rows."""
    import numpy as np

    random = np.random.default_rng(0)
    x = random.normal(size=(n_context + n_query, n_columns)).astype(np.float32)
    return x[:n_context], random.integers(0, 2, n_context), x[n_context:]


def fitting(config: Any, shape: tuple[int, int, int], paths: Paths) -> Timed:
    x, y, _ = random_table(*shape)
    model = classifier(config)
    return Milliseconds(lambda: model.fit(x, y))


def predicting(config: Any, shape: tuple[int, int, int], paths: Paths) -> Timed:
    x, y, queries = random_table(*shape)
    model = classifier(config).fit(x, y)
    return Milliseconds(lambda: model.predict_proba(queries))


def fitting_and_predicting(config: Any, shape: tuple[int, int, int], paths: Paths) -> Timed:
    x, y, queries = random_table(*shape)
    model = classifier(config)
    return Milliseconds(lambda: model.fit(x, y).predict_proba(queries))


def measurements() -> list[Measurement]:
    """The rows of ours."""
    return [*_products(), *_priors(), *_steps(), *_streams(), *_tables(), *_qualities()]


def _products() -> list[Measurement]:
    kinds = {
        "float32": ("float32", "highest"),
        "float32 medium": ("float32", "medium"),
        "bfloat16": ("bfloat16", "highest"),
    }
    return [
        Measurement(
            f"gemm-{name.replace(' ', '-')}",
            "gemm",
            name,
            "1024 × 1024 × 1024",
            "GFLOP/s",
            partial(matrix_product, *kind),
            higher_is_better=True,
            precision="bfloat16" if name == "bfloat16" else name,
        )
        for name, kind in kinds.items()
    ]


def _priors() -> list[Measurement]:
    rows = []
    for shape, config in PRIOR_SHAPES.items():
        size = shape.split()[0]
        kinds = {
            "mixture": ("mixture", config),
            "mixture unfiltered": ("mixture", replace(config, learnable=False)),
        }
        rows += [
            Measurement(
                f"prior-{name.replace(' ', '-')}-{size}",
                "prior",
                f"openpfn {name}",
                shape,
                "tasks/CPU-s",
                partial(drawing, *kind),
                higher_is_better=True,
                baseline=f"prior-tabicl-mix-{size}",
                one_thread=True,
            )
            for name, kind in kinds.items()
        ]
    return rows


def _steps() -> list[Measurement]:
    kinds = {
        "nano-table": ("openpfn table network", TABLE, NANO_STEP, "step-nanotabpfn"),
        "nano-published": ("openpfn, nanoTabPFN's network", NANO, NANO_STEP, "step-nanotabpfn"),
        "tiny-published": ("openpfn, TinyPFN's network", TINY, TINY_STEP, "step-tinypfn"),
    }
    return [
        Measurement(
            f"step-{name}-{precision}",
            "step",
            f"{subject}, {precision}",
            shape,
            "ms",
            partial(training_step, config, precision),
            baseline=baseline,
            precision=precision,
        )
        for name, (subject, config, shape, baseline) in kinds.items()
        for precision in ("float32", "bfloat16")
    ] + [
        Measurement(
            f"step-recipe-{batch_size}-{precision}",
            "step",
            f"batches of {batch_size}, {precision}",
            "a task of nano's recipe",
            "ms",
            partial(recipe_steps, batch_size, precision),
            baseline="step-recipe-16-bfloat16",
            precision=precision,
        )
        for batch_size in (4, 16)
        for precision in ("float32", "bfloat16")
    ]


def _streams() -> list[Measurement]:
    shape, config = next(iter(PRIOR_SHAPES.items()))
    kinds = {"nano-shape": TABLE, "nano": preset("nano")}
    return [
        Measurement(
            f"stream-{name}",
            "stream",
            f"openpfn {name}, bfloat16",
            f"batches of 32 × {shape}",
            "% waiting",
            partial(waiting, replace(network, max_classes=10), "bfloat16", config),
            precision="bfloat16",
        )
        for name, network in kinds.items()
    ]


def _tables() -> list[Measurement]:
    networks = {
        "nano": ("openpfn nano", preset("nano"), None),
        "nano-published": ("openpfn, nanoTabPFN's network", NANO, "nanotabpfn"),
    }
    networks["tiny-published"] = ("openpfn, TinyPFN's network", TINY, "tinypfn")
    operations = {"fit": fitting, "predict": predicting, "fit_predict": fitting_and_predicting}
    return [
        Measurement(
            f"{group}-{name}-{shape[0]}x{shape[2]}",
            group,
            subject,
            table_shape(*shape),
            "ms",
            partial(operation, config, shape),
            baseline=None
            if peer is None or group == "fit"
            else f"{group}-{peer}-{shape[0]}x{shape[2]}",
        )
        for group, operation in operations.items()
        for shape in TABLE_SHAPES
        for name, (subject, config, peer) in networks.items()
    ]


def _qualities() -> list[Measurement]:
    kinds: tuple[tuple[str, Any, Literal["float32", "bfloat16"]], ...] = (
        ("table", TABLE, "bfloat16"),
        ("published", NANO, "float32"),
        ("published", NANO, "bfloat16"),
    )
    subjects = {"table": "openpfn table network", "published": "openpfn, nanoTabPFN's network"}
    return [
        Measurement(
            f"quality-{name}-{precision}",
            "quality",
            f"{subjects[name]}, {precision}",
            QUALITY_SHAPE,
            "nats",
            partial(training, config, precision),
            precision=precision,
        )
        for name, config, precision in kinds
    ]
