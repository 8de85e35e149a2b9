"""Each layer, quantized alone, costs no more accuracy than it may; the end of the run ranks them."""

from collections.abc import Callable

import pytest


@pytest.mark.gate("layer_drop_pp")
def test_block_costs_no_more_than_its_bound(check_gate: Callable[[], None]) -> None:
    check_gate()
