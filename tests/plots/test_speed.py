"""Laws of the speed plots."""

from __future__ import annotations

from typing import Any

import pytest
from matplotlib.figure import Figure

from openpfn.plots.speed import OURS, PEER, bars, save_bars


def row(subject, median, **changes):
    return {
        "subject": subject,
        "median": median,
        "low": median,
        "high": median,
        "unit": "ms",
        "higher_is_better": False,
    } | changes


def drawn(rows) -> Any:
    ax = bars(Figure().subplots(), rows, title="shape")
    labels = [label.get_text() for label in ax.get_yticklabels()]
    places = dict(zip(labels, ax.get_yticks(), strict=True))
    patches: list[Any] = list(ax.patches)
    return ax, {
        label: next(p for p in patches if abs(p.get_y() + p.get_height() / 2 - y) < 1e-9)
        for label, y in places.items()
    }


def test_a_bar_is_as_long_as_its_median_and_the_first_row_stands_on_top():
    ax, patches = drawn([row("openpfn", 3.0), row("theirs", 7.0)])
    assert patches["openpfn"].get_width() == 3.0
    assert patches["theirs"].get_width() == 7.0
    assert patches["openpfn"].get_y() > patches["theirs"].get_y()
    assert ax.get_xscale() == "linear"


def test_ours_and_peers_have_their_colours():
    from matplotlib.colors import to_hex

    _, patches = drawn([row("openpfn nano", 3.0), row("nanoTabPFN", 7.0)])
    assert to_hex(patches["openpfn nano"].get_facecolor()) == OURS.lower()
    assert to_hex(patches["nanoTabPFN"].get_facecolor()) == PEER.lower()


def test_values_of_different_size_get_a_logarithmic_axis():
    ax, _ = drawn([row("openpfn", 3.0), row("theirs", 700.0)])
    assert ax.get_xscale() == "log"


@pytest.mark.parametrize(
    ("higher", "words"), [(True, "higher is better"), (False, "lower is better")]
)
def test_the_axis_says_which_way_is_better(higher, words):
    ax, _ = drawn([row("openpfn", 3.0, higher_is_better=higher)])
    assert words in ax.get_xlabel()


def test_a_value_of_zero_is_drawn():
    ax, _ = drawn([row("openpfn", 0.0), row("theirs", 7.0)])
    assert ax.get_xscale() == "linear"


def test_a_panel_per_shape_is_written(tmp_path):
    save_bars(
        tmp_path / "a.svg",
        {
            "small table": [row("openpfn", 1.0)],
            "large table": [row("openpfn", 9.0), row("theirs", 20.0)],
        },
    )
    text = (tmp_path / "a.svg").read_text()
    assert "small table" in text
    assert "large table" in text
