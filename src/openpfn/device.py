"""One way to pick the device to compute on, and to tell how much memory was used there."""

from __future__ import annotations

import torch

from openpfn.memory import peak_memory_mb


def pick_device(name: str | torch.device) -> torch.device:
    """Return the torch device called `name`; "auto" is cuda, then mps, then cpu, by what there is.

    Raises ValueError for one that there is not.
    """
    name = str(name)
    if name == "auto":
        there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        name = next((kind for kind, is_there in there.items() if is_there), "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(
            f"device is {name!r}, which torch does not know. Choose 'auto', 'cpu', 'cuda' or 'mps'."
        ) from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"device is {name!r}, but torch {torch.__version__} finds no CUDA device. Choose"
            " device='auto' or 'cpu'."
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device is {name!r}, but there are {torch.cuda.device_count()} CUDA devices, counted"
            " from 0. Choose another number, or device='auto'."
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError(
            f"device is {name!r}, but torch {torch.__version__} finds no Apple GPU here. Choose"
            " device='auto' or 'cpu'."
        )
    if not _computes(device):
        raise ValueError(
            f"device is {name!r}, on which nothing can be computed here. Choose 'auto', 'cpu',"
            " 'cuda' or 'mps'."
        )
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return device


def _computes(device: torch.device) -> bool:
    """Return whether a device that torch knows is there; "meta" holds no numbers."""
    try:
        return device.type == "cpu" or torch.ones(1, device=device).item() == 1
    except (RuntimeError, AssertionError, ImportError):
        return False


def multiplies_bfloat16(device: torch.device) -> bool:
    """Return whether `device` multiplies bfloat16 matrices faster than float32 ones.

    CUDA devices do from compute capability 8 on, CPUs with AVX-512 BF16 or AMX instructions.
    Elsewhere bfloat16 is emulated, which takes several times as long as float32.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    if device.type != "cpu":
        return False
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def get_default_device() -> str:
    """Return the kind of device to compute on: "cuda", "mps" or "cpu", by what there is."""
    return pick_device("auto").type


def peak_megabytes(device: torch.device) -> float:
    """Return the most memory used so far, in MB: on a CUDA device by torch, else by this process;
    NaN where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return peak_memory_mb()
