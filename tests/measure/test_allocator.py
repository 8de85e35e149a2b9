"""Freed memory is kept: a large block that is freed and taken again costs no page faults."""

import subprocess
import sys

import pytest

FAULTS = """
import resource, torch
from quantbench.measure.allocator import keep_freed_memory
if {keep}:
    assert keep_freed_memory()
def touch():
    torch.ones(16 << 20)
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
# 64 MiB: above the size up to which glibc keeps blocks by itself. The heap grows for some rounds before it settles.
for _ in range(12):
    touch()
before = faults()
for _ in range(10):
    touch()
print(faults() - before)
"""


def faults_of(keep):
    code = FAULTS.format(keep=keep)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems' allocators are left as they are")
def test_ten_more_allocations_of_64_mib_fault_in_no_page_of_theirs():
    pages_of_one_block = (64 << 20) // 4096
    # With huge pages a fault brings in more than one page, so that only the difference between the two is sure.
    kept = faults_of(keep=True)
    assert kept < pages_of_one_block // 64
    assert kept < faults_of(keep=False)
