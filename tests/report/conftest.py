"""Records made by hand: realistic figures, no model."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from quantbench.records.base import Environment, pack_bits
from quantbench.records.run import Accuracy, Latency, RunRecord, Size, VerdictRecord
from quantbench.stats.paired import PairedOutcomes, tango_interval
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
    lost = tango_interval(PairedOutcomes(N, max(910 - correct, 0), max(correct - 910, 0)))
    accuracy = Accuracy(
        n=N,
        fp32=0.91,
        quantized=correct / N,
        lost=max(910 - correct, 0),
        gained=max(correct - 910, 0),
        drop_pp=100 * drop,
        drop_interval_pp=(100 * lost.low, 100 * lost.high),
        level=0.95,
        quantized_interval=(own.low, own.high),
        fp32_correct=pack_bits(bits < 910),
        quantized_correct=pack_bits(bits < correct),
    )
    size = Size(
        fp32_bytes=1_100 * 1024, quantized_bytes=math.ceil(kib * 1024), ratio=1_100 * 1024 / math.ceil(kib * 1024)
    )
    latency = speedup and Latency(
        batch_size=32,
        threads=1,
        memory_kept=True,
        fastest_form="fused",
        rounds=3,
        warmup_rounds=8,
        looks=1,
        planned_looks=4,
        out_of_time=False,
        level=0.99,
        speedup=speedup,
        speedup_interval=(0.95 * speedup, 1.04 * speedup),
        speedup_over_fastest=0.8 * speedup,
        speedup_over_fastest_interval=(0.75 * speedup, 0.85 * speedup),
        control=0.01 / 0.00999,
        control_interval=(0.995, 1.006),
        strayed=False,
        int8_s=[0.01, 0.01, 0.01],
        fp32_s=[0.01 * speedup] * 3,
        fp32_again_s=[0.00999 * speedup] * 3,
        fp32_fastest_s=[0.008 * speedup] * 3,
    )
    name = experiment.partition("/")[2]
    return RunRecord(
        experiment=experiment,
        recipe_name=recipe or name.removeprefix("ptq_").removeprefix("qat_"),
        recipe={"kind": "static_int8"},
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


def layer_record(
    experiment: str,
    correct: int | NDArray[np.bool_] = 900,
    layers: tuple[str, ...] | None = None,
    kib: float = 300.0,
    speedup: float | None = 2.0,
) -> RunRecord:
    """`record` of an experiment on some layers, post-training or trained by its name.

    Args:
        experiment: its id; `w/qat_...` was trained.
        correct: samples, or which of them.
        layers: in int8, or None for the whole model.
        kib: size of its file.
        speedup: over fp32.
    """
    made = record(experiment, int(np.sum(correct)), kib, speedup)
    trained = "/qat_" in experiment
    recipe = {"kind": "qat_int8" if trained else "static_int8", "activation": {"range": "x"} if trained else None}
    if layers is not None:
        recipe["layers"] = list(layers)
    changes: dict[str, object] = {"recipe": recipe}
    if not isinstance(correct, int):
        assert made.accuracy is not None
        changes["accuracy"] = made.accuracy.model_copy(update={"quantized_correct": pack_bits(correct)})
    return made.model_copy(update=changes)


@pytest.fixture(scope="session")
def make_record() -> MakeRecord:
    """`record` of this file."""
    return record


@pytest.fixture(scope="session")
def make_layer() -> MakeRecord:
    """`layer_record` of this file."""
    return layer_record


@pytest.fixture(scope="session")
def two_layer_workloads() -> list[RunRecord]:
    """Every kind of part in each of two workloads: negative drops, one part never trained, a control, two hybrids."""
    figures = {
        "ptq_static": (838, None),
        "ptq_block1": (848, ("block1",)),
        "ptq_block2": (888, ("block2",)),
        "ptq_block3": (897, ("block3",)),
        "ptq_block4": (915, ("block4",)),
        "ptq_hybrid": (890, ("block2", "block3", "block4")),
        "ptq_hybrid34": (905, ("block3", "block4")),
        "qat_int8": (880, None),
        "qat_block1": (901, ("block1",)),
        "qat_block2": (912, ("block2",)),
        "qat_block4": (909, ("block4",)),
        "qat_control": (914, ()),
    }
    return [
        layer_record(f"{workload}/{name}", correct + shift, layers)
        for workload, shift in (("m5_spoken_words", 0), ("m5_speech_commands", -5))
        for name, (correct, layers) in figures.items()
    ]


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
