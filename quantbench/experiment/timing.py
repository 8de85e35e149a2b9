"""Timings of an experiment's forwards: the record that is kept of them, and what the timed forwards answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from quantbench.arrays import Inputs, Outputs
from quantbench.backends.interface import Coverage, Predictor
from quantbench.config.schema import LatencyConfig
from quantbench.errors import EvaluationError, MeasurementError
from quantbench.experiment.workload import OpenWorkload
from quantbench.measure.allocator import keep_freed_memory
from quantbench.measure.belief import believed
from quantbench.measure.clocks import CLOCKS, Samples
from quantbench.measure.evaluation import inputs_of
from quantbench.measure.latency import FP32, FP32_FASTEST, LATENCY_LEVEL, Timings
from quantbench.records.run import Counted, Latency
from quantbench.stats.sequential import Looks
from quantbench.stats.speed import Speedup

# Share of the largest output by which a batch of another size may change an output: scales that are found batch by
# batch move them by a few per cent, another computation by all of them.
OTHER_ANSWER = 0.25
# The same share, by which the same batch may differ from itself.
ROUNDING = 1e-3
# Share of the multiply-accumulates by which another form of a model may do less: borders may be padded otherwise.
WORK_TOLERANCE = 1e-3
# In messages: the batches of `Untimed`.
SAMPLES = ("the timed batch", "other samples")


def check_timed(opened: OpenWorkload, model: str, evaluated: Predictor, timed: Predictor, inputs: Inputs) -> None:
    """Refuses to time a forward that gives something else than what was evaluated: it may do less.

    Args:
        opened: the workload.
        model: its name, for the message.
        evaluated: one that was just loaded, to run the batch of an evaluation.
        timed: another, to run the timed batch.
        inputs: the timed batch.

    Raises:
        EvaluationError: saying by how much they differ.
    """
    config = opened.workload.config
    n = config.evaluation.batch_size
    # Others may have no row for each sample.
    whole, chosen = next(inputs_of(opened.splits.test, n, n)), opened.task.chosen
    expected = chosen(evaluated(whole), _samples(whole))
    found = chosen(timed(timed.prepared(inputs)), _samples(inputs))
    worst = _difference(expected, found)
    again = chosen(timed(timed.prepared(inputs)), _samples(inputs)) if worst > OTHER_ANSWER else found
    if _difference(found, again) > ROUNDING:
        # It answers at random, which the claims on reload and determinism say in their words.
        return
    if not worst <= OTHER_ANSWER:
        raise EvaluationError(
            f"the {model} model answers the {config.latency.batch_size} samples of the timed batch otherwise than in a "
            f"batch of {config.evaluation.batch_size}, as they were evaluated: outputs differ by {worst:.2f} of the "
            "largest; what is timed must be what is judged: let the model do the same in batches of any size"
        )


@dataclass
class Untimed:
    """A model that never ran, and what it does: found once, and compared with each that was timed.

    Attributes:
        load: gives such a model.
        kernels: that run the timed batch; None where the runtime does not tell.
        batches: the timed one, and one of other samples.
    """

    load: Callable[[], Predictor]
    kernels: Callable[[], Coverage | None]
    batches: tuple[Inputs, Inputs]

    @cached_property
    def answers(self) -> tuple[Outputs, ...]:
        """To each of the batches, each by a model of its own."""
        return tuple(self.load()(batch) for batch in self.batches)

    @cached_property
    def work(self) -> int | None:
        """Multiply-accumulates of the timed batch, as the backend tells them, or else a model itself."""
        found = _work(self.kernels)
        return _work(lambda: self.load().kernels(self.batches[0])) if found is None else found


def check_unchanged(model: str, untimed: Untimed, timed: Predictor) -> None:
    """Refuses timings of a forward that became another one while it was timed: it may have kept answers, or do less.

    Args:
        model: its name, for the message.
        untimed: what it does before.
        timed: the one that was timed, in the same form or another one.

    Raises:
        EvaluationError: if it answers the timed batch, or others of its shape, otherwise than a fresh one, or
            multiplies less for it.
    """
    for batch, expected, samples in zip(untimed.batches, untimed.answers, SAMPLES, strict=True):
        worst = _difference(expected, timed(timed.prepared(batch)))
        # Where two fresh ones differ, it answers at random, which the claims on reload and determinism say.
        if not worst <= OTHER_ANSWER and _difference(expected, untimed.load()(batch)) <= ROUNDING:
            raise EvaluationError(
                f"the {model} model that was timed answers {samples} otherwise than a fresh one: outputs differ by "
                f"{worst:.2f} of the largest; what is timed must be what is judged: let each forward depend on its "
                "input alone, and keep nothing of earlier ones"
            )
    inputs = timed.prepared(untimed.batches[0])
    before, after = untimed.work, _work(lambda: timed.kernels(inputs))
    if before is not None and after is not None and after < before * (1 - WORK_TOLERANCE):
        raise EvaluationError(
            f"the {model} model that was timed does less than a fresh one: {after:,} of {before:,} "
            "multiply-accumulates of the timed batch; what is timed must be what is judged: let each forward compute "
            "its answers anew"
        )


def other_samples(opened: OpenWorkload, inputs: Inputs) -> Inputs:
    """A batch of the test split of the same shape, of other samples as far as there are some."""
    n = len(next(iter(inputs.values())))
    batches = list(inputs_of(opened.splits.test, n, 2 * n))
    joined = {name: np.concatenate([each[name] for each in batches]) for name in inputs}
    # Of a split that is one batch, the same samples in another order.
    return {name: np.roll(rows, 1, axis=0)[:n] if len(batches) == 1 else rows[-n:] for name, rows in joined.items()}


def _work(kernels: Callable[[], Coverage | None]) -> int | None:
    """Multiply-accumulates of one batch; None where the runtime does not tell."""
    try:
        found = kernels()
    # Nothing was seen that multiplies.
    except MeasurementError:
        return 0
    return None if found is None else found.macs


def _samples(inputs: Inputs) -> int:
    return len(next(iter(inputs.values())))


def _difference(evaluated: Mapping[str, np.ndarray], timed: Mapping[str, np.ndarray]) -> float:
    """Largest difference of an output of the same sample, as a share of the largest output; NaN where one is NaN."""
    found_shares = [0.0]
    for name, outputs in evaluated.items():
        n = min(len(outputs), len(timed[name]))
        expected, found = np.asarray(outputs[:n], np.float64), np.asarray(timed[name][:n], np.float64)
        largest = float(np.abs(expected).max(initial=0.0))
        if largest:
            found_shares.append(float(np.abs(expected - found).max(initial=0.0)) / largest)
    # Of numpy, since Python's loses a NaN.
    return float(np.max(found_shares))


def looks_of(config: LatencyConfig) -> Looks:
    """Looks at the timings, as planned before the first round."""
    return Looks(config.rounds, config.looks, LATENCY_LEVEL, instruments=len(CLOCKS))


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
    belief = believed(timings, looks, config.threads)
    plain, fastest, control = (
        Speedup.of(ratios, looks)
        for ratios in (
            timings.speedup(FP32, belief.clock),
            timings.speedup(FP32_FASTEST, belief.clock),
            timings.control(belief.clock),
        )
    )
    is_counted = not any(each.is_wall_alone for each in timings.samples.values())
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
        strayed=belief.strayed,
        clock=belief.clock,
        clock_note=belief.note,
        doubt=belief.doubt,
        speedup_by={clock: float(np.median(timings.speedup(FP32, clock))) for clock in CLOCKS if is_counted},
        repeats=timings.repeated[1] if timings.repeated else None,
        counted={form: _counted(each) for form, each in timings.samples.items()} if is_counted else {},
        clean=timings.clean if is_counted else None,
        others_cores=timings.load.others_cores,
        stolen=timings.load.stolen,
        pressure=timings.load.pressure,
        **{f"{form}_s": each.wall_s.tolist() for form, each in timings.samples.items()},
    )


def _counted(samples: Samples) -> Counted:
    """A form's processor times and counters; times to the nanosecond that the clocks resolve."""
    columns = {name: getattr(samples, name).tolist() for name in Counted.model_fields}
    return Counted(
        **{
            name: [round(each, 9) for each in column] if name.endswith("_s") else column
            for name, column in columns.items()
        }
    )
