"""What is read around a forward: both clocks, switches and page faults, and what a form's samples tell of them."""

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from quantbench.measure import clocks
from quantbench.measure.clocks import PROCESSOR, WALL, Reading, Samples, after_forward, before_forward, counts_switches

COUNTED = pytest.mark.skipif(not counts_switches(), reason="this system does not count the switches of a thread")


def took(forward):
    before = before_forward()
    forward()
    return after_forward().since(before)


def compute():
    return sum(i * i for i in range(200_000))


@COUNTED
def test_a_sleep_takes_wall_time_and_no_processor_time_and_is_a_voluntary_switch():
    found = took(lambda: time.sleep(0.02))
    assert found.wall_s >= 0.02
    assert found.thread_s < 0.01
    assert found.voluntary >= 1


@COUNTED
def test_computing_takes_processor_time_of_the_thread_and_waits_for_nothing():
    readings = [took(compute) for _ in range(5)]
    assert all(0 < each.thread_s <= each.wall_s * 1.01 for each in readings)
    assert min(each.voluntary for each in readings) == 0


@COUNTED
def test_work_handed_to_another_thread_is_the_processs_and_not_the_threads():
    def hand_over():
        worker = threading.Thread(target=compute)
        worker.start()
        worker.join()

    found = took(hand_over)
    assert found.process_s > 3 * found.thread_s
    assert Samples.of([found]).elsewhere > 2


def test_a_system_that_counts_nothing_tells_wall_time_alone(monkeypatch):
    monkeypatch.setattr(clocks, "resource", None)
    assert not counts_switches()
    found = took(compute)
    assert found == Reading(found.wall_s)
    assert found.wall_s > 0
    assert Samples.of([found]).is_wall_alone


def test_a_system_without_counters_of_a_thread_tells_wall_time_alone(monkeypatch):
    monkeypatch.setattr(clocks, "resource", SimpleNamespace(RUSAGE_SELF=0))
    assert took(compute).thread_s == 0


READINGS = [
    Reading(0.0110, 0.0100, 0.0101, 0, 2, 5, 0),
    Reading(0.0101, 0.0100, 0.0100, 0, 1, 0, 0),
    Reading(0.0200, 0.0100, 0.0100, 1, 0, 0, 0),
    Reading(0.0100, 0.0100, 0.0099, 0, 0, 0, 1),
]


def test_samples_are_the_columns_of_the_readings():
    samples = Samples.of(READINGS)
    assert samples.by(WALL).tolist() == [0.0110, 0.0101, 0.0200, 0.0100]
    assert samples.by(PROCESSOR).tolist() == [0.0100] * 4
    assert samples.minor_faults.tolist() == [5, 0, 0, 0]
    assert samples.major_faults.tolist() == [0, 0, 0, 1]
    assert not samples.is_wall_alone


def test_a_preempted_forward_is_disturbed_if_it_was_away_for_long():
    samples = Samples.of(READINGS)
    assert samples.preempted.tolist() == [True, True, False, False]
    assert samples.disturbed.tolist() == [True, False, False, False], "a sleep is no preemption, a tick no disturbance"


def test_a_forward_waits_if_it_gave_the_processor_up_or_read_a_disk():
    assert Samples.of(READINGS).waits == 0.5
    assert Samples.of(READINGS[:2]).waits == 0.0


def test_processor_time_of_other_threads_is_a_share_of_the_threads_own():
    assert Samples.of(READINGS).elsewhere == pytest.approx(0.0)
    assert Samples.of([Reading(1.0, 1.0, 3.5)]).elsewhere == pytest.approx(2.5)


def test_samples_of_wall_time_alone_say_that_nothing_else_is_known():
    samples = Samples.of_wall_time(np.array([1.0, 2.0]))
    assert samples.is_wall_alone
    assert not samples.preempted.any()
    assert samples.elsewhere == 0.0
