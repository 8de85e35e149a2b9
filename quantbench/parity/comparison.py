"""Runs of one workload compared with the first of them, sample by sample and layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from quantbench.errors import ConfigError, QuantbenchError
from quantbench.experiment.accuracy import ACCURACY_LEVEL
from quantbench.experiment.run import Run
from quantbench.measure.environment import environment
from quantbench.parity.layers import Layer, Scale, layers_of
from quantbench.parity.matching import Pair, matched, scales_of
from quantbench.parity.outputs import compared_outputs
from quantbench.parity.speed import compared_speed
from quantbench.progress import progress
from quantbench.records.base import pack_bits
from quantbench.records.parity import Difference, Logits, NotCompared, ParityRecord, ScalePair, Side, Speed
from quantbench.stats.paired import PairedOutcomes, tango_interval
from quantbench.stats.proportions import wilson_interval
from quantbench.torch_process import get_threads


@dataclass(frozen=True)
class Found:
    """Findings about one side beside its correctness.

    Attributes:
        same: samples with the base's answer; None where answers are not known.
        logits: see `Difference`.
        speed: the same; or why nothing was timed.
        scales: the same.
        unmatched: the same.
        no_scales: the same.
    """

    same: int | None = None
    logits: Logits | None = None
    speed: Speed | str = ""
    scales: Sequence[ScalePair] = ()
    unmatched: Sequence[str] = field(default_factory=list)
    no_scales: str = ""


def compared(
    runs: Mapping[str, Run],
    title: str,
    command: str,
    left_out: Sequence[NotCompared] = (),
    is_timed: bool = True,
    is_base_named: bool = False,
) -> ParityRecord:
    """Compares runs with the first of them that can be measured.

    Args:
        runs: by name, the base first; all of one workload.
        title: of what is compared.
        command: that asks for it.
        left_out: backends that are known not to be compared.
        is_timed: time each beside the base.
        is_base_named: the first is the base that was asked for, and no other takes its place.

    Raises:
        QuantbenchError: if a base that was asked for cannot be measured, or fewer than two can, or answers are neither
            right nor wrong.
    """
    first_name, first = next(iter(runs.items()))
    workload = first.experiment.workload
    _check_task(first)
    with progress(f"{workload.name}") as show:
        sides, failed = dict[str, Side](), list[NotCompared]()
        for i, (name, run) in enumerate(runs.items()):
            show.update(i, len(runs), name)
            try:
                sides[name] = _side(name, run)
            except QuantbenchError as error:
                if name == first_name and is_base_named:
                    raise
                failed.append(NotCompared(name=name, reason=str(error), failed=True))
        if len(sides) < 2:
            reasons = "; ".join(f"{each.name}: {each.reason}" for each in [*failed, *left_out])
            only = next((f"{runs[name].experiment.id}: nothing to compare it with" for name in sides), None)
            raise ConfigError(f"{only or f'{workload.name}: nothing to compare'}: {reasons or 'name another backend'}")
        base_name = next(iter(sides))
        base, others = runs[base_name], {name: runs[name] for name in sides if name != base_name}
        found = _found(base_name, base, others, is_timed)
    splits = base.opened.splits
    return ParityRecord(
        title=title,
        workload=workload.name,
        data_name=workload.config.data.name,
        data_note=workload.config.data_note,
        test_sha256=splits.test.sha256,
        command=command,
        sides=list(sides.values()),
        differences=[difference(sides[base_name], sides[name], found[name]) for name in others],
        left_out=[*failed, *left_out],
    )


def _check_task(run: Run) -> None:
    """Refuses a task whose scores are no bits, of which flips could be counted."""
    task, workload = run.opened.task, run.experiment.workload
    if not task.is_binary:
        raise ConfigError(
            f"{workload.where('task')}: parity counts answers that are right or wrong, and the scores of task "
            f"'{workload.config.task.name}' are {task.unit}; gate score_drop of an experiment through each backend"
        )


def _side(name: str, run: Run) -> Side:
    from quantbench.experiment.result import libraries_of

    evaluation, artifact = run.evaluation, run.artifact
    correct = evaluation.correct
    own = wilson_interval(int(correct.sum()), len(correct), ACCURACY_LEVEL)
    return Side(
        name=name,
        experiment=run.experiment.id,
        backend=run.experiment.backend.name,
        engine=run.engine,
        threads=get_threads(),
        environment=environment(),
        libraries=sorted(libraries_of(run)),
        sha256=list(artifact.sha256),
        size_bytes=artifact.size_bytes,
        n=len(correct),
        accuracy=float(correct.mean()),
        accuracy_interval=(own.low, own.high),
        level=ACCURACY_LEVEL,
        correct=pack_bits(correct),
    )


def _found(base_name: str, base: Run, others: Mapping[str, Run], is_timed: bool) -> dict[str, Found]:
    threads = get_threads()
    outputs = compared_outputs(
        base.opened, base.loaded(threads), {name: run.loaded(threads) for name, run in others.items()}
    )
    layers = layers_of(base.artifact)
    found = {}
    for name, run in others.items():
        scales, unmatched, no_scales = _scales(base_name, layers, name, layers_of(run.artifact))
        logits = outputs[name]
        if isinstance(logits, str):
            unmatched = [f"outputs: {logits}", *unmatched]
        found[name] = Found(
            same=_same(base, run),
            logits=None if isinstance(logits, str) else logits,
            speed=_speed(base, run) if is_timed else "not asked for",
            scales=scales,
            unmatched=unmatched,
            no_scales=no_scales,
        )
    return found


def _speed(base: Run, run: Run) -> Speed | str:
    try:
        return compared_speed(base, run)
    except QuantbenchError as error:
        return str(error)


def _same(base: Run, run: Run) -> int | None:
    one, other = base.evaluation.answers, run.evaluation.answers
    return None if one is None or other is None else int((one == other).sum())


def difference(base: Side, side: Side, found: Found) -> Difference:
    """A side against the base.

    Args:
        base: on the same samples.
        side: the other.
        found: what is known beside correctness.
    """
    # Gained by the other is lost by the base.
    outcomes = PairedOutcomes.from_correct(side.bits, base.bits)
    interval = tango_interval(outcomes, ACCURACY_LEVEL)
    same = None if found.same is None else wilson_interval(found.same, side.n, ACCURACY_LEVEL)
    return Difference(
        name=side.name,
        lost=outcomes.gained,
        gained=outcomes.lost,
        change_pp=100 * outcomes.drop,
        interval_pp=(100 * interval.low, 100 * interval.high),
        level=ACCURACY_LEVEL,
        same=found.same,
        same_interval=None if same is None else (same.low, same.high),
        logits=found.logits,
        size_ratio=side.size_bytes / base.size_bytes,
        speed=found.speed if isinstance(found.speed, Speed) else None,
        untimed=found.speed if isinstance(found.speed, str) else "",
        scales=list(found.scales),
        unmatched=list(found.unmatched),
        no_scales=found.no_scales,
    )


def _scales(
    base_name: str, base: tuple[list[Layer], str], name: str, other: tuple[list[Layer], str]
) -> tuple[list[ScalePair], list[str], str]:
    """Scales of layers in both, lines about the rest, and why there are none."""
    for who, (layers, reason) in ((base_name, base), (name, other)):
        if not layers:
            return [], [], f"{who}: {reason}"
    pairs, left, right = matched(base[0], other[0])
    found, unmatched = list[ScalePair](), list[str]()
    for pair in pairs:
        for part, one, two in scales_of(pair):
            if one is None or two is None:
                unmatched.append(f"{pair.base.name}: {part} quantized by {name if one is None else base_name} alone")
            elif (scales := _pair(pair, part, one, two)) is None:
                unmatched.append(f"{pair.base.name}: {part} with {len(one.scale)} scales and {len(two.scale)}")
            else:
                found.append(scales)
    unmatched += [f"{each.name}: in {base_name} alone" for each in left]
    unmatched += [f"{each.name}: in {name} alone" for each in right]
    return found, unmatched, ""


def _pair(pair: Pair, part: str, one: Scale, other: Scale) -> ScalePair | None:
    """Both scales; None where the one has as many as the other has not."""
    if len(one.scale) != len(other.scale) and 1 not in (len(one.scale), len(other.scale)):
        return None
    return ScalePair.model_validate(
        {
            "layer": pair.base.name,
            "other_layer": pair.other.name,
            "matched_by": pair.by,
            "part": part,
            "n": len(one.scale),
            "other_n": len(other.scale),
            "scale": _limits(one.scale),
            "other_scale": _limits(other.scale),
            "ratio": _limits(other.scale / one.scale),
            "zero_point": _limits(one.zero_point),
            "other_zero_point": _limits(other.zero_point),
        }
    )


def _limits(values: np.ndarray) -> tuple[float, float]:
    return float(values.min()), float(values.max())
