"""The clock that is believed, from recorded times of both clocks, each rule for itself."""

import dataclasses

import numpy as np
import pytest

from quantbench.measure.belief import believed, measurement
from quantbench.measure.clocks import CLOCKS, Samples
from quantbench.measure.latency import FP32, FP32_AGAIN, FP32_FASTEST, INT8, REPEATED, Timings
from quantbench.measure.load import Load
from quantbench.stats.sequential import Looks

ROUNDS, K = 40, 4
LOOKS = Looks(ROUNDS, 1, 0.99, instruments=len(CLOCKS))
SECONDS = {FP32: 0.008, FP32_AGAIN: 0.008, FP32_FASTEST: 0.006, INT8: 0.002, REPEATED: K * 0.002}


def samples(seconds, away=0.0, **columns):
    """Forwards that take as long by the processor's clock, and longer by a share of it by the wall clock."""
    none = np.zeros(ROUNDS, np.int64)
    thread_s = seconds * np.tile([0.999, 1.001], ROUNDS // 2)
    made = {
        "thread_s": thread_s,
        "process_s": thread_s,
        "wall_s": thread_s * (1 + np.broadcast_to(away, ROUNDS)),
        "involuntary": np.where(np.broadcast_to(away, ROUNDS) > 0, 1, 0),
        "voluntary": none,
        "minor_faults": none,
        "major_faults": none,
    }
    return Samples(**made | {name: np.broadcast_to(column, ROUNDS) for name, column in columns.items()})


def timings(load=None, **forms):
    """Rounds of a quiet machine, but for the forms that are given."""
    made = {form: samples(seconds) for form, seconds in SECONDS.items()} | forms
    return Timings(made, repeated=(INT8, K), load=load or Load(others_cores=0.1, stolen=0.0, pressure=0.01))


def busy(longer=0.5, shorter=0.1, **forms):
    """Rounds beside others: longer forwards are preempted for more of their time."""
    made = {form: samples(SECONDS[form], longer) for form in (FP32, FP32_AGAIN, FP32_FASTEST, REPEATED)}
    return timings(Load(2.0, 0.0, 0.9), **made | {INT8: samples(SECONDS[INT8], shorter)} | forms)


def test_a_quiet_machine_is_judged_by_wall_time():
    found = believed(timings(), LOOKS, 1)
    assert (found.clock, found.note, found.doubt, found.strayed) == ("wall", "", None, False)


def test_a_busy_machine_is_judged_by_processor_time_and_says_so():
    found = believed(busy(), LOOKS, 1)
    assert (found.clock, found.doubt, found.strayed) == ("processor", None, False)
    assert found.note == (
        "by processor time: the machine was busy (100 % of forwards were preempted and lost time, 0 % of rounds are "
        "clean, others kept 2.0 cores busy, something waited for a core 90 % of the time)"
    )


def test_the_ratio_of_a_busy_machine_is_the_one_of_the_processor_time():
    rounds = busy()
    assert np.median(rounds.speedup()) == pytest.approx(4 * 1.5 / 1.1, rel=0.01), "biased by wall time"
    found = measurement(rounds, LOOKS, 1)
    assert found.speedup.estimate == pytest.approx(4.0, rel=0.01)
    assert found.control.estimate == pytest.approx(1.0, rel=0.01)
    assert found.note.startswith("by processor time")


def test_a_few_preemptions_leave_wall_time_believed():
    away = np.where(np.arange(ROUNDS) % 20 == 0, 0.5, 0.0)
    assert believed(timings(**{FP32: samples(0.008, away), INT8: samples(0.002, away)}), LOOKS, 1).clock == "wall"


def test_work_of_others_on_another_core_leaves_wall_time_believed():
    assert believed(timings(Load(others_cores=2.0, stolen=0.0, pressure=0.9)), LOOKS, 1).clock == "wall"


def test_time_that_a_hypervisor_took_makes_a_machine_busy():
    assert believed(timings(Load(others_cores=0.0, stolen=0.05, pressure=0.0)), LOOKS, 1).clock == "processor"


@pytest.mark.parametrize("form", [FP32, FP32_AGAIN, FP32_FASTEST, INT8])
@pytest.mark.parametrize("what", ["voluntary", "major_faults"])
def test_a_form_that_waits_is_not_judged_on_a_busy_machine(form, what):
    waiting = dataclasses.replace(busy().samples[form], **{what: np.ones(ROUNDS, np.int64)})
    found = believed(busy(**{form: waiting}), LOOKS, 1)
    assert found.doubt is not None
    assert found.doubt.endswith(
        f"and processor time does not tell: {form} waits in 100 % of its forwards (sleep, file, lock or other thread)"
    )


def test_a_form_that_waits_is_judged_by_wall_time_on_a_quiet_machine():
    # It sleeps for a twentieth of its forward, which is no preemption.
    sleeping = dataclasses.replace(
        samples(0.002), wall_s=samples(0.002 / 0.95).thread_s, voluntary=np.ones(ROUNDS, np.int64)
    )
    repeated = dataclasses.replace(
        samples(K * 0.002), wall_s=samples(K * 0.002 / 0.95).thread_s, voluntary=np.full(ROUNDS, K)
    )
    found = measurement(timings(**{INT8: sleeping, REPEATED: repeated}), LOOKS, 1)
    assert (found.doubt, found.note, found.strayed) == (None, "", False)
    assert found.speedup.estimate == pytest.approx(4 * 0.95, rel=0.01), "the sleep is seen"


def test_a_form_that_hands_work_to_other_threads_is_not_judged_on_a_busy_machine():
    handing = dataclasses.replace(busy().samples[INT8], process_s=2 * samples(0.002).thread_s)
    found = believed(busy(**{INT8: handing}), LOOKS, 1)
    assert found.doubt.endswith("other threads work 100 % as much as int8's own")


def test_several_threads_on_a_busy_machine_are_not_judged():
    found = believed(busy(), LOOKS, 2)
    assert found.doubt.endswith("and processor time does not tell: 2 threads wait for each other by spinning")


@pytest.mark.parametrize(("others", "is_doubted"), [(0.05, False), (0.5, True)])
def test_several_threads_are_busy_where_others_need_one_of_their_cores(monkeypatch, others, is_doubted):
    monkeypatch.setattr("quantbench.measure.belief.usable_cores", lambda: 2)
    assert (believed(timings(Load(others, 0.0, 0.01)), LOOKS, 2).doubt is not None) is is_doubted


def test_a_control_that_strays_on_a_quiet_machine_is_judged_by_processor_time_if_that_holds():
    rounds = timings(**{FP32_AGAIN: dataclasses.replace(samples(0.008), wall_s=samples(0.0072).thread_s)})
    found = believed(rounds, LOOKS, 1)
    assert (found.clock, found.strayed, found.doubt) == ("processor", False, None)
    assert found.note.startswith("by processor time: by wall time fp32 against itself was 1.111× [")


def test_a_control_that_strays_by_both_clocks_for_no_reason_leaves_nothing_believed_in_the_session():
    found = believed(timings(**{FP32_AGAIN: samples(0.0072)}), LOOKS, 1)
    assert (found.clock, found.strayed, found.doubt) == ("wall", True, None)


def test_a_control_that_strays_by_processor_time_on_a_busy_machine_leaves_this_measurement_undecided():
    found = believed(busy(**{FP32_AGAIN: samples(0.0072, 0.5)}), LOOKS, 1)
    assert found.strayed is False
    assert "processor time does not tell: fp32 against itself was 1.111× [" in found.doubt


def test_unequal_lengths_show_a_bias_that_equal_lengths_hide():
    # Every long forward loses a third to others, no short one does: a control of equal lengths is exactly 1.
    long = {form: samples(SECONDS[form], 0.5, involuntary=0) for form in (FP32, FP32_AGAIN, FP32_FASTEST, REPEATED)}
    rounds = timings(**long)
    assert np.median(rounds.control()) == pytest.approx(1.0)
    assert np.median(rounds.length_control("wall")) == pytest.approx(1.5)
    found = believed(rounds, LOOKS, 1)
    assert found.clock == "processor"
    assert found.note.startswith("by processor time: by wall time int8 4 times in a row was 1.500× [1.500, 1.500] of")
    assert believed(rounds, LOOKS, 2).doubt.startswith("by wall time int8 4 times in a row was 1.500×")


def test_warmer_caches_of_a_repeated_form_are_no_bias_of_the_wall_clock():
    rounds = timings(**{REPEATED: samples(0.9 * K * 0.002)})
    assert np.median(rounds.length_control("wall")) == pytest.approx(1.0)
    assert np.median(rounds.length_control("processor")) == pytest.approx(0.9)
    assert believed(rounds, LOOKS, 1).clock == "wall"


def test_a_length_that_the_processors_clock_gets_wrong_leaves_a_busy_machine_undecided():
    found = believed(busy(**{REPEATED: samples(0.9 * K * 0.002, 0.5)}), LOOKS, 1)
    assert "processor time does not tell: int8 4 times in a row was 0.900× [" in found.doubt


def test_a_system_that_tells_wall_time_alone_is_judged_by_it():
    alone = {form: Samples.of_wall_time(samples(seconds).wall_s) for form, seconds in SECONDS.items()}
    assert believed(timings(**alone), LOOKS, 1).clock == "wall"
    strayed = alone | {FP32_AGAIN: Samples.of_wall_time(samples(0.0072).wall_s)}
    found = believed(timings(Load(), **strayed), LOOKS, 1)
    assert (found.strayed, found.clock) == (True, "wall")


def test_clean_rounds_are_those_in_which_nothing_was_preempted():
    away = np.where(np.arange(ROUNDS) < 10, 0.5, 0.0)
    assert timings(**{REPEATED: samples(0.008, away)}).clean == 0.75
    assert timings().clean == 1.0
