"""Tables of a few rows, and the entries that specify corpora made of them."""

from __future__ import annotations

import pandas as pd

WEATHER = pd.DataFrame(
    {
        "outlook": ["sunny", "rainy", "overcast", "sunny", "rainy", ""] * 4,
        "temperature": ["30,5", "", "21,0", "25,25", "17,125", "18,0"] * 4,
        "note": [f'day {i} 😀, "so" to say' for i in range(24)],
        "play": ["no", "yes", "yes", "no", "yes", "no"] * 4,
    }
)
HOUSES = pd.DataFrame(
    {"rooms": range(24), "street": [f"{i} High St" for i in range(24)], "price": range(100, 124)}
)
ENTRIES = [
    {"file": "weather.csv", "target": "play", "licence": "CC BY 4.0", "family": "weather"},
    {"name": "homes", "file": "houses.parquet", "target": "price", "split": "validation"},
]
