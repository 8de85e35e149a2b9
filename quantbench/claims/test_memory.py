"""The int8 model needs less memory while it runs."""

from collections.abc import Callable

import pytest


@pytest.mark.gate("memory_ratio")
def test_peak_memory_shrinks_by_its_bound(check_gate: Callable[[], None]) -> None:
    check_gate()


@pytest.mark.ungated("memory_ratio")
def test_peak_memory_is_measured_where_no_bound_is_set(check_measured: Callable[[str], None]) -> None:
    check_measured("memory")
