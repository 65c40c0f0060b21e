"""Where weights come from: versions, revision, device and data, as checkpoints record them."""

from __future__ import annotations

import platform
import subprocess
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import torch

import openpfn


def describe_environment(device: torch.device) -> dict[str, Any]:
    """Return versions, revision, device and the present time."""
    return {
        "openpfn": openpfn.__version__,
        "revision": git_revision(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def describe_data(prior: Any) -> dict[str, Any]:
    """Return the class of a source of tasks, and its configuration if it has one."""
    config = getattr(prior, "config", None)
    kind = {"prior": f"{type(prior).__module__}:{type(prior).__qualname__}"}
    return (
        kind | {"config": asdict(config)}
        if is_dataclass(config) and not isinstance(config, type)
        else kind
    )


@cache
def git_revision() -> str | None:
    """Return the commit of this package's source if git tracks it, with a + if it was changed
    since."""
    folder = str(Path(openpfn.__file__).parent)

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", folder, *arguments],
                capture_output=True,
                text=True,
                timeout=10,
                check=False,
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    if (
        git("ls-files", "--error-unmatch", "__init__.py") is None
    ):  # installed inside somebody else's repository
        return None
    revision = git("rev-parse", "HEAD")
    return revision and revision + (
        "+" if git("status", "--porcelain", "--untracked-files=no", "--", ".") else ""
    )
