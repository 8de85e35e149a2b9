"""The picture: the same for the same records, one style per experiment, nothing on top of anything else."""

import re
import subprocess
import sys
from itertools import combinations

import pytest
from matplotlib import pyplot as plt

from quantbench.report.figures import COLORS
from quantbench.report.pareto import by_workload, pareto_plot, point_styles


@pytest.fixture
def figure(two_workloads, tmp_path, monkeypatch):
    """The drawn figure, caught before it is closed."""
    caught = []
    monkeypatch.setattr(plt, "close", caught.append)
    pareto_plot(two_workloads, [tmp_path / "pareto.png"])
    monkeypatch.undo()
    yield caught[0]
    plt.close(caught[0])


def test_identical_records_give_identical_svg_bytes(two_workloads, tmp_path):
    first, second = tmp_path / "a.svg", tmp_path / "b.svg"
    pareto_plot(two_workloads, [first])
    pareto_plot(two_workloads, [second])
    assert first.read_bytes() == second.read_bytes()
    assert not re.search(rb"<dc:date>", first.read_bytes())


def test_the_files_are_a_png_and_an_svg_and_nothing_is_left_beside_them(two_workloads, tmp_path):
    pareto_plot(two_workloads, [tmp_path / "pareto.png", tmp_path / "pareto.svg"])
    assert (tmp_path / "pareto.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (tmp_path / "pareto.svg").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pareto.png", "pareto.svg"]


def test_an_experiment_has_one_style_in_all_workloads_and_no_other_has_it(two_workloads, make_record):
    # The second workload lacks an experiment and has another order.
    others = [make_record("other/qat_int8"), make_record("other/fp32_baseline", speedup=None)]
    together = point_styles(by_workload([*two_workloads, *others]))
    assert together == point_styles(by_workload(two_workloads))
    assert len(set(together.values())) == 6


def test_two_experiments_of_one_recipe_share_its_colour_and_differ_in_their_marker(make_record):
    records = [make_record(f"w/{name}", recipe="static_int8_per_channel") for name in ("few", "many")]
    few, many = point_styles(by_workload(records)).values()
    assert few[0] == many[0] == COLORS[0]
    assert few[1] != many[1]


def test_filled_markers_are_the_front(figure):
    lines = [line for line in figure.axes[0].get_lines() if line.get_marker() not in ("None", None, "", "|", "_")]
    markers = [line for line in lines if len(line.get_xdata()) == 1]
    filled = [line for line in markers if line.get_markerfacecolor() != "none"]
    assert (len(markers), len(filled)) == (6, 3)


def test_titles_labels_and_legend_overlap_neither_panels_nor_each_other(figure):
    figure.draw_without_rendering()
    boxes = {f"panel {i}": axis.get_window_extent() for i, axis in enumerate(figure.axes)}
    for i, axis in enumerate(figure.axes):
        texts = {"title": axis.title, "x label": axis.xaxis.label, "y label": axis.yaxis.label}
        boxes |= {f"{name} {i}": text.get_window_extent() for name, text in texts.items() if text.get_text()}
    boxes["legend"] = figure.legends[0].get_window_extent()
    assert [(a, b) for a, b in combinations(boxes, 2) if boxes[a].overlaps(boxes[b])] == []
    inside = figure.bbox.padded(1)
    assert [name for name, box in boxes.items() if not (inside.contains(*box.min) and inside.contains(*box.max))] == []


def test_the_legend_names_every_experiment_once_and_says_how_the_front_is_marked(figure):
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[:6] == [
        "fp32_baseline", "ptq_dynamic_int8", "ptq_static_int8_per_tensor", "ptq_static_int8_per_channel",
        "ptq_static_int8_histogram", "qat_int8",
    ]  # fmt: skip
    assert labels[6] == "filled: on the front"


def test_reports_import_no_torch():
    code = (
        "import sys, quantbench.report.documents, quantbench.report.tables, quantbench.report.pareto as p; "
        "import matplotlib.pyplot; print('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"
