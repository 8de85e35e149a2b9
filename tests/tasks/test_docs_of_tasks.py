"""The table of docs/tasks.md holds every task, with its unit, direction and gate as the table of tasks has them."""

import re
from pathlib import Path

import pytest

from quantbench.registry import FLOORS, QUANTITIES, TASKS

PAGE = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")
ROWS = {
    cells[0].strip("`"): cells
    for cells in re.findall(r"^\| (.+?) (?:\| (.+?) )" + r"\| (.+?) " * 5 + r"\|$", PAGE, re.M)
}


def test_every_task_has_a_row_and_every_row_a_task():
    assert set(ROWS) - {"task", "---"} == set(TASKS.table)


@pytest.mark.parametrize("name", TASKS.table)
def test_the_row_says_what_the_task_is(name):
    _, formula, unit, better, gate, interval, agrees = ROWS[name]
    task = TASKS.create(name, "here", {"function": "a:b"} if name == "function" else {})
    assert (unit, better) == (task.unit, "higher" if task.higher_is_better else "lower")
    assert gate.strip("`") == FLOORS[name]
    assert QUANTITIES.get(FLOORS[name], "here").smaller_is_looser == task.higher_is_better
    kind = "Tango" if task.is_binary else "studentized" if task.is_mean else "BCa"
    assert interval == kind or name == "function"
    assert formula
    assert agrees
