"""The bar chart: the same for the same records, every drop where it belongs, nothing on top of anything else."""

import sys
from itertools import combinations, pairwise

import pytest
from matplotlib import pyplot as plt

from quantbench.report.sensitivity import sensitivities
from quantbench.report.sensitivity_plot import COLORS, LABELS, sensitivity_plot, sensitivity_summary


def drawn(records, folder):
    """The drawn figure, caught before it is closed."""
    caught = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plt, "close", caught.append)
        sensitivity_plot(sensitivities(records), [folder / "chart.png"])
    plt.close(caught[0])
    return caught[0]


@pytest.fixture(scope="module")
def figure(two_layer_workloads, tmp_path_factory):
    return drawn(two_layer_workloads, tmp_path_factory.mktemp("figure"))


def labels(axis):
    return [text.get_text().replace("\n", " ") for text in axis.get_yticklabels()]


def bars(axis):
    """(label, kind) → (drop, height of the bar's middle from the top of the panel, in rows)."""
    found = {}
    for container in axis.containers:
        kind = next((kind for kind, label in LABELS.items() if label == container.get_label()), None)
        for bar in container.patches if kind else ():
            middle = bar.get_y() + bar.get_height() / 2
            found[labels(axis)[round(middle)], kind] = (bar.get_width(), middle)
    return found


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_identical_records_give_identical_svg_bytes(two_layer_workloads, tmp_path):
    first, second = tmp_path / "a.svg", tmp_path / "b.svg"
    for path in (first, second):
        sensitivity_plot(sensitivities(two_layer_workloads), [path])
    assert first.read_bytes() == second.read_bytes()
    assert b"<svg" in first.read_bytes()
    assert b"<dc:date>" not in first.read_bytes()


def test_each_workload_has_a_panel_with_the_most_sensitive_layer_on_top(figure):
    assert [axis.get_title() for axis in figure.axes] == [
        "m5_spoken_words, n = 1,000",
        "m5_speech_commands, n = 1,000",
    ]
    for axis in figure.axes:
        assert labels(axis) == ["block1", "block2", "block3", "block4", "none (fine-tuned only)", "all layers"]
        top, bottom = (axis.transData.transform((0, row))[1] for row in (0, 5))
        assert top > bottom


def test_every_bar_is_as_long_as_its_drop_and_negative_ones_reach_left_of_zero(figure):
    expected = {
        ("block1", "PTQ"): 6.2, ("block1", "QAT"): 0.9, ("block2", "PTQ"): 2.2, ("block2", "QAT"): -0.2,
        ("block3", "PTQ"): 1.3, ("block4", "PTQ"): -0.5, ("block4", "QAT"): 0.1,
        ("none (fine-tuned only)", "QAT"): -0.4, ("all layers", "PTQ"): 7.2, ("all layers", "QAT"): 3.0,
    }  # fmt: skip
    assert {key: drop for key, (drop, _) in bars(figure.axes[0]).items()} == pytest.approx(expected)
    left, right = figure.axes[0].get_xlim()
    assert left < -0.5 - 0.9
    assert right > 7.7 + 0.9, "the panels share their scale, and the longest bar is in the other one"


def test_an_interval_is_drawn_from_its_low_to_its_high_limit(figure):
    bars_of_ptq = next(each for each in figure.axes[0].containers if each.get_label() == LABELS["PTQ"])
    segments = bars_of_ptq.errorbar.lines[2][0].get_segments()
    assert [limit for limit, _ in segments[0]] == pytest.approx([4.8664180, 7.8688060])
    assert [limit for limit, _ in segments[3]] == pytest.approx([-1.1650955, -0.1154108])


def test_ptq_stands_above_qat_and_a_lone_bar_in_the_middle(figure):
    found = bars(figure.axes[0])
    assert found["block1", "PTQ"][1] < 0 < found["block1", "QAT"][1]
    assert found["block3", "PTQ"][1] == pytest.approx(2)
    assert found["none (fine-tuned only)", "QAT"][1] == pytest.approx(4)


def test_the_legend_names_both_kinds_though_the_first_workload_has_one(make_layer, tmp_path):
    records = [make_layer("v/qat_a", 900, ("a",)), make_layer("w/ptq_a", 905, ("a",))]
    assert legend(drawn(records, tmp_path)) == list(LABELS.values())


def test_a_part_that_nobody_measured_has_neither_row_nor_entry_in_the_legend(make_layer, tmp_path):
    figure = drawn([make_layer("w/ptq_a", 900, ("a",))], tmp_path)
    assert labels(figure.axes[0]) == ["a"]
    assert legend(figure) == [LABELS["PTQ"]]


def test_labels_legend_and_panels_overlap_nothing_and_lie_inside(figure):
    figure.draw_without_rendering()
    boxes = {"legend": figure.legends[0].get_window_extent()}
    for i, axis in enumerate(figure.axes):
        texts = {"title": axis.title, "x label": axis.xaxis.label}
        texts |= {f"label of row {j}": text for j, text in enumerate(axis.get_yticklabels())}
        boxes |= {f"panel {i}": axis.get_window_extent()}
        boxes |= {f"{name} {i}": text.get_window_extent() for name, text in texts.items()}
    assert [(a, b) for a, b in combinations(boxes, 2) if boxes[a].overlaps(boxes[b])] == []
    inside = figure.bbox.padded(1)
    assert [name for name, box in boxes.items() if not (inside.contains(*box.min) and inside.contains(*box.max))] == []


def test_bars_overlap_neither_each_other_nor_the_next_row(figure):
    for axis in figure.axes:
        extents = sorted((bar.get_y(), bar.get_y() + bar.get_height()) for bar in axis.patches)
        assert all(before[1] <= after[0] + 1e-9 for before, after in pairwise(extents))


def test_the_two_kinds_have_two_colours(figure):
    drawn = {tuple(round(c, 3) for c in bar.get_facecolor()[:3]) for bar in figure.axes[0].patches}
    assert len(drawn) == len(COLORS) == 2


def test_the_summary_of_a_run_draws_both_files_and_says_where(two_layer_workloads, tmp_path):
    folder = tmp_path / "new" / "out"
    text = sensitivity_summary(two_layer_workloads, folder)
    assert text.endswith(f"\nbar chart: {folder}/sensitivity.png, {folder}/sensitivity.svg\n")
    assert "m5_spoken_words, layer by layer" in text
    assert (folder / "sensitivity.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in folder.iterdir()) == ["sensitivity.png", "sensitivity.svg"]


def test_the_summary_of_a_run_without_layers_is_empty_and_draws_nothing(two_workloads, tmp_path):
    assert sensitivity_summary(two_workloads, tmp_path / "out") == ""
    assert not (tmp_path / "out").exists()


def test_a_chart_that_cannot_be_written_is_one_line_below_the_tables(two_layer_workloads, tmp_path):
    (tmp_path / "out").write_text("mine")
    text = sensitivity_summary(two_layer_workloads, tmp_path / "out")
    assert "layer by layer" in text
    assert text.splitlines()[-1] == f"no bar chart: {tmp_path}/out: File exists; name another folder with --plots"
    (tmp_path / "a" / "sensitivity.png").mkdir(parents=True)
    text = sensitivity_summary(two_layer_workloads, tmp_path / "a")
    assert text.splitlines()[-1].startswith(f"no bar chart: {tmp_path}/a/sensitivity.png: Is a directory; name another")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["sensitivity.png"]


def test_without_matplotlib_a_run_ends_with_its_tables_and_says_why_there_is_no_chart(
    two_layer_workloads, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    text = sensitivity_summary(two_layer_workloads, tmp_path)
    assert "m5_spoken_words" in text
    assert text.endswith("; pip install 'quantbench-suite[plots]'\n")
    assert "\nno bar chart: plots: needs matplotlib, which cannot be imported (" in text
    assert list(tmp_path.iterdir()) == []
