"""The saved file is the one that was accepted, and loads elsewhere to the same bits."""

from collections.abc import Callable

import pytest


@pytest.mark.claim("reload")
def test_checkpoint_loads_in_a_fresh_process_to_the_same_bits(check_claim: Callable[[str], None]) -> None:
    check_claim("reload")


@pytest.mark.claim("checkpoint")
def test_checkpoint_is_the_accepted_one(check_golden: Callable[[], None]) -> None:
    check_golden()
