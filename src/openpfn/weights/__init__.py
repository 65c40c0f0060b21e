"""The shipped checkpoints, by name: `<name>.safetensors` in this folder, with its model card
`<name>.md` beside it."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent


def shipped() -> dict[str, Path]:
    """The path of every shipped checkpoint, by name."""
    return {path.stem: path for path in sorted(_FOLDER.glob("*.safetensors"))}


def model_card(name: str) -> str:
    """The model card of the shipped checkpoint `name`, in Markdown. Raises ValueError for an
    unknown name, listing the choices."""
    if name not in shipped():
        raise ValueError(
            f"unknown shipped checkpoint {name!r}. Choose one of {', '.join(shipped())}."
        )
    return (_FOLDER / f"{name}.md").read_text(encoding="utf-8")
