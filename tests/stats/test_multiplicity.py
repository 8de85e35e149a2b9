"""Many gates in one run: the level a FAIL needs, the promise made for it, and whether it is kept."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantbench.errors import StatisticsError
from quantbench.stats.intervals import Interval, two_sided_z
from quantbench.stats.multiplicity import Family
from quantbench.stats.paired import PairedOutcomes, tango_interval
from quantbench.stats.verdicts import Outcome, at_least, at_most

GATES = 20
RUNS = 2_000


@pytest.mark.parametrize(
    ("gates", "own", "level"),
    [
        (0, 0.95, 0.95),
        (1, 0.95, 0.95),
        (2, 0.95, 0.975),
        (3, 0.95, 1 - 0.05 / 3),
        (12, 0.95, 1 - 0.05 / 12),
        (12, 0.99, 1 - 0.05 / 12),
        (5, 0.99, 0.99),
        (4, 0.99, 0.99),
        (40, 0.95, 0.99875),
    ],
)
def test_the_level_shares_the_false_alarms_but_never_goes_below_the_gates_own(gates, own, level):
    assert Family(gates).level(own) == pytest.approx(level, abs=1e-15)


def test_another_rate_of_false_alarms_changes_the_level():
    assert Family(10, false_alarm=0.01).level(0.95) == pytest.approx(0.999)


@given(st.integers(min_value=1, max_value=10_000), st.floats(min_value=0.001, max_value=0.5), st.floats(0.5, 0.9999))
def test_the_tails_of_all_gates_together_are_at_most_the_promise(gates, false_alarm, own):
    level = Family(gates, false_alarm).level(own)
    assert gates * (1.0 - level) <= false_alarm * (1.0 + 1e-9)
    assert own <= level < 1.0


def test_the_summary_says_how_many_gates_what_a_fail_needs_and_what_is_promised():
    assert Family(12).sentence() == (
        "12 gates judged by intervals: a FAIL needs its whole 99.58 % interval (or its own, where that is wider) "
        "beyond the bound, so that all of them together raise a false alarm in at most 5 % of runs"
    )


@pytest.mark.parametrize(
    ("gates", "false_alarm", "part"),
    [
        (0, 0.05, "no gate judged by an interval: no false alarm to correct for"),
        (1, 0.05, "1 gate judged by an interval: a FAIL needs the whole interval beyond the bound, so that it raises"),
        (2, 0.05, "its whole 97.5 % interval"),
        (3, 0.05, "its whole 98.3 % interval"),
        (40, 0.05, "its whole 99.88 % interval"),
        (400, 0.05, "its whole 99.987 % interval"),
        (10, 0.01, "in at most 1 % of runs"),
    ],
)
def test_the_summary_rounds_to_what_the_level_leaves_out(gates, false_alarm, part):
    assert part in Family(gates, false_alarm).sentence()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Family(-1), "a run cannot have -1 gates; count those judged by an interval"),
        (lambda: Family(3, 5), "false_alarm 5 is not strictly between 0 and 1; write 5 % of runs as 0.05"),
        (lambda: Family(3, 0.0), "false_alarm 0.0 is not strictly between 0 and 1; write 5 % of runs as 0.05"),
        (lambda: Family(3).level(95), "confidence level 95 is not strictly between 0 and 1; write 95 % as 0.95"),
    ],
)
def test_a_family_that_cannot_be_is_refused(make, message):
    with pytest.raises(StatisticsError) as error:
        make()
    assert str(error.value) == message


def false_alarms(fails):
    """Share of runs in which any gate failed; `fails` has shape (runs, gates)."""
    return float(np.mean(fails.any(axis=1)))


@pytest.mark.parametrize("judge", [at_most, at_least])
def test_many_gates_at_their_bound_fail_together_as_seldom_as_promised_and_only_if_corrected(judge):
    # Estimates with normal noise of 1 around a true value that is the bound: the intervals keep their level exactly.
    estimates = np.random.default_rng(7).standard_normal((RUNS, GATES))

    def fails(level):
        """Judges every estimate; the verdict needs its own interval of 95 % and a strict one at `level`."""
        own, z = two_sided_z(0.95), two_sided_z(level)

        def failed(x):
            strict = Interval(x - z, x + z, level) if level > 0.95 else None
            verdict = judge("q", x, Interval(x - own, x + own, 0.95), 0.0, 1, "", "", strict)
            return verdict.outcome is Outcome.FAIL

        return np.array([[failed(x) for x in run] for run in estimates.tolist()])

    corrected, uncorrected = false_alarms(fails(Family(GATES).level(0.95))), false_alarms(fails(0.95))
    # Standard error of the share of runs: 0.005. Expected: 1 - 0.99875**20 = 0.025 and 1 - 0.975**20 = 0.397.
    assert 0.01 < corrected < 0.04
    assert 0.36 < uncorrected < 0.44


def test_accuracy_gates_at_their_bound_fail_together_as_seldom_as_promised_and_only_if_corrected():
    # True drop 1 pp, 5 % of 2,000 samples change: the probability that one gate fails is 0.0252 alone and 0.0013 of 20.
    n, bound = 2_000, 0.01
    draws = np.random.default_rng(11).multinomial(n, [0.03, 0.02, 0.95], size=RUNS * GATES)
    tables, which = np.unique(draws[:, :2], axis=0, return_inverse=True)

    def fails(level):
        def failed(lost, gained):
            pair = PairedOutcomes(n, lost, gained)
            strict = tango_interval(pair, level) if level > 0.95 else None
            verdict = at_most("drop", pair.drop, tango_interval(pair), bound, n, "", "", strict)
            return verdict.outcome is Outcome.FAIL

        per_table = np.array([failed(lost, gained) for lost, gained in tables.tolist()])
        return per_table[which].reshape(RUNS, GATES)

    assert 0.01 < false_alarms(fails(Family(GATES).level(0.95))) < 0.045
    assert 0.35 < false_alarms(fails(0.95)) < 0.45
