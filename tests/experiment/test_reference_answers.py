"""The reference's evaluation is read from the cache, and made again where anything that decides it changed."""

import numpy as np
import pytest
from safetensors.torch import load_file

from quantbench.config.reading import load_experiments
from quantbench.experiment.reference_outputs import reference_outputs
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.experiment.workload import OpenWorkload
from quantbench.golden import baselines
from quantbench.records.card import BaselineCard

MODEL = """\
from pathlib import Path
from tiny_model import TinyCNN


class Net(TinyCNN):
    def forward(self, x):
        return super().forward(x) * float(Path("factor.txt").read_text())


def net():
    return Net(3, 8)
"""


@pytest.fixture
def passes(monkeypatch):
    """Counts evaluations of whole splits."""
    seen = []
    real = OpenWorkload.evaluated

    def evaluated(opened, predictor):
        seen.append(opened.workload.name)
        return real(opened, predictor)

    monkeypatch.setattr(OpenWorkload, "evaluated", evaluated)
    return seen


def evaluation(project):
    """The reference's, in a session of its own."""
    workload = load_experiments(project.configs)[0].workload
    return Runs(Settings(project.golden)).baseline(workload).evaluation


def test_a_second_session_reads_the_same_evaluation(project, passes):
    first, second = evaluation(project), evaluation(project)
    assert passes == ["tiny"]
    assert (second.scores.tobytes(), second.loss) == (first.scores.tobytes(), first.loss)
    assert second.answers.dtype == first.answers.dtype
    assert np.array_equal(second.answers, first.answers)


def change_batch_size(project):
    project.edit("baseline: tiny", "baseline: tiny\n  evaluation: {batch_size: 7}")


def change_weights(project):
    state = load_file(project.weights)
    state["fc.bias"].view(-1)[0] = 1.0
    card = BaselineCard.model_validate_json(project.weights.with_suffix(".json").read_text())
    changed = card.model_copy(update={"weights_sha256": baselines.save_weights(project.weights, state)})
    baselines.save_card(project.weights, changed)


@pytest.mark.parametrize("change", [change_batch_size, change_weights], ids=lambda f: f.__name__)
def test_whatever_decides_the_evaluation_makes_it_anew(project, passes, change):
    evaluation(project)
    change(project)
    evaluation(project)
    assert passes == ["tiny", "tiny"]


def test_a_model_that_reads_a_file_by_itself_is_evaluated_anew_once_that_changed(project, passes, monkeypatch, capsys):
    monkeypatch.syspath_prepend(project.root)
    monkeypatch.chdir(project.root)
    (project.root / "net_of_a_file.py").write_text(MODEL)
    project.edit('"tiny_model:tiny_cnn"', '"net_of_a_file:net"')
    (project.root / "factor.txt").write_text("1.0")
    first = evaluation(project)
    (project.root / "factor.txt").write_text("-1.0")
    second = evaluation(project)
    assert passes == ["tiny", "tiny"]
    assert "the model answers the first batch otherwise now; evaluating the reference again" in capsys.readouterr().err
    assert not np.array_equal(first.answers, second.answers)
    assert np.array_equal(evaluation(project).answers, second.answers), "what was found now is kept"
    assert passes == ["tiny", "tiny"]


def outputs(project, shape=lambda array, _: array):
    """The reference's, batch by batch, in a session of its own; and the samples that it was run on.

    Args:
        project: in miniature.
        shape: output and number of the batch → the output.
    """
    workload = load_experiments(project.configs)[0].workload
    baseline = Runs(Settings(project.golden)).baseline(workload)
    predictor, seen = baseline.loaded(1), []

    def counted(inputs):
        seen.append(len(inputs["input"]))
        return {name: shape(array, len(seen)) for name, array in predictor(inputs).items()}

    return list(reference_outputs(baseline.opened, baseline.artifact, counted)), sum(seen)


def test_outputs_are_read_from_the_cache_by_a_second_session_which_runs_the_first_batch_alone(project):
    first, made = outputs(project)
    second, again = outputs(project)
    n = sum(len(each["output"]) for each in first)
    assert (made, again) == (n + len(first[0]["output"]), len(first[0]["output"]))
    assert [each["output"].tobytes() for each in first] == [each["output"].tobytes() for each in second]


def test_outputs_that_are_too_large_are_made_each_time(project, monkeypatch):
    monkeypatch.setattr("quantbench.experiment.reference_outputs.LARGEST_BYTES", 1)
    first, made = outputs(project)
    assert outputs(project)[1] == made > sum(len(each["output"]) for each in first)


def test_outputs_of_a_model_that_answers_otherwise_now_are_made_anew(project, monkeypatch):
    first, made = outputs(project)
    change_weights(project)
    second, again = outputs(project)
    assert again == made
    assert first[0]["output"].tobytes() != second[0]["output"].tobytes()


def test_outputs_whose_shape_depends_on_the_batch_are_made_each_time(project):
    def other(array, batch):
        return array if batch < 3 else array[:, :2]

    first, _ = outputs(project, other)
    assert [each["output"].shape[1] for each in first][-1] == 2
    assert outputs(project, other)[1] > sum(len(each["output"]) for each in first)
