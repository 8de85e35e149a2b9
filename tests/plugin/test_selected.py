"""Options that leave tests out are told from those that do not, however they are typed."""

import pytest

from quantbench.plugin.selected import selecting


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("bench", []),
        ("bench -q -n 2 --json out.json --strict-verdicts --experiment my/*", []),
        ("-k ptq", ["-k ptq"]),
        ("-kptq", ["-k ptq"]),
        ("-qk ptq", ["-k ptq"]),
        ("-vvxk ptq", ["-k ptq", "-x"]),
        ("-m latency -k qat", ["-k qat", "-m latency"]),
        ("--deselect=bench/a.py --deselect bench/b.py", ["--deselect bench/a.py", "--deselect bench/b.py"]),
        ("--lf --benchmark-only", ["--lf", "--benchmark-only"]),
        ("-p no:randomly --ignore bench/a.py", ["--ignore bench/a.py"]),
        ("--splits 4 --group 2", ["--group 2"]),
    ],
)
def test_selecting_options_are_found_with_their_values(typed, found):
    assert selecting(typed.split()) == found


def test_an_empty_expression_selects_nothing():
    assert selecting(["-k", "", "-m", ""]) == []
