"""The shipped checkpoints, by name: `<name>.safetensors` in this folder, with its model card
`<name>.md` beside it; in `earlier/`, those that they took the place of."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent


def shipped() -> dict[str, Path]:
    """The path of every shipped checkpoint, by name."""
    return {path.stem: path for path in sorted(_FOLDER.glob("*.safetensors"))}


def model_card(name: str) -> str:
    """The model card of the shipped checkpoint `name`, in Markdown. Raises ValueError for an
    unknown name, listing the choices."""
    known = shipped() | {path.stem: path for path in (_FOLDER / "earlier").glob("*.safetensors")}
    if name not in known:
        raise ValueError(f"unknown shipped checkpoint {name!r}. Choose one of {', '.join(known)}.")
    return known[name].with_suffix(".md").read_text(encoding="utf-8")
