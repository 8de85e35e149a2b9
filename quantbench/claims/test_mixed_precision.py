"""The search for mixed precision decides as it was accepted, and what it finds is still accurate enough."""

from collections.abc import Callable

import pytest


@pytest.mark.claim("search")
def test_search_decides_as_accepted(check_search: Callable[[], None]) -> None:
    check_search()


@pytest.mark.gate("search_drop_pp")
def test_what_is_found_costs_no_more_than_its_bound(check_gate: Callable[[], None]) -> None:
    check_gate()
