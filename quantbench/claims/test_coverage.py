"""Claims that layers of int8 really ran as int8, and that none was left out."""

from collections.abc import Callable

import pytest


@pytest.mark.gate("int8_share")
def test_share_of_int8_kernels_reaches_its_bound(check_gate: Callable[[], None]) -> None:
    check_gate()


@pytest.mark.ungated("int8_share")
def test_int8_share_is_measured_where_no_bound_is_set(check_measured: Callable[[str], None]) -> None:
    check_measured("coverage")


@pytest.mark.claim("macs_ratio")
def test_quantized_model_does_no_less_work_than_fp32(check_claim: Callable[[str], None]) -> None:
    check_claim("macs_ratio")
