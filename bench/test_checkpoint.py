"""The saved file is the one that was accepted, and loads elsewhere to the same bits."""

import pytest

from quantbench.judging import judge_reload


def test_checkpoint_loads_in_a_fresh_process_to_the_same_bits(experiment_run, check_verdict):
    verdict = judge_reload(experiment_run)
    experiment_run.verdicts[verdict.quantity] = verdict
    check_verdict(verdict)


@pytest.mark.usefixtures("experiment_run")
def test_checkpoint_is_the_accepted_one(check_golden):
    check_golden()
