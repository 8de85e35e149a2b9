"""Timings of an experiment's forwards as the record that is kept of them."""

from __future__ import annotations

from collections.abc import Sequence

from quantbench.config.schema import LatencyConfig
from quantbench.measure.allocator import keep_freed_memory
from quantbench.measure.latency import FP32_FASTEST, LATENCY_LEVEL, Timings
from quantbench.records.run import Latency
from quantbench.stats.sequential import Looks
from quantbench.stats.speed import Speedup


def looks_of(config: LatencyConfig) -> Looks:
    """Looks at the timings, as planned before the first round."""
    return Looks(config.rounds, config.looks, LATENCY_LEVEL)


def latency_of(
    timings: Timings, config: LatencyConfig, fastest_form: str, forms_left_out: Sequence[str] = ()
) -> Latency:
    """The timings with their ratios.

    Args:
        timings: of interleaved rounds.
        config: how they were taken.
        fastest_form: name of the fastest form of the fp32 model.
        forms_left_out: lines about those that are not timed.
    """
    looks = looks_of(config)
    plain, fastest, control = (
        Speedup.of(ratios, looks) for ratios in (timings.speedup(), timings.speedup(FP32_FASTEST), timings.control)
    )
    return Latency(
        batch_size=config.batch_size,
        threads=config.threads,
        memory_kept=keep_freed_memory(),
        fastest_form=fastest_form,
        forms_left_out=list(forms_left_out),
        rounds=timings.rounds,
        warmup_rounds=timings.warmup_rounds,
        looks=timings.looks,
        planned_looks=looks.count,
        out_of_time=timings.out_of_time,
        level=LATENCY_LEVEL,
        speedup=plain.estimate,
        speedup_interval=(plain.interval.low, plain.interval.high),
        speedup_over_fastest=fastest.estimate,
        speedup_over_fastest_interval=(fastest.interval.low, fastest.interval.high),
        control=control.estimate,
        control_interval=(control.interval.low, control.interval.high),
        strayed=control.deviates,
        **{f"{form}_s": values.tolist() for form, values in timings.seconds.items()},
    )
