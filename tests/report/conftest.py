"""Records made by hand: realistic figures, no model."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from quantbench.records import Accuracy, Environment, Latency, RunRecord, Size, VerdictRecord, pack_bits
from quantbench.stats.proportions import wilson_interval

N = 1_000
ENVIRONMENT = Environment(
    processor="Example CPU",
    architecture="x86_64",
    isa=("avx2", "avx512_vnni"),
    cores=8,
    system="Linux 6.8",
    python="3.12.1",
    versions={"torch": "2.14.1"},
)
MakeRecord = Callable[..., RunRecord]


def record(
    experiment: str,
    correct: int = 900,
    kib: float = 300.0,
    speedup: float | None = 2.0,
    outcome: str = "PASS",
    recipe: str | None = None,
) -> RunRecord:
    """An experiment that had `correct` of 1,000 samples right, beside a baseline of 1,100 KiB that had 910.

    Args:
        experiment: its id.
        correct: samples.
        kib: size of its file.
        speedup: over fp32, or None if nothing was timed.
        outcome: of its only gate.
        recipe: its recipe's name, by default the experiment's without `ptq_` and `qat_`.
    """
    own = wilson_interval(correct, N)
    bits = np.arange(N)
    drop = (910 - correct) / N
    accuracy = Accuracy(
        n=N,
        fp32=0.91,
        quantized=correct / N,
        lost=max(910 - correct, 0),
        gained=max(correct - 910, 0),
        drop_pp=100 * drop,
        drop_interval_pp=(100 * drop - 0.9, 100 * drop + 0.9),
        level=0.95,
        quantized_interval=(own.low, own.high),
        fp32_correct=pack_bits(bits < 910),
        quantized_correct=pack_bits(bits < correct),
    )
    size = Size(fp32_bytes=1_100 * 1024, quantized_bytes=math.ceil(kib * 1024), ratio=1_100 / kib)
    latency = speedup and Latency(
        batch_size=32,
        threads=1,
        memory_kept=True,
        rounds=3,
        level=0.99,
        speedup=speedup,
        speedup_interval=(0.95 * speedup, 1.04 * speedup),
        speedup_over_fused=0.8 * speedup,
        speedup_over_fused_interval=(0.75 * speedup, 0.85 * speedup),
        int8_s=[0.01, 0.01, 0.01],
        fp32_s=[0.01 * speedup] * 3,
        fp32_fused_s=[0.008 * speedup] * 3,
    )
    name = experiment.partition("/")[2]
    return RunRecord(
        experiment=experiment,
        recipe_name=recipe or name.removeprefix("ptq_").removeprefix("qat_"),
        recipe={"kind": "StaticInt8"},
        backend="eager",
        engine="x86",
        threads=1,
        environment=ENVIRONMENT,
        data_name="shapes",
        data_note="",
        test_sha256="0" * 64,
        baseline_sha256="1" * 64,
        command="pytest bench --json records.json",
        accuracy=accuracy,
        size=size,
        latency=latency or None,
        verdicts=[VerdictRecord(quantity="size_ratio", outcome=outcome, measured="", requirement="")],
    )


@pytest.fixture(scope="session")
def make_record() -> MakeRecord:
    """`record` of this file."""
    return record


@pytest.fixture
def two_workloads() -> list[RunRecord]:
    """Five experiments of each of two workloads, as close together as real ones are."""
    figures = {
        "fp32_baseline": ((910, 1_100.0, None), (934, 1_104.0, None)),
        "ptq_dynamic_int8": ((909, 1_097.0, 1.01), (934, 1_101.0, 0.99)),
        "ptq_static_int8_per_tensor": ((896, 291.0, 2.35), (921, 292.0, 2.28)),
        "ptq_static_int8_per_channel": ((905, 299.0, 2.31), (930, 300.0, 2.33)),
        "ptq_static_int8_histogram": ((907, 299.5, 2.21), (931, 300.4, 2.24)),
        "qat_int8": ((911, 299.0, 2.30), (933, 300.0, 2.31)),
    }
    return [
        record(f"{workload}/{name}", *values[i])
        for i, workload in enumerate(("cifar_cnn_shapes", "cifar_cnn_cifar10"))
        for name, values in figures.items()
    ]
