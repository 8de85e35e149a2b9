"""First gates of an experiment: each a margin off what was measured, with the words for it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from quantbench.config.instruction_sets import DEFAULT
from quantbench.experiment.run import Run
from quantbench.experiment.soundness import soundness
from quantbench.records.run import Accuracy, CoverageFacts, Latency, Score, Size
from quantbench.session.acceptance import why_no_speed

Bound = tuple[Any, str]

# Beyond the interval of a drop, percentage points; and bounds are multiples of it.
DROP_MARGIN_PP = 0.25
# Beyond the interval of another score, as a share of its width and of the reference's figure.
SCORE_MARGIN = 0.01
# Shares of what was measured: of a file's size; of the lower end of a speed-up, which another day moves.
SIZE_MARGIN, SPEED_MARGIN = 0.02, 0.15
SHARE_MARGIN = 0.01
# Of more accuracy that is surely lost, percentage points, no gate is made: it would hold a broken model.
MOST_LOST_PP = 10.0


def first_gates(run: Run) -> dict[str, Bound]:
    """Gate → its bound and the words for what it was set by, of what was measured of a run.

    Args:
        run: measured.
    """
    makers: dict[str, tuple[str, Callable[[Any, Run], Bound | None]]] = {
        "accuracy_drop_pp": ("accuracy", _drop),
        "score_drop": ("score", _score),
        "size_ratio": ("size", _size),
        "int8_share": ("coverage", _share),
        "speedup": ("latency", _speedup),
        "speedup_over_fastest": ("latency", _over_fastest),
    }
    found = {gate: make(run.parts[part], run) for gate, (part, make) in makers.items() if part in run.parts}
    return {gate: bound for gate, bound in found.items() if bound is not None}


def unfit(run: Run) -> str | None:
    """Reason why no gates are made of an experiment; None if they are."""
    accuracy = run.results.get("accuracy")
    if isinstance(accuracy, Accuracy) and accuracy.drop_interval_pp[0] > MOST_LOST_PP:
        return f"it loses {_of_drop(accuracy)}, and a gate off that would hold a broken model"
    doubt = soundness(run.opened, run.evaluation).doubt
    return f"{doubt}; a gate off that would hold a broken model" if doubt else None


def unsound_speed(run: Run) -> str | None:
    """Reason why no gate on speed is made, and no speed-up accepted; None if they are."""
    latency = run.latency
    if latency is None:
        return run.not_timed
    if run.failed_control is not None:
        return f"the machine is too noisy: fp32 against itself was {run.failed_control}"
    return why_no_speed(run) or None


def _of_drop(found: Accuracy) -> str:
    low, high = found.drop_interval_pp
    return f"{found.drop_pp:+.2f} pp [{low:+.2f}, {high:+.2f}] at {100 * found.level:g} %, n = {found.n:,} samples"


def _drop(found: Accuracy, _run: Run) -> Bound:
    bound = max(0.0, math.ceil((found.drop_interval_pp[1] + DROP_MARGIN_PP) / DROP_MARGIN_PP) * DROP_MARGIN_PP)
    return min(bound, 100.0), f"measured {_of_drop(found)}"


def _score(found: Score, _run: Run) -> Bound | None:
    if found.interval is None:
        return None
    low, high = found.interval
    bound = _rounded_up(max(0.0, high + max(SCORE_MARGIN * abs(found.reference), 0.5 * (high - low))))
    words = f"measured {found.drop:+.4g} [{low:+.4g}, {high:+.4g}] {found.unit} at {100 * found.level:g} %"
    return bound, f"{words}, n = {found.n:,} samples"


def _size(found: Size, _run: Run) -> Bound:
    words = f"measured {found.ratio:.3f}: {found.fp32_bytes:,} / {found.quantized_bytes:,} bytes, n = 1 file, exact"
    return _rounded_down(found.ratio * (1 - SIZE_MARGIN)), words


def _share(found: CoverageFacts, _run: Run) -> Bound | None:
    # What could not be counted gives no verdict, and a share of nothing holds whatever happens.
    if found.uncounted or not found.int8_macs:
        return None
    bound = max(0.0, math.floor(100 * (found.int8_share - SHARE_MARGIN)) / 100)
    macs = f"{found.int8_macs:,} of {found.int8_macs + found.float_macs:,} multiply-accumulates"
    return bound, f"measured {found.int8_share:.4f}: {macs}, n = 1 forward, exact"


def _speedup(found: Latency, run: Run) -> Bound | None:
    low, high = found.speedup_interval
    return _faster(found.speedup, low, high, found, run, "")


def _over_fastest(found: Latency, run: Run) -> Bound | None:
    low, high = found.speedup_over_fastest_interval
    return _faster(found.speedup_over_fastest, low, high, found, run, f" over {found.fastest_form}")


def _faster(estimate: float, low: float, high: float, found: Latency, run: Run, over: str) -> Bound | None:
    from quantbench.measure.environment import environment

    # No gate on what is no gain: one below 1 would allow a candidate that is slower than its reference.
    bound = _rounded_down((1 - SPEED_MARGIN) * low)
    if unsound_speed(run) or bound < 1:
        return None
    words = (
        f"measured {estimate:.2f} [{low:.2f}, {high:.2f}] at {100 * found.level:g} %{over}, n = {found.rounds} rounds, "
        f"batch {found.batch_size}, {found.threads} thread(s)"
    )
    isa = environment().isa
    # Processors without the kernels of this one are held to be no slower than fp32.
    return {isa[-1]: bound, DEFAULT: 1.0} if isa else bound, words


def _rounded_down(value: float) -> float:
    return math.floor(100 * value) / 100


def _rounded_up(value: float) -> float:
    """To two digits that count."""
    if value <= 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(value / step) * step:.4g}")
