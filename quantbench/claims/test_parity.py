"""Through another backend the experiment is as accurate as its twin, on the same samples."""

from collections.abc import Callable

import pytest


@pytest.mark.gate("parity_pp")
def test_accuracy_is_that_of_the_other_backend_within_its_bound(check_gate: Callable[[], None]) -> None:
    check_gate()
