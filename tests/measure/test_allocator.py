"""Freed memory is kept: a large block that is freed and taken again costs no page faults."""

import sys

import pytest
from long_jobs import page_faults

from quantbench.measure.fresh import in_fresh_process


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems' allocators are left as they are")
def test_ten_more_allocations_of_64_mib_fault_in_no_page_of_theirs():
    pages_of_one_block = (64 << 20) // 4096
    kept, given_back = (in_fresh_process(page_faults, keep, died="died") for keep in (True, False))
    # With huge pages a fault brings in more than one page, so that only the difference between the two is sure.
    assert kept < pages_of_one_block // 64
    assert kept < given_back
