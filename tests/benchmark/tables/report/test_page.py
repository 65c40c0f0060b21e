"""The report is one page that needs nothing else, says what the rows say, and shows what failed and
what changed."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from openpfn.benchmark.tables import results
from openpfn.benchmark.tables.report import compare
from openpfn.benchmark.tables.report.page import write_report
from openpfn.benchmark.tables.report.sections import pooled_bins
from openpfn.benchmark.tables.report.summary import best_scores, summary, summary_tables
from openpfn.cli import benchmark as cli
from openpfn.plots import benchmark as draw

SKILL = {"pfn:mine": 0.92, "logistic": 0.88, "knn": 0.80, "constant": 0.5}

EVERYWHERE = {
    "suite": "made up",
    "half": "A",
    "task": "classification",
    "tuned": "0",
    "n_context": 50,
    "n_query": 70,
    "n_features": 4,
    "device": "cpu",
    "seed": 0,
    "max_query": 2000,
    "data_sha256": "d" * 64,
    "openpfn": "0.1",
    "python": "3",
    "scikit_learn": "1",
    "numpy": "2",
    "torch": "2",
}


def made_up(sizes=("50", "150"), n_tables=8, better=0.0):
    """Results whose methods have the AUC of `SKILL`, up to noise; kNN fails on the last table."""
    random = np.random.default_rng(0)
    rows = []
    for t in range(n_tables):
        for size in sizes:
            for split in range(2):
                for name, skill in SKILL.items():
                    auc = (
                        0.5
                        if name == "constant"
                        else skill + 0.01 * random.normal() + (better if name == "pfn:mine" else 0)
                    )
                    failed = name == "knn" and t == n_tables - 1
                    loss = dict.fromkeys(("log_loss", "brier", "calibration_error"), 1 - auc)
                    scores = dict.fromkeys(("roc_auc", "accuracy", "balanced_accuracy"), auc) | loss
                    costs = {
                        "fit_seconds": 0.1 * len(name),
                        "predict_seconds": 0.01,
                        "peak_mib": 12.0,
                    }
                    costs["calibration"] = "0.5000,0.4000,10;0.9000,0.8000,30"
                    cell = {
                        "table": f"table {t}",
                        "family": f"family {t}",
                        "method": name,
                        "context": size,
                        "split": split,
                        "counted": t > 0,
                    }
                    is_ours = name.startswith("pfn")
                    package = (
                        {"method_version": "openpfn 0.1", "checkpoint_sha256": "c" * 64}
                        if is_ours
                        else {"method_version": "scikit-learn 1"}
                    )
                    state = (
                        {"status": "failed", "error": "RuntimeError: <no luck> & none"}
                        if failed
                        else {"status": "ok"}
                    )
                    row = (
                        dict.fromkeys(results.COLUMNS, np.nan) | EVERYWHERE | cell | package | state
                    )
                    rows.append(row | ({} if failed else scores | costs))
    return pd.DataFrame(rows)


def made_up_numbers(n_tables=6):
    """Results whose methods are ranked otherwise by RMSE than by CRPS."""
    skill = {  # RMSE, CRPS, coverage
        "pfn:mine": (0.5, 0.20, 0.91),
        "ridge": (0.4, 0.25, 0.84),
        "knn": (0.7, 0.40, 0.99),
        "constant": (1.0, 0.56, 0.9),
    }
    rows = made_up(("150",), n_tables).assign(task="regression", target_std=10.0)
    rows["method"] = rows["method"].replace("logistic", "ridge")
    rows[["roc_auc", "accuracy", "balanced_accuracy", "log_loss", "brier"]] = np.nan
    rows = rows.assign(status="ok", error=np.nan, r2=0.5, calibration="0.5,0.4,10;0.9,0.8,10")
    for i, name in enumerate(("rmse", "crps", "coverage")):
        unit = 1.0 if name == "coverage" else 10.0
        rows[name] = [unit * skill[method][i] for method in rows["method"]]
    return rows.assign(mae=rows["crps"], width=20.0)


class Tags(HTMLParser):
    """Checks that tags close in order, and collects what a browser would load."""

    def __init__(self):
        super().__init__()
        self.open, self.loads = [], []

    def handle_starttag(self, tag, attrs):
        self.loads += [
            (tag, n)
            for n, v in attrs
            if n in ("src", "href", "xlink:href") and not (v or "").startswith("#")
        ]
        if tag not in ("meta", "link", "img", "br", "hr"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return write_report(made_up(), tmp_path_factory.mktemp("report") / "report.html").read_text()


@pytest.mark.slow
def test_the_page_is_whole_and_loads_nothing(page):
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert tags.loads == []
    assert not re.search(r"@import|url\((?!#)", page)


@pytest.mark.slow
def test_every_picture_is_there_and_takes_the_colour_of_the_page(page):
    for title in ("Ranks", "Table by table", "Learning curves", "Calibration", "Quality and time"):
        assert f"<h3>{title}</h3>" in page
    assert page.count("<svg") == 5
    assert draw.INK not in page
    assert "currentColor" in page
    assert "prefers-color-scheme: dark" in page


@pytest.mark.slow
def test_the_page_says_who_is_best_on_what_counts(page):
    assert re.search(
        r"On 7 tables with a context of 150 rows, <b[^>]*>pfn:mine</b> has the best mean rank"
        r" \(1\.00 of 3",
        page,
    )
    assert "Tables below the line come with scikit-learn too" in page


@pytest.mark.slow
def test_failures_are_shown_with_their_error_as_text(page):
    assert "&lt;no luck&gt; &amp; none" in page
    assert "scored there as the constant prediction" in page


@pytest.mark.slow
def test_the_summary_agrees_with_the_rows():
    rows = made_up()
    found = summary(rows, "classification", "150")
    assert list(found.index) == ["pfn:mine", "logistic", "knn", "constant"]
    counted = rows[(rows["context"] == "150") & rows["counted"]]
    assert found.loc["logistic", "roc_auc"] == pytest.approx(
        counted.loc[counted["method"] == "logistic", "roc_auc"].mean()
    )
    by_hand = counted[counted["method"] == "knn"].groupby("table")["roc_auc"].mean().fillna(0.5)
    assert found.loc["knn", "roc_auc"] == pytest.approx(
        by_hand.mean()
    )  # what failed is scored as the constant
    assert found.loc["knn", "n_failed"] == 2
    assert found.loc["pfn:mine", "wins"] == 1
    assert np.isnan(found.loc["constant", "rank"])
    assert len(summary_tables(rows)) == 2


@pytest.mark.slow
def test_what_changed_since_the_baseline_is_shown(tmp_path):
    now, before = made_up(("150",), 2, better=0.03), made_up(("150",), 2)
    found = compare.changes(now, before, "roc_auc").groupby("label")["change"].mean()
    assert found["pfn:mine"] == pytest.approx(0.03)
    assert found["logistic"] == 0
    text = write_report(now, tmp_path / "report.html", baseline=before).read_text()
    assert "What changed" in text
    assert "+0.0300" in text


def test_changed_data_are_told_and_not_compared():
    now = made_up()
    now.loc[now["table"] == "table 3", "data_sha256"] = "e" * 64
    assert "table 3" not in set(compare.changes(now, made_up(), "roc_auc")["table"])
    assert (
        "The data of these tables changed, so that their figures cannot be compared: table 3."
        in compare.section(now, made_up())
    )


@pytest.mark.slow
def test_numbers_are_ranked_by_rmse_and_by_crps(tmp_path):
    rows = made_up_numbers()
    found = summary(rows, "regression", "150")
    assert list(found.index) == ["ridge", "pfn:mine", "knn", "constant"]
    assert found["rank"].dropna().tolist() == [1, 2, 3]
    assert found["crps_rank"].dropna().tolist() == [2, 1, 3]
    assert found.loc["ridge", "rmse"] == pytest.approx(0.4)  # in standard deviations
    assert found.loc["ridge", "coverage"] == pytest.approx(0.84)
    assert found.loc["ridge", "width"] == pytest.approx(2.0)
    text = write_report(rows, tmp_path / "report.html").read_text()
    assert re.search(r"150 rows, ridge has the best mean rank \(1\.00 of 3; mean RMSE / σ", text)
    assert re.search(r"By CRPS / σ, <b[^>]*>pfn:mine</b> has the best mean rank \(1\.00", text)
    assert text.count("<svg") == 2 + 2 + 1 + 1  # ranks, tables, calibration, time
    assert "90% coverage" in text


def test_the_best_coverage_is_the_nearest_to_what_was_asked_and_no_width_is_best():
    found = summary(made_up_numbers(), "regression", "150")
    best = best_scores(found, ["rmse", "coverage", "width"])
    assert best["coverage"] == found.loc["pfn:mine", "coverage"]
    assert best["rmse"] == found.loc["ridge", "rmse"]
    assert np.isnan(best["width"])


@pytest.mark.slow
def test_classes_and_numbers_share_a_page(tmp_path):
    rows = pd.concat([made_up(("150",)), made_up_numbers().assign(table="another")])
    text = write_report(rows, tmp_path / "report.html").read_text()
    assert text.index('id="classification"') < text.index('id="regression"')
    assert len(summary_tables(rows)) == 2


@pytest.mark.slow
def test_numbers_of_an_older_file_are_ranked_by_what_it_has(tmp_path):
    rows = made_up_numbers()
    rows[list(results.ADDED)] = np.nan
    found = summary(rows, "regression", "150")
    assert list(found.index) == ["pfn:mine", "ridge", "knn", "constant"]
    assert "rmse" not in found
    text = write_report(rows, tmp_path / "report.html").read_text()
    assert "mean CRPS / σ 0.200" in text
    assert "RMSE / σ" not in text


def test_pooled_bins_keep_rows_and_their_mean():
    texts = pd.Series(["0.5,0.4,10;1.0,0.9,30", "0.5,0.6,10;1.0,1.0,50", np.nan])
    bins = pooled_bins(texts)
    assert bins.tolist() == [[0.5, 0.5, 20], [1.0, pytest.approx(77 / 80), 80]]
    many = pooled_bins(pd.Series([f"{c:.2f},{c:.2f},10" for c in np.linspace(0.1, 1, 91)]))
    assert len(many) == 15
    assert many[:, 2].sum() == 910


def test_bars_join_what_is_closer_than_the_critical_difference():
    assert draw._groups([1.0, 1.5, 3.0, 3.2], 1.0) == [(1.0, 1.5), (3.0, 3.2)]
    assert draw._groups([1.0, 2.0, 3.0], 1.5) == [(1.0, 2.0), (2.0, 3.0)]
    assert draw._groups([1.0, 2.0, 3.0], 5.0) == [(1.0, 3.0)]
    assert draw._groups([1.0, 3.0], 0.5) == []


@pytest.mark.slow
def test_the_command_writes_results_and_page(folder, tmp_path, capsys):
    out = tmp_path / "out"
    chosen = ["--methods", "naive_bayes", "--tables", "visits", "--context-sizes", "20"]
    options = ["--suite", str(folder), *chosen, "--splits", "1", "--out", str(out)]
    assert cli.main(["tables", *options]) == 0
    shown = capsys.readouterr().out
    assert "naive_bayes" in shown
    assert (out / "report.html").is_file()
    assert len(results.read(out)) == 2  # the method and the floor
    assert (
        cli.main(
            [
                "report",
                "--results",
                str(out),
                "--baseline",
                str(out),
                "--out",
                str(tmp_path / "again.html"),
            ]
        )
        == 0
    )
    assert "What changed" in (tmp_path / "again.html").read_text()


def test_an_unknown_subcommand_gets_the_choices():
    with pytest.raises(ValueError, match="tables, text, report, attention, speed"):
        cli.main(["table"])


def test_results_without_rows_are_told(tmp_path):
    results.ResultsFile(tmp_path / "results.csv")
    with pytest.raises(ValueError, match="no results to report"):
        write_report(results.read(tmp_path), tmp_path / "report.html")
