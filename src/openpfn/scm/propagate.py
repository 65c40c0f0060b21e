"""`propagate`: causes pushed through random layers, and some nodes on the way read as columns and
targets."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor

from openpfn.scm.causes import draw_causes
from openpfn.scm.graphs import Reader, draw_graphs
from openpfn.scm.noise import Noise
from openpfn.scm.tasks import Nodes, Shape


@runtime_checkable
class Layers(Protocol):
    """The random layers of a chunk of tasks."""

    def __init__(self, n_tasks: int, width: int, noise: Noise) -> None: ...

    def step(
        self, previous: Float[Tensor, "B P N"], n_live: Int[Tensor, " B"]
    ) -> Float[Tensor, "B W N"]:
        """The next layer's nodes, of which the first `n_live` of each task's previous ones are the
        input."""
        ...


def propagate(
    layers: type[Layers],
    depths: tuple[int, int],
    widths: tuple[int, int],
    direct_share: float,
    shape: Shape,
    n_features: Int[Tensor, " B"],
    n_classes: Int[Tensor, " B"],
    noise: Noise,
) -> Nodes:
    """The nodes of one random graph per task, made of `layers`; arguments as `draw_graphs` takes
    them."""
    graphs = draw_graphs(depths, widths, direct_share, shape.most, n_features, noise)
    causes = draw_causes(graphs.most_causes, shape.n_rows, n_classes, noise)
    reader = Reader(graphs, shape.most, shape.n_rows, noise)
    reader.read(causes.values)
    drawn = layers(len(n_features), graphs.most_width, noise)
    previous, n_live = causes.values, graphs.n_causes
    for n_left in graphs.left:
        previous, n_live = drawn.step(previous[:n_left], n_live[:n_left]), graphs.width
        reader.read(previous)
    return Nodes(
        reader.readings,
        shape.most,
        causes.clusters,
        causes.n_clusters,
        graphs.width.float(),
        graphs.depth.float(),
    )
