"""The quantized model is still accurate enough, and the baseline is what its card says."""

import pytest

from quantbench.judging import judge_gate


@pytest.mark.gate("accuracy_drop_pp")
def test_accuracy_drop_is_within_its_bound(experiment_run, gate, check_verdict):
    check_verdict(judge_gate(experiment_run, gate))


@pytest.mark.gate("card_drift_pp")
def test_baseline_is_as_accurate_as_its_card_says(experiment_run, gate, check_verdict):
    check_verdict(judge_gate(experiment_run, gate))
