"""One way to pick the device to compute on."""

from __future__ import annotations

import torch


def pick_device(name: str) -> torch.device:
    """Return the torch device called `name`; "auto" is cuda, then mps, then cpu.

    Raises ValueError for one that is not there.
    """
    if name == "auto":
        name = (
            "cuda"
            if torch.cuda.is_available()
            else "mps"
            if torch.backends.mps.is_available()
            else "cpu"
        )
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
    try:
        torch.empty(0, device=device)
    except Exception as error:  # torch raises errors of many types for what it cannot use
        raise ValueError(
            f"device is {name!r}, but torch {torch.__version__} cannot use it here. Choose"
            " device='auto' or 'cpu'."
        ) from error
    if device.type == "meta":
        raise ValueError("device is 'meta', which computes nothing. Choose device='auto' or 'cpu'.")
    return (
        torch.device("cuda", torch.cuda.current_device())
        if device.type == "cuda" and device.index is None
        else device
    )


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
    """The kind of device to compute on: "cuda", "mps" or "cpu", by what there is."""
    return pick_device("auto").type
