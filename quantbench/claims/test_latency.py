"""The int8 model is really faster, beside its fp32 model in the same run."""

from collections.abc import Callable

import pytest


@pytest.mark.latency
@pytest.mark.gate("speedup")
@pytest.mark.usefixtures("timed_run")
def test_speedup_reaches_its_bound(check_gate: Callable[[], None]) -> None:
    check_gate()


@pytest.mark.latency
@pytest.mark.gate("speedup_over_fastest")
@pytest.mark.usefixtures("timed_run")
def test_speedup_over_the_fastest_fp32_of_all_runtimes_reaches_its_bound(check_gate: Callable[[], None]) -> None:
    check_gate()


@pytest.mark.latency
@pytest.mark.ungated("speedup")
@pytest.mark.usefixtures("timed_run")
def test_forward_time_is_measured_where_no_bound_is_set(check_measured: Callable[[str], None]) -> None:
    check_measured("latency")
