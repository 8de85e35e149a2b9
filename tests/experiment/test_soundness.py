"""Signs that a model's figures mean nothing are doubts where they take no model, and warnings where they may not."""

from types import SimpleNamespace

import numpy as np
import pytest

from quantbench.config.reading import load_experiments
from quantbench.config.selection import find_workload, select
from quantbench.experiment.run import Settings
from quantbench.experiment.runs import Runs
from quantbench.experiment.soundness import soundness
from quantbench.experiment.workload import OpenWorkload
from quantbench.measure.evaluation import Evaluation
from quantbench.stats.proportions import mean_proportion_interval


def found(*table, classes=3):
    """Signs of `(label, answer, samples)` rows."""
    labels, answers = (np.repeat([row[i] for row in table], [row[2] for row in table]) for i in (0, 1))
    splits = SimpleNamespace(test=SimpleNamespace(labels=labels), classes=tuple("abcdefghij"[:classes]))
    return soundness(SimpleNamespace(splits=splits), Evaluation((answers == labels).astype(float), None, answers))


def test_a_model_that_gets_every_rare_class_right_is_no_constant_though_its_accuracy_is_lower():
    signs = found((0, 0, 1427), (0, 1, 53), (1, 1, 10), (2, 2, 10))
    assert signs.doubt == ""
    assert signs.lines == [
        "warning: accuracy 96.47 % [95.41, 97.29] (n=1,500) is not surely more than the 98.67 % of giving every sample "
        "one class, but the mean recall of all classes, 98.81 % [85.72, 99.08], is more than the 33.33 % of that; "
        "bound worst_class_drop_pp, since of so uneven classes an accuracy tells little"
    ]


@pytest.mark.parametrize(
    "table",
    [
        [(0, 0, 1480), (1, 0, 10), (2, 0, 10)],
        [(0, 0, 1470), (0, 1, 5), (0, 2, 5), (1, 0, 10), (2, 0, 10)],
        [(0, 1, 300), (1, 2, 300), (2, 1, 300)],
    ],
)
def test_one_answer_or_no_right_one_is_doubted(table):
    signs = found(*table)
    assert "is not surely more than the " in signs.doubt
    (line,) = signs.lines
    assert line.startswith("warning: accuracy ")
    assert line.endswith("; experiments on this baseline compare broken with broken")


def near(right, n=300):
    """Rows of three classes of which so many answers are right, the others spread over both other classes."""
    return [
        (c, (c + k) % 3, m) for c in range(3) for k, m in ((0, right), (1, (n - right + 1) // 2), (2, (n - right) // 2))
    ]


def test_an_accuracy_just_above_chance_is_a_warning():
    (line,) = found(*near(112)).lines
    assert line.startswith(
        "warning: accuracy 37.33 % [34.23, 40.54] (n=900) is hardly more than the 33.33 % of giving every sample one "
    )
    assert found(*near(112)).doubt == ""


def test_an_accuracy_well_above_chance_is_no_warning():
    # A tenth of the way from 33.33 % to 100 % is 40 %.
    assert found(*near(127)).lines[0].startswith("warning: ")
    assert found(*near(133)).lines == []
    assert found((0, 0, 1478), (0, 1, 2), (1, 1, 9), (1, 0, 1), (2, 2, 9), (2, 0, 1)).lines == []


def test_a_task_without_answers_has_no_signs():
    splits = SimpleNamespace(test=SimpleNamespace(labels=np.zeros(3)))
    without = SimpleNamespace(task=SimpleNamespace(chance=lambda _: None), splits=splits)
    assert soundness(without, Evaluation(np.zeros(3), None)).lines == []


def test_the_interval_of_a_mean_recovers_the_width_of_each_part():
    wide, narrow = (mean_proportion_interval([n, n], [n, n]) for n in (10, 1000))
    assert (wide.high, narrow.high) == (1.0, 1.0)
    # 1 - (1 - 0.7225) * sqrt(2) / 2.
    assert wide.low == pytest.approx(0.8037, abs=1e-4)
    assert narrow.low > 0.99


SPARE = "warning: the model has 5 outputs, but the data 3 classes: an answer beyond them is never right; "


@pytest.fixture
def grown(project):
    """A model of five outputs for three classes, trained."""
    project.edit('"tiny_model:tiny_cnn"', '"tiny_model:tiny_cnn", n_classes: 5')
    OpenWorkload(find_workload("tiny", project.configs), project.golden).train_baseline()
    return project


def test_train_tells_of_more_outputs_than_classes(quantbench, grown):
    status, _, err = quantbench("train", "tiny")
    assert (status, err.startswith(SPARE)) == (0, True)


def test_a_run_tells_of_more_outputs_than_classes_once(grown):
    runs = Runs(Settings(grown.golden))
    for each in select(load_experiments(grown.configs), "tiny/ptq_static_*"):
        runs.run(each).baseline.evaluation  # noqa: B018
    (line,) = runs.warnings()
    assert line.startswith(f"tiny: {SPARE}")


def test_train_names_the_order_of_classes_that_explains_a_low_accuracy(quantbench, project, monkeypatch):
    evaluated = OpenWorkload.evaluated

    def turned(self, predictor):
        right = evaluated(self, predictor)
        answers = (np.array(self.splits.test.labels) + 1) % 3
        return Evaluation(np.zeros(len(answers)), right.loss, answers)

    monkeypatch.setattr(OpenWorkload, "evaluated", turned)
    status, _, err = quantbench("train", "tiny")
    assert status == 0
    assert (
        "is not surely more than the 33.33 % of giving every sample one class: output 0 answers 'red'; with 3 " in err
    )
    assert "set data.classes: [red, blue, green]; experiments on this baseline compare broken with broken" in err
