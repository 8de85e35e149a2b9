"""A clock that counts operators: forwards are timed by the instrument itself, and no other process disturbs them."""

from types import SimpleNamespace

import pytest
from torch.utils._python_dispatch import TorchDispatchMode

from quantbench.experiment import run as runner
from quantbench.experiment import timing
from quantbench.measure import confirmation, latency
from quantbench.measure.clocks import Reading
from quantbench.measure.load import Moment


class Operators(TorchDispatchMode):
    """A clock that advances by one with each operator: the more a forward has to do, the longer it takes."""

    ran = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.ran += 1
        return func(*args, **kwargs or {})


@pytest.fixture
def operators(project, monkeypatch):
    """The instrument times by operators that ran, so that it measures the same however busy the machine is."""
    clock = Operators()
    monkeypatch.setattr(latency, "time", SimpleNamespace(perf_counter=lambda: float(clock.ran)))
    monkeypatch.setattr(latency, "before_forward", lambda: Reading(float(clock.ran)))
    monkeypatch.setattr(latency, "after_forward", lambda: Reading(float(clock.ran)))
    monkeypatch.setattr(latency, "moment", lambda: Moment(0.0, 0.0))

    def under_the_clock(measure):
        def measured(*args, **kwargs):
            with clock:
                return measure(*args, **kwargs)

        return measured

    monkeypatch.setattr(runner, "time_forwards", under_the_clock(latency.time_forwards))
    monkeypatch.setattr(runner, "check_unchanged", timing.check_unchanged)
    monkeypatch.setattr(runner, "quiet_process", latency.quiet_process)
    # In this process: the clock does not run in another.
    monkeypatch.setattr(runner, "time_in_fresh_process", under_the_clock(confirmation.run))
