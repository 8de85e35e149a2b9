"""The quantized model is still accurate enough, and the baseline is what its card says."""

from collections.abc import Callable

import pytest


@pytest.mark.gate("accuracy_drop_pp")
def test_accuracy_drop_is_within_its_bound(check_gate: Callable[[], None]) -> None:
    check_gate()


@pytest.mark.gate("card_drift_pp")
def test_baseline_is_as_accurate_as_its_card_says(check_gate: Callable[[], None]) -> None:
    check_gate()


@pytest.mark.ungated("accuracy_drop_pp")
def test_accuracy_is_measured_where_no_bound_is_set(check_measured: Callable[[str], None]) -> None:
    check_measured("accuracy")
