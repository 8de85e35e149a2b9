"""The int8 model is really faster, beside its fp32 model in the same run."""

from collections.abc import Callable

import pytest


@pytest.mark.latency
@pytest.mark.gate("speedup")
@pytest.mark.usefixtures("timed_run")
def test_speedup_reaches_its_bound(check_gate: Callable[[], None]) -> None:
    check_gate()
