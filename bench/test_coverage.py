"""What calls itself int8 really ran as int8."""

import pytest

from quantbench.judging import judge_gate


@pytest.mark.gate("int8_share")
def test_share_of_int8_kernels_reaches_its_bound(experiment_run, gate, check_verdict):
    check_verdict(judge_gate(experiment_run, gate))
