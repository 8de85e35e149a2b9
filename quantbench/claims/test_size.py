"""The saved file is small enough."""

from collections.abc import Callable

import pytest


@pytest.mark.gate("size_ratio")
def test_file_shrinks_by_its_bound(check_gate: Callable[[], None]) -> None:
    check_gate()


@pytest.mark.ungated("size_ratio")
def test_size_is_measured_where_no_bound_is_set(check_measured: Callable[[str], None]) -> None:
    check_measured("size")
