"""Which experiments nobody beats."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantbench.errors import ConfigError
from quantbench.report.pareto import by_workload, pareto_markdown, pareto_points, staircase

# Few different values, so that ties are common.
FIGURES = st.tuples(st.integers(895, 900), st.integers(295, 300), st.sampled_from([1.0, 1.5, 2.0, 2.5]))


def front_of(records):
    return {point.name for point in pareto_points(records) if point.front}


def test_the_front_of_two_workloads_is_the_one_worked_out_by_hand(two_workloads):
    shapes, cifar = by_workload(two_workloads).values()
    # Histogram observers lose to qat_int8 in all three; the baseline and dynamic_int8 lose accuracy too, on shapes.
    statics = {"ptq_static_int8_per_tensor", "ptq_static_int8_per_channel", "qat_int8"}
    assert front_of(shapes) == statics
    # There the baseline and dynamic_int8 are the most accurate; one is faster, the other smaller.
    assert front_of(cifar) == statics | {"fp32_baseline", "ptq_dynamic_int8"}


def test_experiments_that_tie_in_everything_are_both_on_the_front(make_record):
    assert front_of([make_record("w/a"), make_record("w/b")]) == {"a", "b"}


def test_an_experiment_that_was_not_timed_beats_nobody_that_was(make_record):
    untimed, timed = make_record("w/untimed", correct=950, kib=100, speedup=None), make_record("w/timed")
    assert front_of([untimed, timed]) == {"untimed", "timed"}


def test_an_experiment_that_was_not_timed_is_beaten_by_accuracy_and_size_alone(make_record):
    untimed, timed = make_record("w/untimed", correct=800, speedup=None), make_record("w/timed", correct=900)
    assert front_of([untimed, timed]) == {"timed"}


def test_the_baseline_counts_with_its_own_time(make_record):
    slow = make_record("w/slow", correct=909, kib=1_100, speedup=0.9)
    assert front_of([make_record("w/fp32_baseline", 910, 1_100, None), slow]) == {"fp32_baseline"}


@settings(deadline=None, max_examples=60)
@given(figures=st.lists(FIGURES, min_size=1, max_size=7))
def test_the_front_is_what_brute_force_finds(make_record, figures):
    records = [make_record(f"w/e{i}", *values) for i, values in enumerate(figures)]

    def beaten(mine):
        return any(
            other[0] >= mine[0] and other[1] <= mine[1] and other[2] >= mine[2] and other != mine for other in figures
        )

    assert front_of(records) == {f"e{i}" for i, mine in enumerate(figures) if not beaten(mine)}


@settings(deadline=None, max_examples=60)
@given(points=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=8))
def test_the_line_of_a_panel_is_the_best_accuracy_up_to_each_cost(points):
    steps = staircase(points)
    assert set(steps) <= set(points)
    for cost in range(6):
        reached = [y for x, y in points if x <= cost]
        assert [y for x, y in steps if x <= cost][-1:] == ([max(reached)] if reached else [])
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(steps))


def test_the_table_shows_intervals_bytes_and_marks_the_front(make_record):
    table = pareto_markdown([make_record("w/good", 900, 300, 2.0), make_record("w/bad", 890, 400, None)])
    assert table.splitlines() == [
        "**w** (n = 1,000)",
        "",
        "| front | experiment | accuracy % [95 %] | bytes | time / fp32 [99 %] |",
        "| :---: | --- | ---: | ---: | ---: |",
        "| ● | good | 90.00 [87.98, 91.71] | 307,200 | 0.50 [0.48, 0.53] |",
        "|  | bad | 89.00 [86.91, 90.79] | 409,600 | – |",
    ]


def test_records_without_accuracy_or_size_are_left_out(make_record):
    partial = make_record("w/partial").model_copy(update={"size": None})
    assert [record.experiment for record in by_workload([partial, make_record("w/whole")])["w"]] == ["w/whole"]


def test_records_that_cannot_be_compared_at_all_are_refused_with_what_to_do(make_record):
    partial = make_record("w/partial").model_copy(update={"accuracy": None})
    with pytest.raises(
        ConfigError, match="no record has both accuracy and size; measure all claims with: pytest bench"
    ):
        by_workload([partial])


@pytest.mark.parametrize("speedup", [0.0, -1.0, float("nan")])
def test_a_speedup_that_no_clock_could_measure_is_named(make_record, speedup):
    broken = make_record("w/broken")
    latency = broken.latency.model_copy(update={"speedup": speedup, "speedup_interval": (speedup, speedup)})
    with pytest.raises(ConfigError, match=r"w/broken: its record has a speed-up of .*; measure it again"):
        pareto_points([broken.model_copy(update={"latency": latency})])
