"""A web server for a saved classifier: `MODEL=fruit.safetensors uvicorn server:app`."""

import os

import pandas as pd
from fastapi import FastAPI, HTTPException  # pyright: ignore[reportMissingImports]

from openpfn import PFNClassifier

app = FastAPI()
classifier = PFNClassifier.load(os.environ["MODEL"], device="cpu")


@app.post("/predict")
def predict(rows: list[dict[str, float | str | bool | None]]) -> list[dict[str, float]]:
    """Return the probability of each class for each row, a mapping from columns to values."""
    try:
        table = pd.DataFrame(rows)[list(classifier.feature_names_in_)]
        probabilities = classifier.predict_proba(table)
    except (KeyError, ValueError) as error:
        raise HTTPException(422, str(error)) from error
    names = [str(label) for label in classifier.classes_]
    return [dict(zip(names, row.tolist(), strict=True)) for row in probabilities]
