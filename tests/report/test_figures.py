"""Figures as files: whole or not at all, and closed whatever happens."""

import pytest
from matplotlib import pyplot as plt

from quantbench.report.figures import drawn, labelled, legend_below


def test_a_figure_is_written_in_the_format_of_each_suffix_and_closed(tmp_path):
    paths = [tmp_path / "a.png", tmp_path / "a.svg"]
    with drawn(paths, (4, 3), rows=2, columns=3) as (_, axes):
        assert [len(row) for row in axes] == [3, 3]
    assert [path.read_bytes()[:5] for path in paths] == [b"\x89PNG\r", b"<?xml"]
    assert plt.get_fignums() == []


def test_a_figure_that_fails_is_closed_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), drawn([path], (4, 3)) as (_, [[axis]]):
        axis.plot([0, 1], [0, 1 / 0])
    assert plt.get_fignums() == []
    assert path.read_bytes() == b"old"


def test_panels_with_the_same_labels_share_one_legend(tmp_path):
    with drawn([tmp_path / "a.svg"], (4, 3), columns=2) as (figure, [axes]):
        for axis in axes:
            axis.plot([0, 1], [1, 2], label="ours")
            axis.plot([0, 1], [2, 1], label="theirs")
        legend_below(figure, labelled(axes), 2)
        (legend,) = figure.legends
        assert [text.get_text() for text in legend.get_texts()] == ["ours", "theirs"]
