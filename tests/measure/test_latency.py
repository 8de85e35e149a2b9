"""Interleaved forwards: every round has every model once, in random order, and the process is put back as it was."""

import gc
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from quantbench.errors import MeasurementError
from quantbench.measure import latency
from quantbench.measure.latency import WARMUP_ROUNDS, InterleavedForwards, Timings, quiet_process, time_rounds

NAMES = {"fp32", "fp32_fastest", "int8"}


def recorded(seed=0):
    """Forwards that write their names into a list."""
    calls = []
    references = {name: lambda name=name: calls.append(name) for name in ("fp32", "fp32_fastest")}
    return InterleavedForwards(references, lambda: calls.append("int8"), seed), calls


def rounds_of(calls):
    return [calls[i : i + len(NAMES)] for i in range(0, len(calls), len(NAMES))]


def test_each_round_has_every_model_once():
    forwards, calls = recorded()
    time_rounds(forwards, 50)
    assert len(calls) == len(NAMES) * (WARMUP_ROUNDS + 50)
    assert all(set(each) == NAMES for each in rounds_of(calls))


def test_every_model_is_in_every_place_about_equally_often():
    forwards, calls = recorded()
    time_rounds(forwards, 600)
    for place in range(len(NAMES)):
        there = [each[place] for each in rounds_of(calls)]
        assert all(150 < there.count(name) < 250 for name in NAMES), "200 are expected"


def test_the_order_is_that_of_the_seed():
    orders = []
    for seed in (0, 0, 1):
        forwards, calls = recorded(seed)
        time_rounds(forwards, 10)
        orders.append(calls)
    assert orders[0] == orders[1] != orders[2]


def test_warm_up_rounds_are_run_and_not_counted():
    forwards, calls = recorded()
    timings = time_rounds(forwards, 12)
    assert calls.count("int8") == WARMUP_ROUNDS + 12
    assert timings.int8_s.shape == (12,)
    assert {name: times.shape for name, times in timings.references_s.items()} == {"fp32": (12,), "fp32_fastest": (12,)}


def test_times_measured_by_somebody_else_are_paired_with_the_last_rounds(monkeypatch):
    # A clock that moves by 1, 2, 3, … seconds between looks: each reference's time says when it was taken.
    seconds = iter(np.cumsum(range(100)).tolist())
    monkeypatch.setattr(latency, "time", SimpleNamespace(perf_counter=lambda: next(seconds)))
    forwards, _ = recorded()
    for _ in range(4):
        forwards.before()
        forwards.int8()
        forwards.after()
    timings = forwards.timings([1.0, 1.0])
    assert sorted(np.concatenate(list(timings.references_s.values()))) == [9, 11, 13, 15]


def test_a_ratio_above_one_means_that_int8_is_faster():
    timings = Timings(np.array([1.0, 2.0]), {"fp32": np.array([3.0, 1.0])})
    assert timings.ratios("fp32").tolist() == [3.0, 0.5]


@pytest.mark.parametrize("step", [0.0, -1.0], ids=["stands still", "goes backwards"])
def test_a_clock_that_does_not_advance_is_refused(monkeypatch, step):
    clock = SimpleNamespace(now=100.0)

    def perf_counter():
        clock.now += step
        return clock.now

    monkeypatch.setattr(latency, "time", SimpleNamespace(perf_counter=perf_counter))
    forwards, _ = recorded()
    with pytest.raises(MeasurementError, match="clock stood still or went backwards"):
        time_rounds(forwards, 5)


def test_one_bad_time_among_good_ones_is_refused():
    forwards, _ = recorded()
    for _ in range(3):
        forwards.before()
        forwards.after()
    with pytest.raises(MeasurementError, match="clock"):
        forwards.timings([1.0, -1e-9, 1.0])


def process_state():
    return torch.get_num_threads(), gc.isenabled(), torch.is_inference_mode_enabled()


def test_measuring_is_quiet_and_everything_is_put_back():
    before = process_state()
    threads = before[0] + 1
    with quiet_process(threads):
        assert process_state() == (threads, False, True)
    assert process_state() == before


def test_everything_is_put_back_after_a_forward_that_raises():
    before = process_state()

    def broken():
        raise RuntimeError("forward failed")

    with pytest.raises(RuntimeError, match="forward failed"), quiet_process(before[0] + 1):
        time_rounds(InterleavedForwards({"fp32": broken}, broken), 10)
    assert process_state() == before


def test_a_garbage_collector_that_was_off_stays_off():
    gc.disable()
    try:
        with quiet_process(1):
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
