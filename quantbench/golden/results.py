"""Accepted results under version control: `golden/results/<workload>/<experiment>.json`."""

from __future__ import annotations

import base64
import json
import shlex
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from quantbench.errors import GoldenError
from quantbench.files import write_json
from quantbench.records.base import Environment, read_json, unpack_bits

SCHEMA_VERSION = 1
# A record of 10,000 samples takes 4 KB; anything this large is not one.
MAX_GOLDEN_BYTES = 1 << 24


Count = Annotated[int, Field(gt=0, strict=True)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class MachineClass(_Strict):
    """What decides the bits that a machine computes and the kernels it computes them with; never its name.

    Attributes:
        isa: instruction sets among those for which int8 kernels exist.
        torch: its version, without the build that tells of accelerators.
        threads: intra-operator.
    """

    architecture: str
    isa: tuple[str, ...]
    engine: str
    torch: str
    threads: int

    @classmethod
    def of(cls, environment: Environment, engine: str, threads: int) -> MachineClass:
        """The class of the machine that an environment describes."""
        torch = environment.versions.get("torch", "unknown").partition("+")[0]
        return cls(
            architecture=environment.architecture, isa=environment.isa, engine=engine, torch=torch, threads=threads
        )

    def __str__(self) -> str:
        isa = " ".join((self.architecture, *self.isa))
        return f"{isa}, engine {self.engine}, torch {self.torch}, {self.threads} thread(s)"


class Inputs(_Strict):
    """Hashes of all that a result was computed from.

    Attributes:
        config: of model, data, recipe and backend as configured.
        baseline: of the fp32 weights.
        weights: of the weights that were quantized: the baseline's, or those trained for this experiment.
        calibration: of the calibration split.
        test: of the test split: samples, order and labels.
    """

    config: str
    baseline: str
    weights: str
    calibration: str
    test: str

    def differing(self, other: Inputs) -> list[str]:
        """Names of those that are not the other's."""
        return [name for name in type(self).model_fields if getattr(self, name) != getattr(other, name)]


class AcceptedSpeedup(_Strict):
    """A speed-up that was accepted for one class of machine.

    Attributes:
        speedup: median of fp32 / int8, with its interval at `level`.
        inputs: of the result it was measured with.
    """

    machine: MachineClass
    batch_size: Count
    rounds: Count
    level: Annotated[float, Field(gt=0, lt=1)]
    speedup: float
    speedup_interval: tuple[float, float]
    inputs: Inputs

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        low, high = self.speedup_interval
        if not 0 < low <= self.speedup <= high:
            raise ValueError(
                f"speedup {self.speedup:g} and its interval [{low:g}, {high:g}] must be positive and in order"
            )
        return self


class Acceptance(_Strict):
    """Who accepts writes down when, why, and what changed by it, old → new."""

    date: str
    reason: str
    changed: list[str]


class AcceptedResult(_Strict):
    """What was last accepted of an experiment.

    Attributes:
        correct: packed bits of per-sample correctness, base64, most significant bit first.
        n: samples.
        metrics: figures to read; only `accuracy` is checked against the bits.
        speedups: one for each class of machine that has one.
        history: oldest first.
    """

    schema_version: int = SCHEMA_VERSION
    experiment: str
    machine: MachineClass
    versions: dict[str, str]
    inputs: Inputs
    n: Count
    correct: str
    metrics: dict[str, float]
    speedups: list[AcceptedSpeedup] = []
    history: list[Acceptance] = []

    @property
    def bits(self) -> NDArray[np.bool_]:
        """Per-sample correctness, `[n]`."""
        return unpack_bits(self.correct, self.n)

    def speedup_on(self, machine: MachineClass) -> AcceptedSpeedup | None:
        """The one accepted for that class of machine, if any."""
        return next((each for each in self.speedups if each.machine == machine), None)


def result_path(golden: Path, experiment: str) -> Path:
    """Where an experiment's accepted result lies."""
    return golden / "results" / f"{experiment}.json"


def read_result(golden: Path, experiment: str) -> AcceptedResult | None:
    """An accepted result, or None if none was accepted.

    Raises:
        GoldenError: if the file is damaged, edited by hand, of another schema or of another experiment.
    """
    path = result_path(golden, experiment)
    if not path.is_file():
        return None
    advice = f"restore it from version control, or remove it and accept again: {accept_command(experiment)}"
    _check_outline(path, advice)
    result = read_json(AcceptedResult, path, GoldenError, advice)
    if result.experiment != experiment:
        raise GoldenError(f"{path}: experiment: is '{result.experiment}', which does not belong here; {advice}")
    _check_bits(path, result, advice)
    return result


def write_result(golden: Path, result: AcceptedResult) -> Path:
    """Writes an accepted result whole or not at all.

    Raises:
        GoldenError: if it cannot be written; what was there stays.
    """
    path = result_path(golden, result.experiment)
    try:
        write_json(path, result.model_dump(mode="json"))
    except OSError as error:
        raise GoldenError(f"{path}: cannot be written ({error.strerror}); what was accepted stays as it was") from None
    return path


def accept_command(experiment: str, speed_only: bool = False) -> str:
    """The command that accepts what a run of the experiment finds.

    Args:
        experiment: its id.
        speed_only: whether a speed-up is added to an accepted result that stays as it is otherwise.
    """
    only = " -m latency" if speed_only else ""
    return f'pytest bench --experiment {shlex.quote(experiment)}{only} --update-golden --reason "…"'


def _check_outline(path: Path, advice: str) -> None:
    """First of all, since another schema makes every other message beside the point."""
    if path.stat().st_size > MAX_GOLDEN_BYTES:
        raise GoldenError(f"{path}: larger than {MAX_GOLDEN_BYTES} bytes, which no accepted result is; {advice}")
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise GoldenError(f"{path}: nested too deeply, which no accepted result is; {advice}") from None
    except (ValueError, OSError):
        return  # told by the reader of the whole file
    if not isinstance(content, dict):
        return
    # By type too: to pydantic a text "2" and a 2.0 are numbers, to Python True is 1.
    version = content.get("schema_version")
    if type(version) is not int or version != SCHEMA_VERSION:
        told = "is missing" if version is None else f"is {version!r:.40}"
        raise GoldenError(
            f"{path}: schema_version: {told}, but this quantbench reads {SCHEMA_VERSION}; install the version "
            f"that wrote it, or {advice}"
        )


def _check_bits(path: Path, result: AcceptedResult, advice: str) -> None:
    expected = -(-result.n // 8)
    try:
        packed = base64.b64decode(result.correct, validate=True)
    except ValueError as error:
        raise GoldenError(f"{path}: correct: not base64 ({error}); {advice}") from None
    if len(packed) != expected:
        raise GoldenError(
            f"{path}: correct: holds {len(packed):,} bytes, but the bits of {result.n:,} samples take {expected:,}; "
            f"{advice}"
        )
    if packed[-1] & (1 << (8 * expected - result.n)) - 1:
        raise GoldenError(f"{path}: correct: has bits beyond the {result.n:,} samples; {advice}")
    accuracy, told = float(result.bits.mean()), result.metrics.get("accuracy")
    if told is None:
        raise GoldenError(f"{path}: metrics.accuracy: is missing, but its bits say {accuracy:g}; {advice}")
    if abs(told - accuracy) > 0.5 / result.n:
        raise GoldenError(f"{path}: metrics.accuracy: is {told:g}, but its bits say {accuracy:g}; {advice}")
