"""The saved file is small enough."""

from collections.abc import Callable

import pytest


@pytest.mark.gate("size_ratio")
def test_file_shrinks_by_its_bound(check_gate: Callable[[], None]) -> None:
    check_gate()
