"""Quantized once more, from the same files, the checkpoint is the same."""

from collections.abc import Callable

import pytest


@pytest.mark.claim("determinism")
def test_quantized_again_in_a_fresh_process_it_has_the_same_bits(check_claim: Callable[[str], None]) -> None:
    check_claim("determinism")
