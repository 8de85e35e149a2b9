"""Interleaved forwards: warm-up until stable, every form once a round in random order, rounds until they decide."""

import gc
import os
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from quantbench.errors import MeasurementError
from quantbench.measure import latency, load
from quantbench.measure.clocks import Reading, Samples
from quantbench.measure.latency import (
    FP32,
    FP32_AGAIN,
    FP32_FASTEST,
    INT8,
    MAX_REPEATS,
    MAX_WARMUP_ROUNDS,
    REPEATED,
    WARMUP_WINDOW,
    Timings,
    quiet_process,
    time_forwards,
    untimed_reason,
)
from quantbench.measure.load import Moment
from quantbench.stats.sequential import Looks

NAMES = {FP32, FP32_AGAIN, FP32_FASTEST, INT8}
LOOKS = Looks(first=12, count=4, level=0.99)
PLENTY_S = 1e9


class Machine:
    """A clock that advances only while a forward runs, by what its `cost(form, call)` says, in seconds."""

    def __init__(self, cost=lambda *_: 1.0):
        self.now, self.cost = 0.0, cost
        self.timed = []
        self._counts = {name: count() for name in NAMES}

    def perf_counter(self):
        return self.now

    def forwards(self):
        return {name: lambda name=name: self._run(name) for name in sorted(NAMES)}

    def before(self):
        self.timed.append([])
        return Reading(self.now)

    def _run(self, name):
        self.timed[-1].append(name)
        self.now += self.cost(name, next(self._counts[name]))

    @property
    def forms(self):
        """Forms in the order in which they were timed; one that was run several times in a row is the repeated one."""
        return [names[0] if len(names) == 1 else REPEATED for names in self.timed]

    def rounds(self, warmup_rounds=2 * WARMUP_WINDOW):
        warm, forms = warmup_rounds * len(NAMES), self.forms
        size = len(NAMES) + 1
        counting = [forms[i : i + size] for i in range(warm, len(forms), size)]
        return [forms[i : i + len(NAMES)] for i in range(0, warm, len(NAMES))], counting


@pytest.fixture
def measured(monkeypatch):
    """Times the forwards of a machine by its own clock."""

    def run(machine, looks=LOOKS, budget_s=PLENTY_S, decided=lambda _: False, seed=0, **waiting):
        monkeypatch.setattr(latency, "time", machine)
        monkeypatch.setattr(latency, "before_forward", machine.before)
        monkeypatch.setattr(latency, "after_forward", lambda: Reading(machine.now))
        monkeypatch.setattr(latency, "moment", lambda: Moment(machine.now, machine.now))
        return time_forwards(machine.forwards(), looks, budget_s, decided, seed, **waiting)

    return run


def test_each_round_has_every_form_once(measured):
    machine = Machine()
    timings = measured(machine)
    warm, counting = machine.rounds()
    assert all(len(each) == len(NAMES) and set(each) == NAMES for each in warm)
    assert all(len(each) == len(NAMES) + 1 and set(each) == {*NAMES, REPEATED} for each in counting)
    assert (len(warm), len(counting)) == (timings.warmup_rounds, timings.rounds)


def test_every_form_is_in_every_place_about_equally_often(measured):
    machine = Machine()
    measured(machine, Looks(1000, 1, 0.99))
    _, counting = machine.rounds()
    for place in range(len(NAMES) + 1):
        there = [each[place] for each in counting]
        assert all(150 < there.count(name) < 250 for name in (*NAMES, REPEATED)), "200 are expected"


def test_the_order_is_that_of_the_seed_and_another_in_each_round(measured):
    orders = []
    for seed in (0, 0, 1):
        machine = Machine()
        measured(machine, seed=seed)
        orders.append(machine.forms)
    assert orders[0] == orders[1] != orders[2]
    assert len({tuple(each) for each in machine.rounds()[1]}) > 12


def test_times_stand_beside_those_of_the_same_round(measured):
    # Every form of a round takes as long as the round has its number: what disturbs one disturbs its neighbours.
    timings = measured(Machine(lambda form, call: float(call + 1) if form != INT8 else 1e6))
    expected = [(timings.warmup_rounds + i + 1) / 1e6 for i in range(timings.rounds)]
    assert timings.speedup(FP32_FASTEST).tolist() == expected
    assert timings.samples[FP32_FASTEST].wall_s[0] == timings.warmup_rounds + 1


@pytest.mark.parametrize(
    ("fp32_s", "int8_s", "form", "repeats"),
    [(4.6, 1.0, INT8, 5), (1.0, 3.2, FP32, 3), (1.0, 1.05, FP32, 2), (100.0, 1.0, INT8, MAX_REPEATS)],
)
def test_the_shorter_of_both_is_repeated_until_it_is_as_long_as_the_longer_one(measured, fp32_s, int8_s, form, repeats):
    timings = measured(Machine(lambda name, _: int8_s if name == INT8 else fp32_s))
    assert timings.repeated == (form, repeats)
    expected = pytest.approx(repeats * min(fp32_s, int8_s))
    assert timings.samples[REPEATED].wall_s.tolist() == [expected] * timings.rounds


def test_a_ratio_above_one_means_that_int8_is_faster_than_its_reference():
    seconds = {FP32: [3.0, 1.0], FP32_AGAIN: [1.5, 2.0], FP32_FASTEST: [2.0, 4.0], INT8: [1.0, 2.0]}
    timings = Timings({form: Samples.of_wall_time(np.array(times)) for form, times in seconds.items()})
    assert timings.speedup().tolist() == [3.0, 0.5]
    assert timings.speedup(FP32_FASTEST).tolist() == [2.0, 2.0]
    assert timings.control().tolist() == [2.0, 0.5]


def test_forwards_that_are_steady_warm_up_for_two_windows_which_do_not_count(measured):
    timings = measured(Machine())
    assert timings.warmup_rounds == 2 * WARMUP_WINDOW
    shapes = {name: each.wall_s.shape for name, each in timings.samples.items()}
    assert shapes == dict.fromkeys([*NAMES, REPEATED], (timings.rounds,))


@pytest.mark.parametrize("form", sorted(NAMES))
def test_one_form_that_settles_late_warms_up_all_for_longer(measured, form):
    settles_after = 17
    machine = Machine(lambda name, call: 10.0 / (call + 1) if name == form and call < settles_after else 1.0)
    timings = measured(machine)
    assert 2 * WARMUP_WINDOW < settles_after < timings.warmup_rounds < MAX_WARMUP_ROUNDS
    assert timings.samples[form].wall_s.tolist() == [1.0] * timings.rounds


def test_forwards_that_never_settle_stop_warming_up_at_the_maximum(measured):
    timings = measured(Machine(lambda _, call: 1.5 ** (call // WARMUP_WINDOW)))
    assert timings.warmup_rounds == MAX_WARMUP_ROUNDS


def test_a_single_slow_call_does_not_make_the_warm_up_longer(measured):
    timings = measured(Machine(lambda _, call: 50.0 if call == 2 else 1.0))
    assert timings.warmup_rounds == 2 * WARMUP_WINDOW


@pytest.mark.parametrize("decides_at", [1, 2, 3, 4])
def test_rounds_are_added_until_they_decide(measured, decides_at):
    seen = []

    def decided(timings):
        seen.append((timings.looks, timings.rounds))
        return timings.looks == decides_at

    timings = measured(Machine(), decided=decided)
    assert seen == [(1, 12), (2, 24), (3, 48), (4, 96)][:decides_at]
    assert (timings.looks, timings.rounds, timings.out_of_time) == (*seen[-1], False)


def test_evidence_that_never_decides_ends_with_the_last_planned_look(measured):
    timings = measured(Machine())
    assert (timings.looks, timings.rounds, timings.out_of_time) == (4, 96, False)


def test_a_look_whose_rounds_would_not_fit_into_the_time_is_not_begun(measured):
    # Four forms of one second, 8 rounds of warm-up: 32 s. With one of them twice in a row, 12 and 12 more take 144 s,
    # the next 24 would take 144 s more.
    for budget_s, rounds in ((176.0, 24), (319.9, 24), (320.0, 48), (175.9, 12)):
        timings = measured(Machine(), budget_s=budget_s)
        assert (timings.rounds, timings.out_of_time) == (rounds, True), budget_s
        assert LOOKS.rounds[timings.looks - 1] == rounds


def test_the_first_look_is_reached_whatever_it_costs(measured):
    timings = measured(Machine(), budget_s=0.001)
    assert (timings.looks, timings.rounds, timings.out_of_time) == (1, 12, True)


def test_time_that_is_up_when_the_first_look_decides_did_not_end_the_measurement(measured):
    timings = measured(Machine(), budget_s=0.001, decided=lambda _: True)
    assert (timings.looks, timings.out_of_time) == (1, False)


def test_doubted_rounds_are_dropped_and_taken_anew_until_a_quiet_moment(measured):
    # Eight rounds of warm-up, then measurements of twelve rounds of six seconds each; the third is in a quiet moment.
    machine, asked = Machine(), []

    def doubted(timings):
        asked.append(timings.samples[FP32].wall_s.tolist())
        return len(asked) < 3

    timings = measured(machine, decided=lambda _: True, doubted=doubted, wait_s=1000.0)
    assert len(asked) == 3
    assert timings.rounds == 12, "those of the others are gone"
    assert machine.now == 8 * 4 + 3 * 12 * 6


def test_waiting_for_a_quiet_moment_ends(measured):
    machine = Machine()
    timings = measured(machine, decided=lambda _: True, doubted=lambda _: True, wait_s=150.0)
    assert machine.now == 8 * 4 + 2 * 12 * 6, "begun after 104 s, not again after 176 s"
    assert timings.rounds == 12


def test_nothing_is_taken_anew_without_time_to_wait(measured):
    machine = Machine()
    measured(machine, decided=lambda _: True, doubted=lambda _: True)
    assert machine.now == 8 * 4 + 12 * 6


@pytest.mark.parametrize(("cost", "told"), [(0.0, "0 s"), (-1.0, "-1 s")], ids=["stands still", "goes backwards"])
@pytest.mark.parametrize("first", [0, 3, 30], ids=["at once", "in the warm-up", "among good rounds"])
def test_a_clock_that_does_not_advance_is_refused(measured, cost, told, first):
    with pytest.raises(MeasurementError) as error:
        measured(Machine(lambda name, call: cost if call >= first and name == INT8 else 1.0))
    assert str(error.value) == (
        f"a forward took {told}: the clock stood still or went backwards, so nothing was timed; measure again on a "
        "machine whose monotonic clock advances"
    )


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
        time_forwards({FP32: broken, INT8: broken}, LOOKS, PLENTY_S, lambda _: True)
    assert process_state() == before


def test_a_garbage_collector_that_was_off_stays_off():
    gc.disable()
    try:
        with quiet_process(1):
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.fixture
def cores(monkeypatch):
    """Makes this a machine on which the process may use that many cores."""

    def allow(number):
        affinity = SimpleNamespace(sched_getaffinity=lambda _: set(range(number)))
        monkeypatch.setattr(load, "os", affinity)

    return allow


def test_one_core_times_nothing_and_says_why(cores):
    cores(1)
    assert untimed_reason(1) == (
        "no verdict: this process may use one core only, so that whatever else runs there runs inside the timings; "
        "allow it two"
    )


def test_more_threads_than_cores_time_nothing_and_say_where_they_are_asked_for(cores):
    cores(2)
    assert untimed_reason(2) is None
    assert untimed_reason(3) == (
        "no verdict: workload.latency.threads asks for 3 threads, but this process may use 2 cores"
    )


def test_a_system_without_affinity_counts_its_cores(monkeypatch):
    monkeypatch.setattr(load, "os", SimpleNamespace(cpu_count=lambda: 1))
    assert untimed_reason(1).startswith("no verdict: this process may use one core only")
    monkeypatch.setattr(load, "os", SimpleNamespace(cpu_count=lambda: None))
    assert load.usable_cores() == 1


def test_the_cores_are_those_that_this_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    assert load.usable_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    assert load.usable_cores() == os.cpu_count()
