"""The record of one run: everything that was measured of an experiment, as checked JSON."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from quantbench.records.base import Environment, Record

# Of files of records; raised with every change of their fields.
SCHEMA_VERSION = 3


class Accuracy(Record):
    """Both models on the same test samples.

    Attributes:
        n: samples.
        fp32: accuracy of the baseline, 0..1.
        quantized: accuracy of the quantized model, 0..1.
        lost: samples right before, wrong after.
        gained: samples wrong before, right after.
        drop_pp: accuracy lost, percentage points.
        drop_interval_pp: Tango's score interval at `level`, percentage points.
        level: of both intervals.
        quantized_interval: Wilson interval of `quantized`, 0..1.
        fp32_correct: packed bits of per-sample correctness, base64, most significant bit first.
        quantized_correct: the same for the quantized model.
    """

    n: int
    fp32: float
    quantized: float
    lost: int
    gained: int
    drop_pp: float
    drop_interval_pp: tuple[float, float]
    level: float
    quantized_interval: tuple[float, float]
    fp32_correct: str
    quantized_correct: str


class Size(Record):
    """Bytes of the saved files, both written by `torch.save` of a state dict."""

    fp32_bytes: int
    quantized_bytes: int
    ratio: float


class CheckpointFacts(Record):
    """The saved file, as a fresh process found it.

    Attributes:
        reload_identical: whether its logits there were bit-identical to those of the model that was saved.
        largest_difference: largest absolute difference of a logit; −1 where they cannot be compared.
    """

    sha256: str
    payload_bytes: int
    keys: dict[str, dict[str, Any]]
    reload_identical: bool
    largest_difference: float


class CoverageFacts(Record):
    """Multiply-accumulates of one sample, by the kernels that ran."""

    int8_macs: int
    float_macs: int
    int8_share: float
    float_layers: dict[str, int]


class Latency(Record):
    """Interleaved forwards, seconds, aligned by round.

    Attributes:
        memory_kept: whether the allocator kept freed memory, so that no time was spent on page faults.
        looks: taken of those planned, before the interval decided or time was up.
        out_of_time: whether the time budget ended the measurement.
        level: of each interval over all planned looks together.
        speedup: median of fp32 / int8 over rounds.
        speedup_interval: bootstrap interval at `level`.
        fastest_form: the form of the fp32 model that was the fastest, such as fused with channels last.
        speedup_over_fastest: the same against that form.
        control: the same of the fp32 model against itself, in the same rounds.
        strayed: whether the control is too far from 1 for anything timed beside it to be believed.
    """

    batch_size: int
    threads: int
    memory_kept: bool
    fastest_form: str
    rounds: int
    warmup_rounds: int
    looks: int
    planned_looks: int
    out_of_time: bool
    level: float
    speedup: float
    speedup_interval: tuple[float, float]
    speedup_over_fastest: float
    speedup_over_fastest_interval: tuple[float, float]
    control: float
    control_interval: tuple[float, float]
    strayed: bool
    int8_s: list[float]
    fp32_s: list[float]
    fp32_again_s: list[float]
    fp32_fastest_s: list[float]


class Memory(Record):
    """Peak resident memory of one forward in fresh processes, above what was resident before the model was loaded.

    Attributes:
        processes: fresh processes for each of the two models; every figure is their median.
        ratio: fp32 / quantized; None where a peak is below what counting pages resolves.
        ratio_range: smallest and largest ratio of any two processes.
        fp32_each_bytes: of each process, ascending.
        fp32_load_bytes: peak while the model was built and filled from its file.
        fp32_total_bytes: peak of the whole process in the forward, libraries included.
    """

    batch_size: int
    threads: int
    processes: int
    fp32_bytes: int
    quantized_bytes: int
    ratio: float | None
    ratio_range: tuple[float, float] | None
    fp32_each_bytes: list[int]
    quantized_each_bytes: list[int]
    fp32_load_bytes: int
    quantized_load_bytes: int
    fp32_total_bytes: int
    quantized_total_bytes: int


class VerdictRecord(Record):
    """One judged claim.

    Attributes:
        change: IMPROVED, SAME, REGRESSED or INCONCLUSIVE, where the claim compares with what was accepted.
    """

    quantity: str
    outcome: str
    measured: str
    requirement: str
    change: str | None = None


class RunRecord(Record):
    """Everything one run measured of one experiment; a part that was not asked for is None."""

    experiment: str
    recipe_name: str
    recipe: dict[str, Any]
    backend: str
    engine: str
    threads: int
    environment: Environment
    data_name: str
    data_note: str
    test_sha256: str
    baseline_sha256: str
    command: str
    accuracy: Accuracy | None = None
    size: Size | None = None
    checkpoint: CheckpointFacts | None = None
    coverage: CoverageFacts | None = None
    latency: Latency | None = None
    memory: Memory | None = None
    verdicts: list[VerdictRecord] = Field(default_factory=list)


class NotRun(Record):
    """An experiment that this run could not start, with the reason and the way to run it."""

    experiment: str
    reason: str


class RecordFile(Record):
    """What `--json` writes."""

    schema_version: int = SCHEMA_VERSION
    records: list[RunRecord]
    not_run: list[NotRun] = Field(default_factory=list)
