"""A baseline of a task whose scores are not 0 and 1: its card tells the figure, and later runs are held to it."""

import json
import re
import shutil

import numpy as np
import pytest

from quantbench.config.reading import load_experiments
from quantbench.config.selection import select
from quantbench.errors import BaselineError
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.quantities.judging import judge

STATIC = "tiny/ptq_static_int8_per_channel"


@pytest.fixture
def weights(project):
    """The project with another task, and its weights as a file made elsewhere."""
    place = shutil.copy(project.weights, project.root / "mine.safetensors")
    project.edit("  baseline: tiny\n", "  baseline: tiny\n  task: macro_f1\n")
    project.config.write_text(
        re.sub(r"accuracy_drop_pp: 10.0|card_drift_pp: 0.2", "score_drop: 0.2", project.config.read_text())
    )
    return place


def run_of(project):
    return Runs(Settings(project.golden)).run(select(load_experiments(project.configs), STATIC)[0])


def test_an_adopted_baseline_has_a_card_of_its_figure_that_runs_are_held_to(project, weights, quantbench):
    status, out, err = quantbench("adopt", "tiny", weights)
    assert (status, err) == (0, "")
    assert re.search(r"macro F1 0\.\d+ \[0\.\d+, 0\.\d+\] \(n=150\)", out)
    card = json.loads(project.weights.with_suffix(".json").read_text())
    assert (card["score"]["task"], card["accuracy"]) == ("macro_f1", None)
    verdict = judge(run_of(project), "score_drop")
    assert verdict.outcome.value == "PASS", verdict.measured
    card["score"] |= {"value": 0.5, "interval": [0.4, 0.6]}
    project.weights.with_suffix(".json").write_text(json.dumps(card))
    with pytest.raises(BaselineError, match=r"its macro F1 is 0\.\d+ here and 0\.5 on its card \(n=150\), more"):
        judge(run_of(project), "score_drop")


def test_a_card_of_another_task_is_no_measure(project, weights):
    with pytest.raises(BaselineError, match="its card is of task 'top1', and the workload's is 'macro_f1'; make"):
        judge(run_of(project), "score_drop")


def test_an_accuracy_is_not_expected_of_another_score(weights, quantbench):
    status, _, err = quantbench("adopt", "tiny", weights, "--expect-accuracy", 80)
    assert status == 2
    assert "the scores of task 'macro_f1' are not 0 and 1; leave --expect-accuracy out" in err


def test_a_figure_no_better_than_one_answer_is_refused(project, weights, quantbench):
    from safetensors.numpy import load_file, save_file

    state = load_file(weights)
    save_file({name: np.zeros_like(array) for name, array in state.items()}, weights)
    status, _, err = quantbench("adopt", "tiny", weights)
    assert status == 2
    assert "is not surely" in err
