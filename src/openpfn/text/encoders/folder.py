"""What a folder with a pretrained transformer must hold, and what reads it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Literal

Pooling = Literal["cls", "mean"]
Backend = Literal["auto", "torch", "onnx"]

EXTRA = 'pip install "openpfn[text]"'
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
TOKENS = ("tokenizer.json", "vocab.txt", "sentencepiece.bpe.model", "vocab.json")


def weights_file(folder: Path) -> Path | None:
    """Return the file of weights in `folder`; None where there is none."""
    return file_of(folder, WEIGHTS)


def require_transformers(name: str) -> None:
    """Raise ImportError, naming the extra, unless the package transformers is installed."""
    if find_spec("transformers") is None:
        raise ImportError(
            f"the text encoder {name} needs the package transformers: {EXTRA}. The encoder"
            " 'hashing' needs no further package."
        )


def file_of(folder: Path, names: tuple[str, ...]) -> Path | None:
    """Return the first file in `folder` that has one of the names; None where there is none."""
    return next((folder / name for name in names if (folder / name).is_file()), None)


def require_files(folder: Path) -> None:
    """Raise FileNotFoundError unless `folder` holds all that a transformer is made of."""
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder} with a text encoder.")
    wanted_files = {"config.json": ("config.json",), "weights": WEIGHTS, "tokens": TOKENS}
    for what, names in wanted_files.items():
        if file_of(folder, names) is None:
            wanted = "" if len(names) == 1 else f" (one of {', '.join(names)})"
            raise FileNotFoundError(
                f"{folder} holds no {what}{wanted}. Give a folder as save_pretrained of the package"
                " transformers writes it."
            )
