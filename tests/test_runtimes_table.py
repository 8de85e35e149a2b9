"""The table of the best int8 over all runtimes: the fastest that is sound, and what is slower than its own fp32."""

import pytest
from runtime_speeds import CONTROL, Measured, Row
from runtimes import best_int8, best_table

REFERENCE = Row("torch, fp32", "torch", "fp32", "as written", "torch, fp32", 900, 0, 0, 4_000)
SECONDS = {"torch, fp32": 0.010, "quick, int8": 0.002, "wrong, int8": 0.001, "slow, int8": 0.020}


def int8(name, lost=5):
    return Row(f"{name}, int8", name, "int8", "", "torch, fp32", 900 - lost, lost, 0, 1_000)


def measured(*rows):
    times = {row.key: [SECONDS[row.key]] * 60 for row in (REFERENCE, *rows)} | {CONTROL: [0.010] * 60}
    return Measured("tiny", 1_000, 1, 1, {}, [REFERENCE, *rows], [], times)


def test_the_fastest_that_loses_little_is_the_best():
    found = measured(int8("slow"), int8("quick"), int8("wrong", lost=300))
    assert best_int8(found).runtime == "quick"
    assert best_int8(measured(int8("wrong", lost=300))).runtime == "wrong", "where all lose much"
    assert best_int8(measured()) is None


def test_a_row_tells_accuracy_speed_and_what_is_slower_than_its_own_fp32():
    row = best_table([measured(int8("slow"), int8("quick"))])[-1]
    assert row.startswith("| tiny | quick | 89.50 [87.45, 91.25] | +0.50 [+0.12, +1.17] | 2.00 | 5.00 [5.00, 5.00] |")
    assert row.endswith("| slow |")
    alone = best_table([measured(int8("slow"))])[-1]
    assert "0.50 [0.50, 0.50], slower" in alone
    assert best_table([measured()])[-1].startswith("| tiny | – |")


@pytest.mark.parametrize("lost", [5, 300])
def test_every_row_has_as_many_cells_as_the_head(lost):
    lines = best_table([measured(int8("quick", lost)), measured()])[2:]
    assert {line.count("|") for line in lines} == {10}
