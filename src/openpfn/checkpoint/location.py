"""`locate`: the file that a name, a path or a run's folder leads to."""

from __future__ import annotations

from pathlib import Path

SHIPPED = Path(__file__).parents[1] / "weights"


def locate(source: str | Path) -> Path:
    """Return the file that `source` stands for: a shipped checkpoint, itself, or
    `latest.safetensors` in a run's folder.

    Shipped are the checkpoints of today and, in the folder `earlier`, those that they took the
    place of, such as "nano-1". The name of one, given as text, never means a file or folder that
    happens to be called so: give that as "./nano" or as a `Path`.
    """
    shipped = SHIPPED / f"{source}.safetensors"
    if not shipped.is_file():
        shipped = SHIPPED / "earlier" / f"{source}.safetensors"
    is_name = Path(source).name == str(source) and shipped.is_file()
    if is_name and isinstance(source, str):
        return shipped
    path = Path(source)
    if path.is_dir():
        path = path / "latest.safetensors"
    if path.is_file():
        return path
    if is_name:
        return shipped
    names = ", ".join(todays_names()) or "none"
    runs = sorted(
        Path(source).glob("*/latest.safetensors"),
        key=lambda file: file.stat().st_mtime,
        reverse=True,
    )
    if runs:
        listed = ", ".join(str(file.parent) for file in runs[:8])
        raise FileNotFoundError(
            f"{source} holds a folder for each of {len(runs)} runs. Give the folder of one, newest"
            f" first: {listed}."
        )
    raise FileNotFoundError(
        f"no checkpoint at {path}. Give a file, a run's folder, or a shipped name ({names})."
    )


def todays_names() -> list[str]:
    """Return the names of all checkpoints inside the package but earlier ones."""
    return sorted(path.stem for path in SHIPPED.glob("*.safetensors"))


def earlier_names() -> list[str]:
    """Return the names of the checkpoints that others took the place of since: what was saved with
    them still loads."""
    return sorted(path.stem for path in (SHIPPED / "earlier").glob("*.safetensors"))


def previous_of(path: Path) -> Path:
    """Return where the predecessor of the checkpoint `path` is kept."""
    return path.with_suffix(".previous.safetensors")


def shipped_name(path: Path) -> str | None:
    """Return the name of the shipped checkpoint whose file `path` is; None for another file."""
    path = path.resolve()
    shipped = SHIPPED.resolve()
    return path.stem if path.parent in (shipped, shipped / "earlier") else None
