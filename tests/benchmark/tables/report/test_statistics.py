"""Ranks, wins, intervals and tests against closed forms and published numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from openpfn.benchmark.tables.report import statistics


@pytest.fixture
def values():
    random = np.random.default_rng(0)
    skill = {"good": 0.9, "fair": 0.8, "poor": 0.6}
    return pd.DataFrame(
        {n: s + 0.02 * random.normal(size=20) for n, s in skill.items()},
        index=[f"t{i}" for i in range(20)],
    )


def test_the_best_method_ranks_first_whatever_the_direction(values):
    assert statistics.ranks(values, "roc_auc").mean().idxmin() == "good"
    assert statistics.ranks(values, "log_loss").mean().idxmin() == "poor"
    assert statistics.ranks(values, "roc_auc").sum(axis=1).eq(6).all()


def test_wins_of_all_methods_sum_to_half_of_all_comparisons(values):
    tied = values.assign(good=values["fair"])
    for frame in (values, tied):
        assert statistics.win_rates(frame, "roc_auc").mean() == pytest.approx(0.5)
    assert statistics.win_rates(values, "roc_auc")["good"] == 1


def test_the_critical_difference_is_demsars():
    # Demšar 2006, §3.2.2: four methods, 14 tables, q = 2.569
    assert statistics.critical_difference(4, 14) == pytest.approx(
        2.569 * np.sqrt(4 * 5 / (6 * 14)), abs=2e-3
    )


def test_holm_is_the_textbook_example():
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([0.9, 0.8]) == [1.0, 1.0]


def test_different_methods_differ_significantly_and_equal_ones_do_not(values):
    p = statistics.wilcoxon_holm(values.assign(twin=values["good"]))
    assert p.loc["good", "poor"] < 0.001
    assert p.loc["good", "twin"] == 1
    assert statistics.friedman(values) < 0.001


def test_the_bootstrap_interval_of_independent_tables_is_the_normal_one(values):
    found = statistics.bootstrap_interval(values, pd.Series(values.index, index=values.index))
    half = 1.96 * values["good"].std(ddof=0) / np.sqrt(20)
    assert found.loc["good", "low"] == pytest.approx(values["good"].mean() - half, abs=half / 4)
    assert found.loc["good", "high"] == pytest.approx(values["good"].mean() + half, abs=half / 4)


def test_copies_of_a_table_do_not_narrow_the_interval(values):
    copies = pd.concat([values, values.rename(index=lambda t: t + "'")])
    families = pd.Series({t: t.rstrip("'") for t in copies.index})
    plain = statistics.bootstrap_interval(values, pd.Series(values.index, index=values.index))
    copied = statistics.bootstrap_interval(copies, families)
    np.testing.assert_allclose(plain, copied, atol=1e-12)


def rows(**columns):
    base = {
        "table": "t",
        "context": "150",
        "split": 0,
        "tuned": "0",
        "status": "ok",
        "target_std": np.nan,
    }
    return pd.DataFrame(
        [base | dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    )


def test_what_failed_scores_as_the_constant_prediction():
    found = rows(
        method=["constant", "a", "b"], roc_auc=[0.5, 0.9, np.nan], status=["ok", "ok", "failed"]
    )
    assert statistics.scores(found, "roc_auc").loc["t"].to_dict() == {
        "constant": 0.5,
        "a": 0.9,
        "b": 0.5,
    }


def test_without_the_constant_what_failed_scores_as_the_worst():
    found = rows(method=["a", "b", "c"], log_loss=[0.4, 0.7, np.nan], status=["ok", "ok", "failed"])
    assert statistics.scores(found, "log_loss").loc["t", "c"] == 0.7


def test_a_table_that_a_method_has_not_seen_is_in_nobodys_mean():
    found = rows(method=["a", "b", "a"], table=["t", "t", "u"], roc_auc=[0.9, 0.8, 0.1])
    assert list(statistics.scores(found, "roc_auc").index) == ["t"]


def test_absolute_errors_are_in_units_of_the_target():
    found = rows(method=["a", "a"], table=["t", "u"], mae=[2.0, 200.0], target_std=[4.0, 400.0])
    assert statistics.scores(found, "mae")["a"].tolist() == [0.5, 0.5]


def test_tuned_methods_carry_their_budget():
    found = rows(method=["a", "a"], tuned=["0", "30"], roc_auc=[0.9, 0.8])
    assert statistics.label(found).tolist() == ["a", "a (tuned 30 s)"]
