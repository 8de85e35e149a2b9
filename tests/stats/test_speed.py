"""What paired times say of a speed-up: its interval, whether a control strays, what was lost, and when to stop."""

from itertools import pairwise

import numpy as np
import pytest

from quantbench.stats.intervals import Interval
from quantbench.stats.ratios import order_statistic_interval
from quantbench.stats.regression import Change, change_of
from quantbench.stats.sequential import Looks
from quantbench.stats.speed import CONTROL_TOLERANCE, SpeedQuestions, Speedup, speed_loss

LOOKS = Looks(first=40, count=4, level=0.99)


def speedup(low, estimate, high):
    return Speedup(estimate, Interval(low, high, 0.99))


def test_the_interval_of_one_look_is_wider_than_one_without_further_looks_and_bears_the_level_of_all():
    ratios = np.random.default_rng(0).lognormal(0.5, 0.1, 40)
    found = Speedup.of(ratios, LOOKS)
    alone = order_statistic_interval(ratios, 0.99)
    assert found.estimate == np.median(ratios)
    assert found.interval.low < alone.low < alone.high < found.interval.high
    assert found.interval.level == 0.99


@pytest.mark.parametrize("seed", range(6))
def test_the_interval_is_the_distribution_free_one_at_the_level_of_a_look(seed):
    ratios = np.random.default_rng(seed).lognormal(0.5, 0.1, 40)
    found, look = Speedup.of(ratios, LOOKS).interval, order_statistic_interval(ratios, LOOKS.level_of_each)
    assert (found.low, found.high) == (look.low, look.high)
    assert found.low in ratios
    assert found.high in ratios


@pytest.mark.parametrize(
    ("low", "estimate", "high", "deviates"),
    [
        (0.99, 1.0, 1.01, False),
        (1.005, 1.01, 1.02, False),
        (1.02, 1.03, 1.04, False),
        (1.021, 1.03, 1.04, True),
        (1 / 1.02, 0.985, 0.99, False),
        (0.96, 0.97, 0.98, True),
        (0.7, 1.0, 1.4, False),
    ],
)
def test_a_control_strays_when_it_is_surely_further_from_1_than_2_percent(low, estimate, high, deviates):
    assert speedup(low, estimate, high).deviates is deviates


def test_a_control_strays_alike_whichever_of_its_two_times_is_the_longer():
    for shift in (1.01, 1.03):
        longer = speedup(0.999 * shift, shift, 1.001 * shift)
        shorter = speedup(1 / (1.001 * shift), 1 / shift, 1 / (0.999 * shift))
        assert longer.deviates is shorter.deviates is (shift > 1 + CONTROL_TOLERANCE)


def test_the_loss_is_the_share_of_the_accepted_speedup_that_is_gone():
    loss = speed_loss(speedup(3.6, 3.6, 3.6), speedup(4.0, 4.0, 4.0))
    assert (loss.low, loss.high) == pytest.approx((0.1, 0.1))
    gain = speed_loss(speedup(4.4, 4.4, 4.4), speedup(4.0, 4.0, 4.0))
    assert (gain.low, gain.high) == pytest.approx((-0.1, -0.1))


def test_the_loss_is_as_uncertain_as_both_measurements():
    accepted, exact = speedup(3.8, 4.0, 4.2), speedup(4.0, 4.0, 4.0)
    one = speed_loss(exact, accepted)
    both = speed_loss(speedup(3.8, 4.0, 4.2), accepted)
    assert both.low < one.low < 0 < one.high < both.high


QUESTIONS = {
    "nothing asked": (SpeedQuestions(), True),
    "reached": (SpeedQuestions(bound=1.7), True),
    "reached exactly": (SpeedQuestions(bound=1.9), True),
    "missed": (SpeedQuestions(bound=2.2), True),
    "bound inside": (SpeedQuestions(bound=2.05), False),
    "bound at the upper limit": (SpeedQuestions(bound=2.1), False),
    "as accepted": (SpeedQuestions(accepted=speedup(1.99, 2.0, 2.01), margin=0.1), True),
    "regressed": (SpeedQuestions(accepted=speedup(3.9, 4.0, 4.1), margin=0.1), True),
    "margin inside": (SpeedQuestions(accepted=speedup(2.1, 2.2, 2.3), margin=0.1), False),
    "one of both": (SpeedQuestions(bound=1.7, accepted=speedup(2.1, 2.2, 2.3), margin=0.1), False),
    "the other of both": (SpeedQuestions(bound=2.05, accepted=speedup(1.99, 2.0, 2.01), margin=0.1), False),
}


@pytest.mark.parametrize(("questions", "answered"), QUESTIONS.values(), ids=QUESTIONS)
def test_a_measurement_may_stop_when_every_question_is_answered(questions, answered):
    assert questions.answered(speedup(1.9, 2.0, 2.1)) is answered


def test_what_may_stop_is_what_the_verdict_decides():
    accepted = speedup(3.9, 4.0, 4.1)
    changes = []
    for estimate in np.linspace(3.0, 5.0, 41):
        now = speedup(0.97 * estimate, estimate, 1.03 * estimate)
        change = change_of(speed_loss(now, accepted), 0.1)
        assert SpeedQuestions(accepted=accepted, margin=0.1).answered(now) is (change is not Change.INCONCLUSIVE)
        changes.append(change)
    told = [changes[0], *(now for before, now in pairwise(changes) if now is not before)]
    assert told == [Change.REGRESSED, Change.INCONCLUSIVE, Change.SAME, Change.IMPROVED]
