"""No class is lost, however rare it is."""

from collections.abc import Callable

import pytest


@pytest.mark.claim("answered_classes")
def test_every_class_that_the_reference_answers_is_answered(check_claim: Callable[[str], None]) -> None:
    check_claim("answered_classes")


@pytest.mark.gate("worst_class_drop_pp")
def test_recall_of_the_worst_class_is_within_its_bound(check_gate: Callable[[], None]) -> None:
    check_gate()
