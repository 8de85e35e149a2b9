"""Class by class: one that is never answered any more fails without a gate, and the worst recall may be gated."""

from types import SimpleNamespace

import numpy as np
import pytest

from quantbench.quantities.answered_classes import ANSWERED_CLASSES
from quantbench.quantities.worst_class_drop import WORST_CLASS_DROP
from quantbench.records.classes import ClassFacts, pack_answers, unpack_answers
from quantbench.stats.multiplicity import Family
from quantbench.stats.paired import PairedOutcomes
from quantbench.stats.power import least_drop
from quantbench.stats.verdicts import Outcome

NAMES = ("ants", "bees", "cats")
RUN = SimpleNamespace(settings=SimpleNamespace(family=Family(1)), sampling=None)


def facts(table, names=NAMES):
    """Facts of `(label, answer before, answer after, samples)` rows."""
    labels, before, after = (np.repeat([row[i] for row in table], [row[3] for row in table]) for i in range(3))
    return ClassFacts.of(names, labels, before, after)


def answered(*table, names=NAMES):
    return ANSWERED_CLASSES.judge(RUN, facts(table, names), None)


def test_a_model_that_gives_every_sample_one_answer_fails_though_its_accuracy_rose():
    # 1,480 : 10 : 10, of which the reference misses 20 of the common class.
    verdict = answered((0, 0, 0, 1460), (0, 1, 0, 20), (1, 1, 0, 10), (2, 2, 0, 10))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.measured == (
        "1 of the 3 classes that the reference answers (n=1,500); never answered: "
        "'bees' (30 times by the reference), 'cats' (10 times by the reference)"
    )
    assert verdict.warning.startswith("the answers moved: 'bees' is given 0 times, by the reference 30 times (")


@pytest.mark.parametrize(("n", "outcome"), [(4, Outcome.INCONCLUSIVE), (5, Outcome.FAIL)])
def test_so_few_answers_that_they_may_be_lost_by_accident_decide_nothing(n, outcome):
    verdict = answered((0, 0, 0, 100), (1, 1, 0, n))
    assert verdict.outcome is outcome
    assert ("5 of a class would decide" in verdict.measured) == (outcome is Outcome.INCONCLUSIVE)


def test_a_class_of_which_no_answer_is_right_any_more_fails_though_it_is_still_given():
    verdict = answered((0, 0, 0, 1480), (1, 1, 0, 10), (0, 0, 1, 1), (2, 2, 2, 10))
    assert verdict.outcome is Outcome.FAIL
    assert "'bees' (10 times by the reference)" in verdict.measured


def test_lost_right_answers_are_told_by_their_number_and_not_by_that_of_all_answers():
    # The reference answers 'bees' 292 times and is right twice; the candidate 290 times and never right.
    verdict = answered((0, 0, 0, 100), (1, 1, 0, 2), (0, 1, 1, 290))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.measured.endswith(
        "; answered, but never rightly: 'bees' (2 times by the reference); so few right answers may be lost by "
        "accident: 5 of a class would decide"
    )


def test_classes_that_are_never_answered_are_told_from_those_that_are_never_right():
    verdict = answered((0, 0, 0, 100), (1, 1, 0, 9), (2, 2, 0, 8), (0, 2, 2, 1))
    assert verdict.outcome is Outcome.FAIL
    assert verdict.measured.endswith(
        "; never answered: 'bees' (9 times by the reference); answered, but never rightly: 'cats' (8 times by the "
        "reference)"
    )


def test_a_class_that_the_reference_never_answers_is_not_missed():
    assert answered((0, 0, 0, 50), (1, 1, 1, 50), (2, 0, 0, 10)).outcome is Outcome.PASS


def test_answers_for_which_the_data_has_no_class_are_counted_by_their_output():
    verdict = answered((0, 0, 0, 50), (1, 7, 1, 9), names=NAMES)
    assert verdict.outcome is Outcome.FAIL
    assert "'output 7' (9 times by the reference)" in verdict.measured


def test_equal_answers_warn_of_nothing_and_a_few_flips_neither():
    assert answered((0, 0, 0, 50), (1, 1, 1, 50), (2, 2, 2, 50)).warning == ""
    assert answered((0, 0, 1, 6), (0, 0, 0, 50), (1, 1, 0, 2), (1, 1, 1, 50), (2, 2, 2, 50)).warning == ""


def test_a_change_that_is_certain_and_small_is_no_warning():
    assert answered((0, 0, 0, 500), (1, 1, 0, 20), (1, 1, 1, 480)).warning == ""


def test_answers_that_moved_are_a_warning_that_decides_nothing():
    verdict = answered((0, 0, 0, 150), (1, 1, 0, 20), (1, 1, 1, 480))
    assert (verdict.outcome, verdict.warning) == (
        Outcome.PASS,
        "the answers moved: 'ants' is given 170 times, by the reference 150 times (exact test, corrected for 3 "
        "classes, p = 5.7e-06)",
    )


def drop(bound, *table, gates=1):
    run = SimpleNamespace(settings=SimpleNamespace(family=Family(gates)), sampling=None)
    return WORST_CLASS_DROP.judge(run, facts(table), bound)


RARE_LOST = ((0, 0, 0, 1400), (1, 1, 0, 30), (1, 1, 1, 30), (2, 2, 2, 40))


def test_a_rare_class_that_loses_half_of_its_recall_fails_where_the_mean_hides_it():
    verdict = drop(10.0, *RARE_LOST)
    assert (verdict.outcome, verdict.n, verdict.estimate) == (Outcome.FAIL, 60, 50.0)
    assert verdict.measured.startswith("50.00 pp [")
    assert "of 'bees' (recall 100.00 % → 50.00 %, n=60: 30 lost, 0 gained), of 3 classes" in verdict.measured


def test_every_class_within_the_bound_passes():
    assert drop(10.0, (0, 0, 0, 500), (1, 1, 1, 300), (1, 1, 0, 3), (2, 2, 2, 200)).outcome is Outcome.PASS


def test_a_class_of_too_few_samples_is_inconclusive_and_named():
    verdict = drop(10.0, (0, 0, 0, 500), (1, 1, 1, 300), (2, 2, 2, 5))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "of 'cats' (recall 100.00 % → 100.00 %, n=5: " in verdict.measured


def test_a_fail_is_corrected_for_the_number_of_classes_and_of_gates():
    # 13.3 pp at 95 %, less at a level of which three classes, or forty gates, have their share.
    lost = ((0, 0, 0, 500), (1, 1, 0, 20), (1, 1, 1, 80), (2, 2, 2, 300))
    assert drop(13.0, *lost).outcome is Outcome.INCONCLUSIVE
    assert drop(11.0, *lost).outcome is Outcome.FAIL
    assert drop(11.0, *lost, gates=40).outcome is Outcome.INCONCLUSIVE


def test_a_class_without_samples_is_not_judged():
    measured = drop(10.0, (0, 0, 0, 500), (1, 1, 1, 300)).measured
    assert ", of 2 classes; a drop of 2.60 pp of it would be detected (power 80 %)" in measured


@pytest.mark.parametrize("largest", [1, 255, 256, 65_535, 70_000])
def test_answers_are_packed_in_as_few_bytes_as_hold_them(largest):
    answers = np.array([0, largest, 1])
    packed = pack_answers(answers)
    assert unpack_answers(packed, 3).tolist() == answers.tolist()
    assert len(packed) == 4 * -(-3 * (1 if largest < 256 else 2 if largest < 65_536 else 4) // 3)


def test_counts_that_are_not_those_of_the_answers_are_impossible():
    found = facts(RARE_LOST)
    assert found.impossible() is None
    changed = found.classes[0].model_copy(update={"fp32_answers": 7})
    assert found.model_copy(update={"classes": [changed, *found.classes[1:]]}).impossible() is not None
    assert found.model_copy(update={"labels": found.labels[:-8]}).impossible() is not None
    assert found.model_copy(update={"n": 3}).impossible() is not None


def test_the_class_that_hides_most_is_told_with_the_drop_that_its_few_samples_would_show():
    # 500 of the common class of which 10 are lost, 20 of a rare one of which none is.
    measured = drop(10.0, (0, 0, 0, 490), (0, 0, 1, 10), (1, 1, 1, 20)).measured
    rare = 100 * least_drop(PairedOutcomes(20, 0, 0), 0.95)
    assert f"of {rare:.2f} pp" in measured
    assert measured.endswith("(power 80 %)")
