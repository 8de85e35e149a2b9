"""Pictures of searches: each layer where it belongs, fronts that only fall, the same bytes for the same record."""

import pytest
from made_searches import published_search, sensitivity
from matplotlib import pyplot as plt

from quantbench.records.costs import Measure, shown
from quantbench.records.search import Decision
from quantbench.report.search_plot import Fronts, fronts_plot, layers_plot
from quantbench.search.budget import Additive, additive_front
from quantbench.search.visited import drop_of_result, visited, visited_front


def fronts_of(record):
    model = Additive.of(record.layers, record.sensitivities, record.high, record.low)
    return {each: Fronts(visited_front(record, each), additive_front(model, each)) for each in Measure}


def caught(draw):
    """The figure that is drawn, caught before it is closed."""
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plt, "close", found.append)
        draw()
    plt.close(found[0])
    return found[0]


@pytest.fixture(scope="module")
def figure(tmp_path_factory):
    record, path = published_search(), tmp_path_factory.mktemp("plot") / "f.png"
    return caught(lambda: fronts_plot(record, fronts_of(record), drop_of_result(record), [path]))


def test_there_is_a_panel_for_bits_for_bytes_and_for_bit_operations(figure):
    assert [axis.get_xlabel() for axis in figure.axes] == [
        "average bits of the layers",
        "bytes of weights and of one sample's inputs",
        "bit operations for one sample",
    ]


def test_fronts_fall_from_left_to_right_and_the_predicted_one_has_the_most_points(figure):
    for axis in figure.axes:
        lines = {line.get_label(): line for line in axis.get_lines()}
        for label in ("measured front", "predicted front: if drops add up"):
            costs, drops = lines[label].get_data()
            assert list(costs) == sorted(costs)
            assert list(drops) == sorted(drops, reverse=True)
        assert len(lines["predicted front: if drops add up"].get_xdata()) > 4


def test_what_was_found_is_marked_at_its_cost_and_drop(figure):
    record = published_search()
    for axis, measure in zip(figure.axes, Measure, strict=True):
        star = next(line for line in axis.get_lines() if line.get_label() == "found")
        assert star.get_xdata()[0] == shown(record.layers, record.bits, measure)
        assert star.get_ydata()[0] == 0.33


def test_everything_that_was_measured_on_all_samples_is_visited_once():
    record = published_search()
    found = {each.bits: each.drop_pp for each in visited(record)}
    # All high, 13 alone, 13 decisions of which the first is the layer alone.
    assert len(found) == 1 + 13 + 12
    assert found[(4,) * 13] == 0.0
    assert found[tuple(record.bits)] == 0.33
    assert found[(4,) * 6 + (2,) + (4,) + (2,) * 5] == 1.36, "rejected, and measured all the same"


def test_what_was_only_seen_in_part_is_not_on_the_measured_front():
    early = Decision(layer="conv6", index=6, accepted=False, drop_pp=1.01, n=512, reason="early")
    record = published_search(decisions=[*published_search().decisions[:5], early])
    assert len(visited(record)) == 1 + 13 + 4
    adaptive = record.model_copy(update={"mode": "adaptive"})
    assert len(visited(adaptive)) == 1 + 13 + 5, "where all are estimates"


def test_no_visited_configuration_is_as_cheap_and_accurate_as_one_on_the_front():
    record = published_search()
    for measure in Measure:
        points = {(shown(record.layers, each.bits, measure), each.drop_pp) for each in visited(record)}
        for each in visited_front(record, measure):
            x, y = shown(record.layers, each.bits, measure), each.drop_pp
            assert not any((a <= x and b < y) or (a < x and b <= y) for a, b in points)


def test_bars_are_the_layers_the_most_sensitive_on_top(tmp_path):
    found = [sensitivity("a", 0, 1_000, 10, 0), sensitivity("b", 1, 1_000, 30, 0)]
    (axis,) = caught(lambda: layers_plot(published_search(sensitivities=found), [tmp_path / "a.png"])).axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["b", "a"]
    assert [bar.get_width() for bar in axis.patches] == [3.0, 1.0]


def test_a_layer_without_a_figure_has_a_name_and_no_bar(tmp_path):
    found = [sensitivity("a", 0, 1_000, 10, 0), sensitivity("b", 1, 1_000, 0, 0, failed="logits are NaN")]
    (axis,) = caught(lambda: layers_plot(published_search(sensitivities=found), [tmp_path / "a.png"])).axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["b (logits are NaN)", "a"]
    assert [round(bar.get_y() + bar.get_height() / 2) for bar in axis.patches] == [1]


def test_identical_records_give_identical_svg_bytes(tmp_path):
    record = published_search()
    for name in ("a", "b"):
        fronts_plot(record, fronts_of(record), 0.33, [tmp_path / f"{name}.svg"])
        layers_plot(record, [tmp_path / f"{name}l.svg"])
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert (tmp_path / "al.svg").read_bytes() == (tmp_path / "bl.svg").read_bytes()
    assert b"<dc:date>" not in (tmp_path / "a.svg").read_bytes()
