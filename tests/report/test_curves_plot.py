"""The picture of a training: every figure where it belongs, the best epoch marked, nothing on top of anything else."""

from itertools import combinations

import pytest
from matplotlib import pyplot as plt

from quantbench.report.curves import Curves
from quantbench.report.curves_plot import BAND, LABELS, TRAIN, VALIDATION, curves_plot, rows_plot


def made(name="resnet20_cifar10", best_epoch=2, n_validation=400, epochs=4):
    rising = tuple(0.5 + 0.4 * i / epochs for i in range(epochs))
    falling = tuple(1 / (i + 1) for i in range(epochs))
    held_out = bool(n_validation)
    return Curves(
        name, epochs, best_epoch if held_out else None, 2_000, n_validation, falling, rising,
        tuple(each + 0.1 for each in falling) if held_out else (),
        tuple(each - 0.05 for each in rising) if held_out else (),
    )  # fmt: skip


def drawn(plot, what, folder):
    """The drawn figure, caught before it is closed."""
    caught = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plt, "close", caught.append)
        plot(what, [folder / "curves.png"])
    plt.close(caught[0])
    return caught[0]


@pytest.fixture(scope="module")
def figure(tmp_path_factory):
    return drawn(curves_plot, made(), tmp_path_factory.mktemp("figure"))


def lines(axis):
    """(colour, label) → values, of epochs 1 to the last."""
    assert all(list(line.get_xdata()) == list(range(1, 5)) for line in axis.lines if line.get_marker() == ".")
    return {(line.get_color(), line.get_label()): list(line.get_ydata()) for line in axis.lines}


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_identical_histories_give_identical_svg_bytes(tmp_path):
    first, second = tmp_path / "a.svg", tmp_path / "b.svg"
    for path in (first, second):
        curves_plot(made(), [path])
    assert first.read_bytes() == second.read_bytes()
    assert b"<svg" in first.read_bytes()
    assert b"<dc:date>" not in first.read_bytes()


def test_loss_and_accuracy_of_training_and_validation_are_where_the_history_has_them(figure):
    loss, accuracy = (lines(axis) for axis in figure.axes)
    assert loss[TRAIN, LABELS[TRAIN]] == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4])
    assert loss[VALIDATION, LABELS[VALIDATION]] == pytest.approx([1.1, 0.6, 1 / 3 + 0.1, 0.35])
    assert accuracy[TRAIN, LABELS[TRAIN]] == pytest.approx([50, 60, 70, 80])
    assert accuracy[VALIDATION, LABELS[VALIDATION]] == pytest.approx([45, 55, 65, 75])


def test_the_best_epoch_is_a_line_in_both_panels_and_named_in_the_legend(figure):
    for axis in figure.axes:
        (marked,) = [line for line in axis.lines if line.get_label() == "best epoch by validation: 2"]
        assert set(marked.get_xdata()) == {2}
    assert "best epoch by validation: 2" in legend(figure)


def test_the_validation_accuracy_has_its_interval_as_a_band(figure):
    (band,) = figure.axes[1].collections
    assert band.get_label() == BAND
    heights = band.get_paths()[0].vertices[:, 1]
    assert heights.min() == pytest.approx(40.2, abs=0.1), "45 % of 400"
    assert heights.max() == pytest.approx(79.0, abs=0.1), "75 % of 400"


def test_titles_name_the_training_and_both_numbers_of_samples(figure):
    assert [axis.get_title() for axis in figure.axes] == [
        f"resnet20_cifar10, n = 2,000 and 400: {what}" for what in ("loss", "accuracy")
    ]


def test_without_validation_only_training_is_drawn(tmp_path):
    figure = drawn(curves_plot, made(n_validation=0), tmp_path)
    assert legend(figure) == [LABELS[TRAIN]]
    assert figure.axes[0].get_title() == "resnet20_cifar10, n = 2,000: loss"
    assert list(figure.axes[1].collections) == []


@pytest.mark.parametrize("epochs", [1, 2, 40])
def test_epochs_are_whole_numbers_on_the_axis_and_each_is_a_point(tmp_path, epochs):
    figure = drawn(curves_plot, made(epochs=epochs, best_epoch=1), tmp_path)
    figure.draw_without_rendering()
    for axis in figure.axes:
        left, right = axis.get_xlim()
        ticks = [tick for tick in axis.get_xticks() if left <= tick <= right]
        assert ticks
        assert all(float(tick).is_integer() for tick in ticks)
        assert all(line.get_marker() == "." for line in axis.lines[:2])


def test_labels_legend_and_panels_overlap_nothing_and_lie_inside(figure):
    figure.draw_without_rendering()
    boxes = {"legend": figure.legends[0].get_window_extent()}
    for i, axis in enumerate(figure.axes):
        texts = {"title": axis.title, "x label": axis.xaxis.label, "y label": axis.yaxis.label}
        boxes |= {f"panel {i}": axis.get_window_extent()}
        boxes |= {f"{name} {i}": text.get_window_extent() for name, text in texts.items()}
    assert [(a, b) for a, b in combinations(boxes, 2) if boxes[a].overlaps(boxes[b])] == []
    inside = figure.bbox.padded(1)
    assert [name for name, box in boxes.items() if not (inside.contains(*box.min) and inside.contains(*box.max))] == []


def test_rows_are_drawn_over_each_other_in_colours_of_their_own_with_the_best_epochs_marked(tmp_path):
    rows = [made(name, best_epoch=best) for name, best in (("a", 2), ("b", 4), ("c", 1))]
    figure = drawn(rows_plot, rows, tmp_path)
    assert legend(figure) == ["a", "b", "c"]
    curves = [line for line in figure.axes[1].lines if line.get_label() in ("a", "b", "c")]
    assert len({line.get_color() for line in curves}) == 3
    stars = [line for line in figure.axes[1].lines if line.get_marker() == "*"]
    assert [line.get_xdata()[0] for line in stars] == [2, 4, 1]
    assert "validation split, n = 400" in figure.axes[1].get_title()


def test_rows_without_validation_show_their_training_accuracy_and_no_best_epoch(tmp_path):
    figure = drawn(rows_plot, [made("a", n_validation=0), made("b", n_validation=0)], tmp_path)
    assert figure.axes[1].get_title() == "accuracy of the training samples, as they were learned from"
    assert [line for line in figure.axes[1].lines if line.get_marker() == "*"] == []
