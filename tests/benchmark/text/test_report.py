"""The page on tables with text says on how many of them our networks are ahead, half by half."""

from __future__ import annotations

import pandas as pd
import pytest

from openpfn.benchmark.text.config import TextConfig
from openpfn.benchmark.text.report import comparisons, report_lines


def cell(table: str, half: str, method: str, **scores) -> dict:
    row = {"table": table, "half": half, "method": method, "context": "half", "split": 0}
    row |= {"task": "classification", "tuned": "0", "status": "ok", "target_std": 1.0}
    return row | {"fit_seconds": 1.0, "predict_seconds": 0.5, "r2": float("nan")} | scores


ROWS = pd.DataFrame(
    [
        cell("a", "A", "nano", roc_auc=0.9, log_loss=0.3),
        cell("a", "A", "skrub", roc_auc=0.8, log_loss=0.2),
        cell("b", "B", "nano", roc_auc=0.7, log_loss=0.5),
        cell("b", "B", "skrub", roc_auc=0.7, log_loss=0.6),
        cell("c", "B", "nano", roc_auc=0.6, log_loss=0.7),
        cell("c", "B", "skrub", roc_auc=0.9, log_loss=0.5),
    ]
)


def test_halves_and_metrics_are_told_each_on_its_own():
    found = comparisons(ROWS).set_index(["metric", "half"])
    assert found.loc[("roc_auc", "A"), "at_least"] == 1
    assert found.loc[("roc_auc", "B"), "at_least"] == 0.5  # a tie is as good
    assert found.loc[("roc_auc", "B"), "difference"] == pytest.approx(-0.15)
    assert found.loc[("log_loss", "A"), "difference"] == pytest.approx(-0.1)
    assert found.loc[("log_loss", "B"), "difference"] == pytest.approx(-0.05)


def test_what_failed_counts_as_the_constant_prediction():
    floor = [cell("a", "A", "constant", roc_auc=0.5, log_loss=0.7)]
    failed = [cell("a", "A", "catboost_text", status="failed")]
    found = comparisons(pd.concat([ROWS[:2], pd.DataFrame(floor + failed)]))
    against = found[(found["peer"] == "catboost_text") & (found["metric"] == "roc_auc")]
    assert against["difference"].item() == pytest.approx(0.4)


def test_the_page_shows_every_table_and_its_seconds():
    page = "\n".join(report_lines(ROWS))
    assert "| ROC AUC | B | nano | skrub | 2 | 50% | -0.1500 |" in page
    assert "| a (A) | 0.9000 | 0.8000 |" in page
    assert "| c | 1.5 | 1.5 |" in page


def test_only_tables_with_text_are_measured_by_default():
    assert TextConfig().only == ("text_rich",)
    assert TextConfig().splits == 5
