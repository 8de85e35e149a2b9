"""No single long step takes a blame far beyond its time, however slow the models are."""

from types import SimpleNamespace

import numpy as np
import pytest

from quantbench.backends.insides import Grid, InnerLayer, Inside, Insides, Values
from quantbench.blame import trials as module
from quantbench.blame.budget import Budget
from quantbench.blame.evidence import Evidence
from quantbench.blame.grouping import groups
from quantbench.blame.looking import looked
from quantbench.blame.samples import Samples
from quantbench.blame.trials import Trials
from quantbench.tasks.top1 import Top1

LIMIT = 20.0


class Clock:
    """Seconds that pass where models run."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Slow(Insides):
    """Two layers, of which each sample takes some seconds.

    Args:
        clock: that goes on.
        seconds: of a sample through both models with their values, and through one model.
    """

    layers = tuple(InnerLayer(name, "Linear", results=(Grid.of(0.1, 0, 0, 255),)) for name in ("one", "two"))

    def __init__(self, clock, seconds):
        self.clock, self.seconds, self.seen = clock, seconds, []

    def run(self, inputs):
        n = len(inputs["x"])
        self.seen.append(n)
        self.clock.now += n * self.seconds[0]
        values = np.ones((n, 3), np.float32)
        layers = {each.name: Values(values, values + 0.1, values) for each in self.layers}
        return Inside(layers, {"y": values}, {"y": values + 0.1})

    def put_back(self, layers):
        def predictor(inputs):
            n = len(inputs["x"])
            self.clock.now += n * self.seconds[1]
            return {"y": np.ones((n, 3), np.float32)}

        return predictor


def batches(n, size=32):
    return [{"x": np.zeros((min(size, n - at), 1), np.float32)} for at in range(0, n, size)]


SAMPLES = Samples(batches(64), batches(32), batches(64), 64)


@pytest.mark.parametrize("seconds", [0.01, 0.1, 0.5, 3.0])
def test_values_are_looked_at_on_as_many_samples_as_there_is_time_for(seconds):
    clock = Clock()
    insides, budget = Slow(clock, (seconds, seconds / 4)), Budget(LIMIT, clock=clock)
    found = looked(insides, SAMPLES, Top1(), budget)
    # The first four samples tell how long others take, and of each group one is looked at.
    assert budget.elapsed <= LIMIT / 2 + (4 + 2 + 32 / 4) * seconds
    assert all(errors["one"].n >= 3 for errors in (found.test, found.shown, found.calibration))
    if seconds == 0.01:
        assert sum(insides.seen) == 160


def test_without_a_limit_batches_are_whole():
    clock = Clock()
    insides = Slow(clock, (100.0, 1.0))
    looked(insides, SAMPLES, Top1(), Budget(clock=clock))
    assert insides.seen == [32, 32, 32, 32, 32]


def test_a_layer_that_there_was_no_time_to_put_back_is_told():
    clock = Clock()
    found = looked(Slow(clock, (0.01, 0.2)), SAMPLES, Top1(), Budget(LIMIT, clock=clock))
    assert found.removed == {}
    assert found.notes == ["2 of 2 layers, those with the least error of their own, were not put back for want of time"]


def test_groups_end_where_the_time_does():
    clock = Clock()
    insides, budget = Slow(clock, (0.01, 0.01)), Budget(LIMIT, clock=clock)
    found = looked(insides, SAMPLES, Top1(), budget)
    insides.seconds = 0.01, 0.4
    assert list(groups(found, insides, Top1(), budget)) == []
    assert clock.now < LIMIT


def test_a_pass_that_takes_longer_than_those_before_is_stopped_within(monkeypatch):
    clock = Clock()
    budget = Budget(LIMIT, clock=clock)
    positions = np.arange(1000)
    right, wrong = np.ones((1000, 1)), np.repeat([[0.0], [1.0]], [500, 500], axis=0)
    evidence = Evidence(Top1(), positions, right, wrong, None, 1000)
    monkeypatch.setattr(module, "samples_at", lambda _, rows: {"x": np.zeros((len(rows), 1), np.float32)})
    evaluation = SimpleNamespace(batch_size=50)
    test = SimpleNamespace(labels=np.zeros(1000, np.int64))
    opened = SimpleNamespace(
        task=Top1(), splits=SimpleNamespace(test=test),
        workload=SimpleNamespace(config=SimpleNamespace(evaluation=evaluation)),
    )  # fmt: skip
    clock.now = 0.001
    budget.count(1000)
    trials = Trials(SimpleNamespace(opened=opened), evidence, Slow(clock, (1.0, 0.1)), 50.0, 2, budget)
    assert trials.put_back(["one"], gives_up=False) is None
    assert trials.refused == "the budget of 20 s is used up"
    assert trials.made == []
    assert clock.now <= LIMIT + 50 * 0.1 + 0.1
