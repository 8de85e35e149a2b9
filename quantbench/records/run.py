"""The record of one run: everything that was measured of an experiment, as checked JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    create_model,
    model_serializer,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from quantbench.recipes.translation import QuantityName, RecipeName, neutral
from quantbench.records.base import Environment, Part, Record, unpack_bits
from quantbench.registry import QUANTITIES
from quantbench.stats.verdicts import Verdict

# Of files of records; raised with every change of their fields.
SCHEMA_VERSION = 4
# Read too: what was added since then may be absent. 4 added `classes` and warnings.
OLDER_VERSIONS = (3,)
# Parts in the order in which files of that version hold them; those of other quantities follow.
WRITTEN_FIRST = ("accuracy", "size", "checkpoint", "coverage", "latency", "memory", "classes")

P = TypeVar("P", bound=Part)


class Accuracy(Part):
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

    def impossible(self) -> str | None:
        """An interval without its estimate, or an accuracy that is not the one of its samples."""
        low, high = self.drop_interval_pp
        if not -100 <= low <= self.drop_pp <= high <= 100:
            return f"an accuracy drop of {self.drop_pp} pp [{low}, {high}]"
        for share, bits in ((self.fp32, self.fp32_correct), (self.quantized, self.quantized_correct)):
            try:
                matches = self.n > 0 and abs(int(unpack_bits(bits, self.n).sum()) - share * self.n) < 0.5
            except ValueError:
                matches = False
            if not matches:
                return f"an accuracy of {share} that is not the one of its {self.n} samples"
        return None


class Size(Part):
    """Bytes of the saved files, both written by `torch.save` of a state dict."""

    fp32_bytes: int
    quantized_bytes: int
    ratio: float

    def impossible(self) -> str | None:
        """A file without a byte."""
        if min(self.fp32_bytes, self.quantized_bytes) > 0 and 0 < self.ratio < math.inf:
            return None
        return f"sizes of {self.fp32_bytes} and {self.quantized_bytes} bytes with a ratio of {self.ratio}"


class CheckpointFacts(Part):
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


class CoverageFacts(Part):
    """Multiply-accumulates of one sample, by the kernels that ran.

    Attributes:
        int8_share: share of those that were counted, 0..1.
        float_layers: of each layer that computed in floating point.
        int8_layers: of each layer that computed in int8; empty in records that were written before it was noted.
        uncounted: operators and layers that may have multiplied, and whose work is in none of these figures.
    """

    int8_macs: int
    float_macs: int
    int8_share: float
    float_layers: dict[str, int]
    int8_layers: dict[str, int] = Field(default_factory=dict)
    uncounted: list[str] = Field(default_factory=list)


class Work(Part):
    """Multiply-accumulates of one sample in both models, of any precision.

    Attributes:
        ratio: quantized / fp32; 0 where none of fp32 was counted.
        idle_layers: those that multiply in fp32 and not in the quantized model, with their work in fp32.
        fp32_uncounted: operators and layers that may have multiplied, and whose work is not in these figures.
        quantized_uncounted: the same of the quantized model.
    """

    fp32_macs: int
    quantized_macs: int
    ratio: float
    idle_layers: dict[str, int]
    fp32_uncounted: list[str]
    quantized_uncounted: list[str]

    def impossible(self) -> str | None:
        """Less than no work, or a ratio that no work has."""
        if min(self.fp32_macs, self.quantized_macs) >= 0 and 0 <= self.ratio < math.inf:
            return None
        return f"{self.fp32_macs} and {self.quantized_macs} multiply-accumulates with a ratio of {self.ratio}"


class Counted(Part):
    """Counts of the forwards of one form beside their wall time, aligned by round.

    Attributes:
        thread_s: processor time of the calling thread, seconds.
        process_s: processor time of all threads, seconds.
        voluntary: switches because the thread waited.
        involuntary: switches because something else was to run.
        minor_faults: pages that were mapped anew.
        major_faults: pages that were read from a disk.
    """

    thread_s: list[float]
    process_s: list[float]
    voluntary: list[int]
    involuntary: list[int]
    minor_faults: list[int]
    major_faults: list[int]


class Latency(Part):
    """Interleaved forwards, seconds, aligned by round.

    Attributes:
        memory_kept: whether the allocator kept freed memory, so that no time was spent on page faults.
        looks: taken of those planned, before the interval decided or time was up.
        out_of_time: whether the time budget ended the measurement.
        level: of each interval over all planned looks together.
        speedup: median of fp32 / int8 over rounds.
        speedup_interval: distribution-free interval at `level`.
        fastest_form: the form of the fp32 model that was the fastest, such as fused with channels last.
        forms_left_out: lines about forms of the fp32 model that are not timed.
        speedup_over_fastest: the same against that form.
        control: the same of the fp32 model against itself, in the same rounds.
        strayed: whether the control is too far from 1 for anything timed beside it to be believed.
        clock: of all ratios: `wall`, or `processor` for the calling thread's processor time.
        clock_note: why it is not wall time.
        doubt: why no verdict follows from either clock; None if one does.
        speedup_by: clock → its median of fp32 / int8, for both.
        repeats: how often the shorter of fp32 and int8 ran in the control of unequal lengths.
        repeated_s: its wall times; form `repeated` in `counted`.
        counted: form → what was counted beside its wall times; empty where the system counts nothing.
        clean: share of rounds in which no forward was preempted.
        others_cores: cores that other processes kept busy meanwhile.
        stolen: share of a core's time that a hypervisor took.
        pressure: share of the time in which something waited for a core.
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
    forms_left_out: list[str] = Field(default_factory=list)
    clock: Literal["wall", "processor"] = "wall"
    clock_note: str = ""
    doubt: str | None = None
    speedup_by: dict[str, float] = Field(default_factory=dict)
    repeats: int | None = None
    repeated_s: list[float] = Field(default_factory=list)
    counted: dict[str, Counted] = Field(default_factory=dict)
    clean: float | None = None
    others_cores: float | None = None
    stolen: float | None = None
    pressure: float | None = None

    def impossible(self) -> str | None:
        """A time or a ratio that is not positive, or a round without its times."""
        for speedup, limits in (
            (self.speedup, self.speedup_interval),
            (self.speedup_over_fastest, self.speedup_over_fastest_interval),
            (self.control, self.control_interval),
        ):
            if not all(0 < each < math.inf for each in (speedup, *limits)):
                return f"a speed-up of {speedup} [{limits[0]}, {limits[1]}]"
        forms = (self.fp32_s, self.fp32_again_s, self.fp32_fastest_s, self.int8_s)
        if not all(len(times) == self.rounds > 0 and all(0 < each < math.inf for each in times) for times in forms):
            return f"not {self.rounds} forward times of each form, or some that are not positive"
        return None


class Memory(Part):
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
        warning: what else was noticed, although it decided nothing.
    """

    quantity: QuantityName
    outcome: str
    measured: str
    requirement: str
    change: str | None = None
    warning: str | None = None

    @classmethod
    def of(cls, verdict: Verdict) -> VerdictRecord:
        """A verdict as it is written."""
        return cls(
            quantity=verdict.quantity,
            outcome=verdict.outcome,
            measured=verdict.measured,
            requirement=verdict.requirement,
            change=verdict.change,
            warning=verdict.warning or None,
        )


class RunRecord(Record):
    """Everything one run measured of one experiment.

    Beside these facts it holds one part for each quantity of the table that has a `record`, under the quantity's
    `part`; one that was not asked for is None. In JSON all of them are keys of one object.
    """

    model_config = ConfigDict(extra="allow")

    experiment: str
    recipe_name: RecipeName
    recipe: Annotated[dict[str, Any], AfterValidator(neutral)]
    backend: str
    engine: str
    threads: int
    environment: Environment
    data_name: str
    data_note: str
    test_sha256: str
    baseline_sha256: str
    command: str
    verdicts: list[VerdictRecord] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _with_parts(cls, given: Any) -> Any:
        """Checks each part against the model of its quantity; a part of no installed quantity is refused by name."""
        if not isinstance(given, Mapping):
            return given
        facts = {key: value for key, value in given.items() if key in cls.model_fields}
        parts = {key: value for key, value in given.items() if key not in cls.model_fields and value is not None}
        models = part_models()
        if unknown := [_unknown(part, value) for part, value in parts.items() if part not in models]:
            raise ValidationError.from_exception_data(cls.__name__, unknown)
        checked = _parts_model(tuple(models.items())).model_validate(parts)
        return facts | {part: getattr(checked, part) for part in models}

    @model_serializer(mode="wrap")
    def _flat(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Parts stand before the verdicts."""
        fields: dict[str, Any] = handler(self)
        fields["verdicts"] = fields.pop("verdicts")
        return fields

    @property
    def parts(self) -> dict[str, Part]:
        """Results, by part of the record."""
        return {part: found for part, found in (self.model_extra or {}).items() if found is not None}

    @property
    def accuracy(self) -> Accuracy | None:
        """Both models on the same test samples."""
        return self._part("accuracy", Accuracy)

    @property
    def size(self) -> Size | None:
        """Bytes of the saved files."""
        return self._part("size", Size)

    @property
    def checkpoint(self) -> CheckpointFacts | None:
        """The saved file, as a fresh process found it."""
        return self._part("checkpoint", CheckpointFacts)

    @property
    def coverage(self) -> CoverageFacts | None:
        """Multiply-accumulates by kernels."""
        return self._part("coverage", CoverageFacts)

    @property
    def latency(self) -> Latency | None:
        """Interleaved forwards."""
        return self._part("latency", Latency)

    @property
    def memory(self) -> Memory | None:
        """Peak resident memory of one forward."""
        return self._part("memory", Memory)

    def _part(self, name: str, model: type[P]) -> P | None:
        found = self.parts.get(name)
        return found if isinstance(found, model) else None


def part_models() -> dict[str, type[Part]]:
    """Part of a record → its model, for each quantity of the table that records what it measures."""
    models = {each.part: each.record for each in QUANTITIES.all() if each.record is not None}
    return {part: models[part] for part in sorted(models, key=lambda part: (part not in WRITTEN_FIRST, _rank(part)))}


def _rank(part: str) -> int:
    return WRITTEN_FIRST.index(part) if part in WRITTEN_FIRST else 0


def _unknown(part: str, value: Any) -> InitErrorDetails:
    message = "no installed quantity measures this part; install the distribution that does, or measure again without"
    return {"type": PydanticCustomError("unknown_part", message), "loc": (part,), "input": value}


@cache
def _parts_model(models: tuple[tuple[str, type[Part]], ...]) -> type[Record]:
    fields: dict[str, Any] = {part: (model | None, None) for part, model in models}
    return create_model("Parts", __base__=Record, **fields)


class NotRun(Record):
    """An experiment that this run could not start, with the reason and the way to run it."""

    experiment: str
    reason: str


class RecordFile(Record):
    """File that `--json` writes."""

    schema_version: int = SCHEMA_VERSION
    records: list[RunRecord]
    not_run: list[NotRun] = Field(default_factory=list)
