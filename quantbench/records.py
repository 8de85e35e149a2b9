"""What is written down: the card of trained weights and the record of one run, as checked JSON."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from quantbench.errors import QuantbenchError
from quantbench.registry import validation_lines

# Of files of records; raised with every change of their fields.
SCHEMA_VERSION = 3
Model = TypeVar("Model", bound=BaseModel)


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Environment(_Record):
    """Where something was computed; never the machine's name.

    Attributes:
        isa: instruction sets that decide which int8 kernels run.
        versions: of the libraries that compute.
    """

    processor: str
    architecture: str
    isa: tuple[str, ...]
    cores: int
    system: str
    python: str
    versions: dict[str, str]
    accelerator: str | None = None


class BaselineCard(_Record):
    """How committed weights came to be; lies beside them as JSON.

    Attributes:
        weights_sha256: of the safetensors file; loading refuses any other.
        parent_sha256: of the weights that training started from, for quantization-aware training.
        data_sha256: of each split: samples, order and labels.
        n_per_class: training and test samples of each class.
        accuracy: on the test split, 0..1.
        accuracy_interval: Wilson interval at 95 %, 0..1.
        n_validation: samples of the search split, by which the best epoch was chosen; 0 where the last one was taken.
        best_epoch: the epoch that the weights are of, counted from 1; None where there was no validation.
        amp: what ran in lower precision, in words; None where nothing did.
        history: one entry per epoch: `loss` and `accuracy` on training samples as they were learned from; `lr` of the
            last step; `seconds`; and, where there was validation, `validation_loss` and `validation_accuracy` in eval
            mode. Losses are in nats, accuracies 0..1. Older cards have the first two only.
        duration_s: of all epochs.
    """

    workload: str
    recipe: str
    model: dict[str, Any]
    data: dict[str, Any]
    data_note: str
    data_sha256: dict[str, str]
    n_train: int
    n_test: int
    n_validation: int = 0
    n_per_class: dict[str, tuple[int, int]] = {}
    accuracy: float
    accuracy_interval: tuple[float, float]
    loss: float
    training: dict[str, Any]
    history: list[dict[str, float]]
    best_epoch: int | None = None
    amp: str | None = None
    seed: int
    duration_s: float
    command: str
    environment: Environment
    weights_sha256: str
    parent_sha256: str | None = None


class Accuracy(_Record):
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


class Size(_Record):
    """Bytes of the saved files, both written by `torch.save` of a state dict."""

    fp32_bytes: int
    quantized_bytes: int
    ratio: float


class CheckpointFacts(_Record):
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


class CoverageFacts(_Record):
    """Multiply-accumulates of one sample, by the kernels that ran."""

    int8_macs: int
    float_macs: int
    int8_share: float
    float_layers: dict[str, int]


class Latency(_Record):
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


class Memory(_Record):
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


class VerdictRecord(_Record):
    """One judged claim.

    Attributes:
        change: IMPROVED, SAME, REGRESSED or INCONCLUSIVE, where the claim compares with what was accepted.
    """

    quantity: str
    outcome: str
    measured: str
    requirement: str
    change: str | None = None


class RunRecord(_Record):
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
    verdicts: list[VerdictRecord] = []


class NotRun(_Record):
    """An experiment that this run could not start, with the reason and the way to run it."""

    experiment: str
    reason: str


class RecordFile(_Record):
    """What `--json` writes."""

    schema_version: int = SCHEMA_VERSION
    records: list[RunRecord]
    not_run: list[NotRun] = []


def pack_bits(correct: NDArray[np.bool_]) -> str:
    """Per-sample correctness `[n]` as base64 of packed bits."""
    return base64.b64encode(np.packbits(correct).tobytes()).decode("ascii")


def unpack_bits(packed: str, n: int) -> NDArray[np.bool_]:
    """The reverse of `pack_bits`."""
    return np.unpackbits(np.frombuffer(base64.b64decode(packed), dtype=np.uint8), count=n).astype(np.bool_)


def read_json(model: type[Model], path: Path, error: type[QuantbenchError], advice: str) -> Model:
    """Reads a JSON file into a checked model.

    Args:
        model: what the file must hold.
        path: the file.
        error: raised for anything wrong, with one line per mistake.
        advice: ends the message: what to do.
    """
    try:
        return model.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except OSError as problem:
        raise error(f"{path}: cannot be read ({problem.strerror}); {advice}") from None
    except ValidationError as problem:
        raise error("\n".join([*validation_lines(problem, str(path)), advice])) from None
    except ValueError as problem:
        raise error(f"{path}: not valid JSON ({problem}); {advice}") from None
