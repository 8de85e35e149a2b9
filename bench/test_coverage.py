"""What calls itself int8 really ran as int8."""

from collections.abc import Callable

import pytest


@pytest.mark.gate("int8_share")
def test_share_of_int8_kernels_reaches_its_bound(check_gate: Callable[[], None]) -> None:
    check_gate()
