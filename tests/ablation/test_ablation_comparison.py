"""Rows are compared with the first on the same test samples, and their ranking with the published one."""

from pathlib import Path

import numpy as np
import pytest

from quantbench.ablation.comparison import compare
from quantbench.config.ablation import find_ablation
from quantbench.records.ablation import AblationRecord
from quantbench.records.base import pack_bits
from quantbench.stats.paired import PairedOutcomes, tango_interval
from quantbench.stats.proportions import wilson_interval
from quantbench.stats.ranking import agreement


@pytest.fixture
def compared(three, make_trained):
    """Compares rows of these accuracies; None stands for a row that failed."""

    def compared(*shares):
        ablation = find_ablation("three", Path("configs"))
        names = [row.name for row in ablation.rows]
        trained = {name: make_trained(share) for name, share in zip(names, shares, strict=True) if share is not None}
        failed = {name: "the loss is nan" for name in names if name not in trained}
        return compare(ablation, trained, failed, {"test": "0" * 64}, "quantbench ablate three")

    return compared


def test_a_row_has_its_accuracy_on_the_test_split_and_at_its_best_epoch_on_the_validation_split(compared):
    row = compared(0.9, 0.85, 0.8).rows[1]
    test, validation = wilson_interval(850, 1_000), wilson_interval(140, 200)
    assert (row.accuracy, row.accuracy_interval) == (0.85, (test.low, test.high))
    assert (row.validation_accuracy, row.validation_interval) == (0.7, (validation.low, validation.high))


def test_the_difference_to_the_first_row_is_of_pairs_with_tangos_interval(compared):
    first, second, third = compared(0.9, 0.85, 0.93).rows
    assert first.difference_pp is first.difference_interval_pp is None
    assert (second.difference_pp, third.difference_pp) == (pytest.approx(-5), pytest.approx(3))
    interval = tango_interval(PairedOutcomes(1_000, lost=30, gained=0))
    assert third.difference_interval_pp == pytest.approx((100 * interval.low, 100 * interval.high))
    assert second.difference_interval_pp[0] < -5 < second.difference_interval_pp[1] < 0


def test_rows_that_are_right_on_different_samples_are_less_certain_than_rows_that_are_right_on_the_same(
    three, make_trained
):
    ablation = find_ablation("three", Path("configs"))
    names = [row.name for row in ablation.rows]
    trained = {names[0]: make_trained(0.9), names[1]: make_trained(0.85), names[2]: make_trained(0.85, seed=1)}
    _, alike, unlike = compare(ablation, trained, {}, {}, "").rows
    widths = [row.difference_interval_pp[1] - row.difference_interval_pp[0] for row in (alike, unlike)]
    assert widths[1] > 2 * widths[0]


def test_the_rankings_agreement_is_kendalls_tau_over_rows_with_both_figures(compared):
    record = compared(0.9, 0.8, 0.85)
    expected = agreement((92.8, 88.4, 86.5), (0.9, 0.8, 0.85))
    assert (record.tau, record.p_value, record.n_ranked) == (expected.tau, expected.p_value, 3)
    assert record.tau == pytest.approx(1 / 3)


def test_neighbours_are_those_of_the_published_ranking_with_what_is_separated(compared):
    record = compared(0.9, 0.8, 0.801)
    assert record.ranked_by == "published"
    assert [(pair.upper, pair.lower) for pair in record.pairs] == [
        ("reference", "small_rate"),
        ("small_rate", "no_schedule"),
    ]
    assert [pair.separated for pair in record.pairs] == [True, False]
    assert record.pairs[0].difference_pp == pytest.approx(10)
    assert record.pairs[0].interval_pp[0] < 10 < record.pairs[0].interval_pp[1]


def test_without_published_figures_neighbours_are_those_of_our_own_ranking(three, compared):
    for figure in ("{published: 92.8}", "{lr: 0.001, published: 88.4}"):
        three.edit(figure, figure.replace("published: 92.8", "").replace(", published: 88.4", ""))
    record = compared(0.8, 0.9, 0.7)
    assert (record.ranked_by, record.tau, record.n_ranked) == ("measured", None, 1)
    assert [(pair.upper, pair.lower) for pair in record.pairs] == [
        ("small_rate", "reference"),
        ("reference", "no_schedule"),
    ]


def test_a_row_that_failed_says_why_and_is_compared_with_nothing(compared):
    record = compared(0.9, None, 0.8)
    assert (record.rows[1].failed, record.rows[1].accuracy) == ("the loss is nan", None)
    assert [(pair.upper, pair.lower) for pair in record.pairs] == [("reference", "no_schedule")]
    assert record.n_ranked == 2


def test_without_the_first_row_the_others_stand_alone(compared):
    record = compared(None, 0.9, 0.8)
    assert [row.difference_pp for row in record.rows] == [None, None, None]
    assert record.rows[1].accuracy == 0.9
    assert compared(None, None, 0.8).pairs == []


def test_a_training_without_validation_has_no_validation_figures(three, make_trained):
    ablation = find_ablation("three", Path("configs"))
    plain = make_trained(0.9, best_epoch=None, n_validation=0)
    row = compare(ablation, {"reference": plain}, {}, {}, "").rows[0]
    assert (row.validation_accuracy, row.validation_interval, row.accuracy) == (None, None, 0.9)


def test_a_record_survives_json(compared):
    record = compared(0.9, None, 0.85)
    assert AblationRecord.model_validate_json(record.model_dump_json()) == record


def test_rows_of_different_test_samples_are_no_pairs(three, make_trained):
    ablation = find_ablation("three", Path("configs"))
    trained = {"reference": make_trained(0.9), "small_rate": make_trained(0.9, n=999)}
    with pytest.raises(ValueError, match=r"999 samples.* 1000; evaluate both"):
        compare(ablation, trained, {}, {}, "")


def test_bits_are_kept_for_every_sample(make_trained):
    row = make_trained(0.9)
    assert row.bits.sum() == 900
    assert pack_bits(row.bits) == row.correct
    assert row.bits.dtype == np.bool_
