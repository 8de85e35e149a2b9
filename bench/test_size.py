"""The saved file is small enough."""

import pytest

from quantbench.judging import judge_gate


@pytest.mark.gate("size_ratio")
def test_file_shrinks_by_its_bound(experiment_run, gate, check_verdict):
    check_verdict(judge_gate(experiment_run, gate))
