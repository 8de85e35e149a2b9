"""The int8 model is really faster, beside its fp32 model in the same run."""

import pytest

from quantbench.judging import judge_gate


@pytest.mark.latency
@pytest.mark.gate("speedup")
def test_speedup_reaches_its_bound(timed_run, gate, check_verdict):
    check_verdict(judge_gate(timed_run, gate))
