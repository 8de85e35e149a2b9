"""Sensitivity of a model's layers, from records of experiments that quantize some layers only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from quantbench.config.selection import claims_command
from quantbench.errors import ConfigError
from quantbench.records.base import unpack_bits
from quantbench.records.run import Accuracy, Latency, RunRecord
from quantbench.report.tables import NOTHING, markdown_rows, plain_table
from quantbench.stats.intervals import Interval
from quantbench.stats.paired import PairedOutcomes, tango_interval

COLUMNS = (
    "int8",
    "PTQ drop pp [95 %]",
    "over the next [95 %]",
    "QAT drop pp [95 %]",
    "QAT regains pp [95 %]",
)
HYBRID_COLUMNS = (
    "int8",
    "drop pp [95 %]",
    "regained pp [95 %]",
    "KiB more",
    "pp per KiB",
    "time / fp32 [99 %]",
    "ms more per batch",
    "pp per ms",
)
ALL = "all layers"
NONE = "none (fine-tuned only)"
# Kinds of recipes that may name the layers that they quantize.
BY_NAME = ("static_int8", "qat_int8")
KIB = 1024


@dataclass(frozen=True)
class Part:
    """Some layers in int8, by post-training quantization and by quantization-aware training.

    Attributes:
        name: the layers, or `ALL`, or `NONE`.
        layers: as the recipe names them; None for all of the model.
        ptq: its accuracy after calibration, or None if not measured.
        qat: after training, or None.
    """

    name: str
    layers: tuple[str, ...] | None
    ptq: RunRecord | None
    qat: RunRecord | None

    @property
    def ptq_accuracy(self) -> Accuracy | None:
        """Of the calibrated model."""
        return self.ptq.accuracy if self.ptq else None

    @property
    def qat_accuracy(self) -> Accuracy | None:
        """Of the trained model."""
        return self.qat.accuracy if self.qat else None


def sensitivities(records: Sequence[RunRecord]) -> dict[str, list[Part]]:
    """The parts of each workload that has experiments on single layers, the most sensitive layer first, `ALL` last.

    The whole model's figures are those of the same qconfig: the processor's default, and `qat_int8`. Layers that were
    not calibrated follow the others, by their drop after training. Of several backends the first by name counts.

    Raises:
        ConfigError: if a workload's records are of different test samples or weights, which no pairing can compare.
    """
    found: dict[str, list[Part]] = {}
    for workload in dict.fromkeys(record.experiment.partition("/")[0] for record in records):
        measured = [r for r in records if r.experiment.partition("/")[0] == workload and r.accuracy]
        backend = min((r.backend for r in measured if len(_layers(r) or ()) == 1), default=None)
        own = [r for r in measured if r.backend == backend]
        layers = {_layers(record) for record in own if _layers(record) is not None}
        singles = sorted(each for each in layers if each is not None and len(each) == 1)
        if not singles:
            continue
        _check_comparable(own)
        parts = sorted((_part(own, layers) for layers in singles), key=_rank)
        if () in layers:
            parts.append(_part(own, ()))
        found[workload] = [*parts, _part(own, None)]
    return found


def _check_comparable(records: Sequence[RunRecord]) -> None:
    first = records[0]
    for other in records:
        if (other.test_sha256, other.baseline_sha256) != (first.test_sha256, first.baseline_sha256):
            workload = first.experiment.partition("/")[0]
            raise ConfigError(
                f"{first.experiment} and {other.experiment} were measured on different test samples or weights; "
                f"measure all of them again: {claims_command()} --experiment '{workload}/*' --json FILE"
            )


def _rank(part: Part) -> tuple[bool, float]:
    accuracy = part.ptq_accuracy or part.qat_accuracy
    return part.ptq_accuracy is None, -accuracy.drop_pp if accuracy else 0.0


def _layers(record: RunRecord) -> tuple[str, ...] | None:
    """Those that a recipe quantizes; None of one that quantizes all of the model, or chooses layers by their types."""
    layers = record.recipe.get("layers") if record.recipe["kind"] in BY_NAME else None
    return None if layers is None else tuple(layers)


def _part(records: Sequence[RunRecord], layers: tuple[str, ...] | None) -> Part:
    def of(kind: str) -> RunRecord | None:
        matching = [r for r in records if r.recipe["kind"] == kind and _layers(r) == layers]
        return next((r for r in matching if kind == "qat_int8" or _is_default(r)), None)

    name = ALL if layers is None else ", ".join(layers) or NONE
    return Part(name, layers, of("static_int8"), of("qat_int8"))


def _is_default(record: RunRecord) -> bool:
    """Of recipes for the whole model only the processor's default is comparable with the layers."""
    return record.recipe.get("activation") is None


def difference_pp(better: Accuracy, worse: Accuracy) -> tuple[float, Interval]:
    """Difference in accuracy of two quantized models on the same samples, percentage points."""
    outcomes = PairedOutcomes.from_correct(
        unpack_bits(better.quantized_correct, better.n), unpack_bits(worse.quantized_correct, worse.n)
    )
    interval = tango_interval(outcomes, better.level)
    return 100 * outcomes.drop, Interval(100 * interval.low, 100 * interval.high, interval.level)


def rows(parts: Sequence[Part]) -> list[tuple[str, ...]]:
    """One row per part, in the order of `COLUMNS`; the sum of the measured layers, to set beside all of them; and what
    all of them lose beyond the most sensitive one."""
    listed: list[tuple[str, ...]] = []
    singles = [part for part in parts if part.layers and len(part.layers) == 1]
    for part in parts:
        following = singles[singles.index(part) + 1 :] if part in singles else []
        listed.append(
            (
                part.name,
                _drop(part.ptq_accuracy),
                _difference(following[0].ptq_accuracy if following else None, part.ptq_accuracy),
                _drop(part.qat_accuracy),
                _difference(part.qat_accuracy, part.ptq_accuracy),
            )
        )
    summed = [_sum([part.ptq_accuracy for part in singles]), _sum([part.qat_accuracy for part in singles])]
    listed.insert(len(listed) - 1, (f"sum of the {len(singles)} layers", summed[0], NOTHING, summed[1], NOTHING))
    whole, worst = parts[-1], singles[0]
    more = [
        _difference(one, other)
        for one, other in ((worst.ptq_accuracy, whole.ptq_accuracy), (worst.qat_accuracy, whole.qat_accuracy))
    ]
    # Whether errors accumulate: what the other layers add to the most sensitive one.
    if more != [NOTHING, NOTHING]:
        listed.append((f"all beyond {worst.name}", more[0], NOTHING, more[1], NOTHING))
    return listed


def _drop(accuracy: Accuracy | None) -> str:
    return NOTHING if accuracy is None else _with_interval(accuracy.drop_pp, *accuracy.drop_interval_pp)


def _difference(better: Accuracy | None, worse: Accuracy | None) -> str:
    if better is None or worse is None:
        return NOTHING
    estimate, interval = difference_pp(better, worse)
    return _with_interval(estimate, interval.low, interval.high)


def _with_interval(estimate: float, low: float, high: float) -> str:
    return f"{estimate:+z.2f} [{low:+z.2f}, {high:+z.2f}]"


def _sum(parts: Sequence[Accuracy | None]) -> str:
    known = [part.drop_pp for part in parts if part is not None]
    return f"{sum(known):+z.2f}" if len(known) == len(parts) else NOTHING


def hybrid_rows(records: Sequence[RunRecord], parts: Sequence[Part]) -> list[tuple[str, ...]]:
    """Accuracy regained by layers left in fp32, against the whole model in int8, in the order of `HYBRID_COLUMNS`."""
    whole = parts[-1].ptq
    hybrids = [r for r in records if r.recipe["kind"] == "static_int8" and len(_layers(r) or ()) > 1]
    workload, backend = (whole.experiment.partition("/")[0], whole.backend) if whole else ("", "")
    hybrids = [r for r in hybrids if (r.experiment.partition("/")[0], r.backend) == (workload, backend)]
    if whole is None or not hybrids or whole.accuracy is None:
        return []
    first = (ALL, _drop(whole.accuracy), NOTHING, NOTHING, NOTHING, _time(whole.latency), NOTHING, NOTHING)
    listed: list[tuple[str, ...]] = [first]
    for hybrid in hybrids:
        if hybrid.accuracy is None:
            continue
        regained, _ = difference_pp(hybrid.accuracy, whole.accuracy)
        more_kib = None
        if hybrid.size and whole.size:
            more_kib = (hybrid.size.quantized_bytes - whole.size.quantized_bytes) / KIB
        more_ms = _more_ms(hybrid.latency, whole.latency)
        listed.append(
            (
                ", ".join(_layers(hybrid) or ()),
                _drop(hybrid.accuracy),
                _difference(hybrid.accuracy, whole.accuracy),
                NOTHING if more_kib is None else f"{more_kib:+.1f}",
                _rate(regained, more_kib),
                _time(hybrid.latency),
                NOTHING if more_ms is None else f"{more_ms:+.2f}",
                _rate(regained, more_ms),
            )
        )
    return listed


def _time(latency: Latency | None) -> str:
    if latency is None:
        return NOTHING
    low, high = latency.speedup_interval
    return f"{1 / latency.speedup:.2f} [{1 / high:.2f}, {1 / low:.2f}]"


def _more_ms(one: Latency | None, other: Latency | None) -> float | None:
    """Time more per batch: shares of each run's own fp32 forwards, times the fp32 forward of the first.

    Milliseconds of different moments are never subtracted from each other.
    """
    if one is None or other is None or one.batch_size != other.batch_size:
        return None
    return float(1e3 * np.median(one.fp32_s) * (1 / one.speedup - 1 / other.speedup))


def _rate(gain: float, cost: float | None) -> str:
    return f"{gain / cost:.3f}" if cost is not None and cost > 0 else NOTHING


def sensitivity_markdown(records: Sequence[RunRecord]) -> str:
    """Both tables of every workload that has them, as Markdown; empty where there is none."""
    return "\n".join(
        "\n".join([f"**{title}**", "", *markdown_rows(columns, listed), ""])
        for title, columns, listed in sensitivity_tables(records)
    )


def sensitivity_text(records: Sequence[RunRecord]) -> str:
    """Both tables of every workload that has them, for the terminal; empty where there is none."""
    return "\n".join(
        f"{title}\n{plain_table(columns, listed)}" for title, columns, listed in sensitivity_tables(records)
    )


def sensitivity_tables(records: Sequence[RunRecord]) -> Iterator[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
    """Title, columns and rows of each table."""
    for workload, parts in sensitivities(records).items():
        n = next(a.n for part in parts if (a := part.ptq_accuracy or part.qat_accuracy))
        yield f"{workload}, layer by layer (n = {n:,})", COLUMNS, rows(parts)
        if hybrid := hybrid_rows(records, parts):
            yield f"{workload}, what layers in fp32 buy back", HYBRID_COLUMNS, hybrid
