"""A task whose scores are not 0 and 1 through pytest: claims of its own kind are made, accepted and compared."""

import numpy as np
import pytest
from scored_models import FEATURES, linear, workload

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(300, FEATURES)).astype(np.float32)
WEIGHT = (RANDOM.normal(size=(FEATURES, 6)) / 8).astype(np.float32)


@pytest.fixture
def numbers(pytester, monkeypatch, machine):
    monkeypatch.setenv("QUANTBENCH_CACHE", str(pytester.path / "cache"))
    targets = X @ WEIGHT + 0.1 * RANDOM.normal(size=(300, 6))
    path = workload(pytester.path, "mae", X, targets, "{score_drop: 0.05, mae: 0.3}")
    linear(path.parent / "fp32.onnx", WEIGHT)
    linear(path.parent / "int8.onnx", WEIGHT, int8=True)
    return path


def test_its_claims_are_made_accepted_and_held(pytester, bench_here, numbers):
    chosen = ("--experiment", "numbers/rounded", "-k", "score or mae or accuracy")
    first = bench_here("--update-golden", "--reason", "first", *chosen)
    first.stdout.fnmatch_lines(["*score: – → 0.0*", "experiment *score *lost [[]95 %]*"])
    first.assert_outcomes(passed=3)
    assert (pytester.path / "golden" / "results" / "numbers" / "rounded.json").is_file()
    linear(numbers.parent / "int8.onnx", -WEIGHT, int8=True)
    broken = bench_here(*chosen)
    broken.assert_outcomes(failed=3)
    broken.stdout.fnmatch_lines_random([
        "*numbers/rounded: score_drop: FAIL", "*numbers/rounded: score_vs_accepted: REGRESSED",
        "*numbers/rounded: mae: FAIL",
    ])  # fmt: skip
