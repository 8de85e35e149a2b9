"""`quantbench compare --task`: any task, its parameters and its own bound."""

import json
from pathlib import Path

import numpy as np
import pytest
from scored_models import FEATURES, linear

RANDOM = np.random.default_rng(0)
N, CLASSES = 300, 6
X = RANDOM.normal(size=(N, FEATURES)).astype(np.float32)
WEIGHT = (RANDOM.normal(size=(FEATURES, CLASSES)) / 8).astype(np.float32)
NUMBERS = X @ WEIGHT + 0.1 * RANDOM.normal(size=(N, CLASSES))


@pytest.fixture
def compare(tmp_path, monkeypatch, quantbench, machine):
    monkeypatch.setenv("QUANTBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def run(task, *options, targets=NUMBERS, broken=False):
        np.savez("samples.npz", x=X, targets=targets)
        linear(tmp_path / "fp32.onnx", WEIGHT)
        linear(tmp_path / "int8.onnx", -WEIGHT if broken else WEIGHT, int8=True)
        return quantbench("compare", "fp32.onnx", "int8.onnx", "--data", "samples.npz", "--task", task, *options)

    return run


def test_a_regression_is_compared_in_its_own_unit_with_columns_of_its_own(compare):
    status, out, err = compare("mae", "--max-drop", 0.05, "--json", "record.json")
    assert (status, "score_drop" in err) == (0, False)
    title, row = out.splitlines()[:2]
    assert "score" in title
    assert "lost [95 %]" in title
    assert "mean absolute error" in row
    (record,) = json.loads(Path("record.json").read_text(encoding="utf-8"))["records"]
    assert (record["score"]["task"], record["score"]["n"], "accuracy" in record) == ("mae", N, True)
    assert record["accuracy"] is None


def test_a_candidate_that_is_broken_fails_with_status_1(compare):
    status, _, err = compare("rmse:unit=K", "--max-drop", 0.05, broken=True)
    assert (status, "compare/candidate: score_drop: FAIL" in err) == (1, True)
    assert "(K 0." in err


def test_a_task_of_0_and_1_keeps_percentage_points(compare):
    status, out, err = compare("top_k:k=2", "--accept-accuracy", targets=NUMBERS.argmax(axis=1))
    assert (status, "lost [95 %]" in out) == (0, False)
    assert "accuracy_drop_pp: INCONCLUSIVE" in err
    assert "at most 1 pp" in err


@pytest.mark.parametrize(
    ("task", "line"),
    [
        ("mae", "--task mae: say how much may be lost with --max-drop, in mean absolute error"),
        ("maee", "--task: unknown task 'maee'. Did you mean 'mae'?"),
        ("top_k:k", "--task: unknown task 'top_k:k'"),
        ("=3", "--task =3: give NAME or NAME:KEY=VALUE, such as top_k:k=5"),
        ("top_k:kk=3", "--task: unknown parameter of task 'top_k': 'kk'. Did you mean 'k'?"),
        (
            "function:function=own_metrics:absolute,unit=K",
            "--task function: say how much may be lost with --max-drop, in K",
        ),
    ],
)
def test_a_mistake_is_one_line(compare, task, line):
    status, _, err = compare(task)
    assert (status, err.count("\n")) == (2, 1)
    assert line in err or ("cannot import" in err and task == "top_k:k")


def test_ones_own_function_is_named_in_the_file_that_is_saved(compare, tmp_path, quantbench, monkeypatch):
    monkeypatch.setenv("QUANTBENCH_ALLOW_IMPORT", "own_metrics")
    task = "function:function=own_metrics:absolute,higher_is_better=false,range=[0, null],unit=K"
    status, _, err = compare(task, "--max-drop", 0.05, "--save", "numbers")
    assert (status, "score" in err) == (0, False)
    assert "function: own_metrics:absolute" in Path("configs/numbers.yaml").read_text(encoding="utf-8")
    assert (tmp_path / "golden" / "results" / "numbers" / "candidate.json").is_file()
    status, _, err = quantbench("run", "numbers/candidate")
    assert (status, "score" in err) == (0, False)
    monkeypatch.setenv("QUANTBENCH_ALLOW_IMPORT", "nothing")
    status, _, err = quantbench("run", "numbers/candidate")
    assert status == 2
    assert "workload.task.function: 'own_metrics:absolute' is in " in err
    assert "outside of the project" in err
