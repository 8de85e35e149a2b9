"""Forwards of two candidates in the same interleaved rounds."""

from __future__ import annotations

from collections.abc import Callable

from quantbench.backends.interface import Predictor
from quantbench.experiment.run import Run
from quantbench.experiment.timing import check_timed, looks_of
from quantbench.measure.belief import believed, measurement
from quantbench.measure.latency import (
    FP32,
    FP32_AGAIN,
    INT8,
    LATENCY_LEVEL,
    Timings,
    quiet_process,
    time_forwards,
    untimed_reason,
)
from quantbench.records.parity import Speed

# Rounds are added until the interval is as narrow as this share of the ratio, or time is up.
NARROW = 0.03


def compared_speed(base: Run, other: Run) -> Speed | str:
    """Times one candidate against another, on one batch of the test split; the reason where nothing can be timed.

    Each is loaded anew, since a model that ran other batches before may be slower.

    Raises:
        EvaluationError: if one does not answer the timed batch as it was evaluated.
    """
    config = base.experiment.workload.config.latency
    if (reason := untimed_reason(config.threads)) is not None:
        return reason
    looks = looks_of(config)
    first, second = _forward(base), _forward(other)

    def decided(timings: Timings) -> bool:
        found = measurement(timings, looks, config.threads).speedup
        return found.interval.high - found.interval.low <= NARROW * found.estimate

    def doubted(timings: Timings) -> bool:
        return not believed(timings, looks, config.threads).is_sound

    with quiet_process(config.threads):
        timings = time_forwards(
            {FP32: first, FP32_AGAIN: first, INT8: second},
            looks,
            config.budget_s,
            decided,
            doubted=doubted,
            wait_s=config.wait_s,
        )
    belief, found = believed(timings, looks, config.threads), measurement(timings, looks, config.threads)
    doubt = belief.doubt or ("the base against itself strayed" if belief.strayed else None)
    return Speed(
        ratio=found.speedup.estimate,
        interval=(found.speedup.interval.low, found.speedup.interval.high),
        level=LATENCY_LEVEL,
        rounds=timings.rounds,
        batch_size=config.batch_size,
        threads=config.threads,
        control=found.control.estimate,
        control_interval=(found.control.interval.low, found.control.interval.high),
        clock=belief.clock,
        doubt=doubt,
    )


def _forward(run: Run) -> Callable[[], object]:
    config, inputs = run.experiment.workload.config.latency, run.baseline.latency_inputs

    def load() -> Predictor:
        return run.loaded(config.threads)

    check_timed(run.opened, run.experiment.name, load(), load(), inputs)
    model = load()
    prepared = model.prepared(inputs)
    return lambda: model(prepared)
