"""`--sequential` and `--full` through pytest; an update is of all samples."""

import json

import numpy as np
import pytest
from scored_models import FEATURES, linear, workload

RANDOM = np.random.default_rng(0)
N = 2_000
X = RANDOM.normal(size=(N, FEATURES)).astype(np.float32)
WEIGHT = (RANDOM.normal(size=(FEATURES, 6)) / 8).astype(np.float32)
LABELS = (X @ WEIGHT + RANDOM.normal(size=(N, 6)) / 4).argmax(axis=1)
CHOSEN = ("--experiment", "numbers/rounded", "-k", "accuracy or predictions or classes")


@pytest.fixture
def numbers(pytester, monkeypatch, machine):
    monkeypatch.setenv("QUANTBENCH_CACHE", str(pytester.path / "cache"))
    path = workload(pytester.path, "top1", X, LABELS, "{accuracy_drop_pp: 3}", "  evaluation: {sequential: true}\n")
    linear(path.parent / "fp32.onnx", WEIGHT)
    linear(path.parent / "int8.onnx", WEIGHT, int8=True)
    return path


def test_an_update_is_of_all_samples_and_later_runs_are_held_to_it_by_a_part_of_them(pytester, bench_here, numbers):
    bench_here("--update-golden", "--reason", "first", *CHOSEN).assert_outcomes(passed=3)
    golden = json.loads((pytester.path / "golden" / "results" / "numbers" / "rounded.json").read_text())
    assert golden["n"] == N
    for options, is_part in (((), True), (("--full",), False)):
        bench_here("--json", "records.json", *options, *CHOSEN).assert_outcomes(passed=3)
        (record,) = json.loads((pytester.path / "records.json").read_text())["records"]
        assert (record["accuracy"]["n"] < N) == is_part
    linear(numbers.parent / "int8.onnx", WEIGHT[:, [1, 0, 2, 3, 4, 5]], int8=True)
    broken = bench_here(*CHOSEN)
    broken.stdout.fnmatch_lines_random([
        "*numbers/rounded: accuracy_drop_pp: FAIL", "*numbers/rounded: accuracy_vs_accepted: REGRESSED",
        "*; decided after * samples in random order*",
    ])  # fmt: skip


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--sequential", "--full"), "*--full asks for all test samples, --sequential for as few as decide; drop one*"),
        (
            ("--sequential", "--update-golden", "--reason", "x"),
            "*--sequential: what is accepted is of all test samples; drop it*",
        ),
    ],
)
def test_options_that_contradict_each_other_are_one_line(bench_here, numbers, options, line):
    result = bench_here(*options, *CHOSEN)
    result.stderr.fnmatch_lines([line])
    assert result.ret == pytest.ExitCode.USAGE_ERROR
