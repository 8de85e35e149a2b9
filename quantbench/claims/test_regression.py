"""The experiment is no worse than what was last accepted of it: `golden/results/<workload>/<experiment>.json`."""

from collections.abc import Callable

import pytest


@pytest.mark.claim("accuracy_vs_accepted")
def test_predictions_are_no_worse_than_accepted(check_accepted: Callable[[str], None]) -> None:
    check_accepted("accuracy_vs_accepted")


@pytest.mark.latency
@pytest.mark.claim("speedup_vs_accepted")
def test_speedup_is_no_worse_than_accepted(check_accepted: Callable[[str], None]) -> None:
    check_accepted("speedup_vs_accepted")
