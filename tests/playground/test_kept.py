"""The C of networks that keep their context answers as the network does."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from openpfn.batch import TaskBatch
from openpfn.configs.presets import preset
from openpfn.configs.tabular import TabularConfig
from openpfn.export.network.mechanisms import runtime
from openpfn.models import PFN
from openpfn.playground.kept_weights import kept_weights
from openpfn.playground.modules import own

N_CONTEXT, N_QUERIES, N_COLUMNS = 12, 5, 4
CONFIG = TabularConfig(
    d_model=16,
    n_heads=2,
    n_layers=2,
    d_mlp=12,
    max_classes=3,
    regression_head="quantiles",
    regression_head_options={"n_levels": 9},
    attention_type="softmax",
    separate_query_weights=True,
    norm="rms",
    n_thinking_rows=3,
    scalar_embedding="knots",
    n_knots=8,
    use_ranks=True,
    missing_flags=True,
    categorical_flags=True,
    target_aware=True,
    column_shifts=(0, 1, 3),
)


def random_model(numbers: bool) -> torch.nn.Module:
    torch.manual_seed(int(numbers))
    model = PFN(CONFIG).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            scale = 1 if parameter.dim() == 1 else parameter.shape[-1] ** -0.5
            parameter.copy_(torch.randn_like(parameter) * scale)
    return model


def table(numbers: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows with gaps, ties, a category and a constant; which columns are categories; targets."""
    drawn = np.random.default_rng(2)
    x = drawn.normal(size=(N_CONTEXT + N_QUERIES, N_COLUMNS)).astype(np.float32)
    x[:, 1] = drawn.integers(3, size=len(x))
    x[:, 2] = np.round(x[:, 2])
    x[::4, 0] = np.nan
    x[-1, 3] = 1e6
    y = drawn.normal(size=N_CONTEXT) if numbers else drawn.integers(3, size=N_CONTEXT)
    if numbers:
        y = (y - y.mean()) / y.std(ddof=1)
    return x, np.array([0, 1, 0, 0], dtype=np.float32), y.astype(np.float32)


def compiled(model: torch.nn.Module, numbers: bool, folder: Path) -> ctypes.CDLL:
    """The C for this machine, each weight with a scale of its own: to the last bits exact."""
    files = {"kept.c": own("kept.c"), "numbers_float.c": runtime("numbers_float.c")}
    files["kept_weights.h"] = kept_weights(model, numbers, block=1)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    command = ["cc", "-std=c99", "-O1", "-Wno-attributes", "-shared", "-fPIC", "-I", "."]
    subprocess.run([*command, "-o", "kept.so", "kept.c", "-lm"], cwd=folder, check=True)
    library = ctypes.CDLL(str(folder / "kept.so"))
    library.prepare()
    return library


def address(array: np.ndarray) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)


@pytest.mark.parametrize("numbers", [False, True])
def test_kept_contexts_answer_as_the_network_does(numbers, tmp_path):
    model = random_model(numbers)
    library = compiled(model, numbers, tmp_path)
    x, categories, y = table(numbers)
    width = library.n_outputs()
    out = np.zeros((N_QUERIES, width), dtype=np.float32)
    memory = np.zeros(library.room(N_CONTEXT, N_COLUMNS), dtype=np.float32)
    library.fit(address(x), address(categories), address(y), N_CONTEXT, N_COLUMNS, address(memory))
    library.predict(address(x[N_CONTEXT:].copy()), N_QUERIES, address(out))

    batch = TaskBatch(
        x=torch.from_numpy(x)[None],
        y=torch.cat([torch.from_numpy(y), torch.zeros(N_QUERIES)])[None],
        n_train=N_CONTEXT,
        n_classes=None if numbers else torch.tensor([3]),
        categorical=torch.tensor(categories[None] > 0),
    )
    with torch.no_grad():
        wanted = model(batch)[0].numpy()
    assert np.abs(out - wanted).max() < 2e-4 * np.abs(wanted).max()


def test_a_network_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="attention_type is 'linear'"):
        kept_weights(PFN(preset("micro")), numbers=False)
