"""One workload in every runtime that is installed: the same weights in fp32 and in static int8, timed side by side.

A runtime is a backend that is known to run `static_int8` (`quantbench.recipes.lowering`): each gives one form in int8
and those that it has in fp32, so that a further backend needs no change here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from interleaved import interleaved
from numpy.typing import NDArray

from quantbench.arrays import Inputs
from quantbench.backends.interface import Predictor
from quantbench.config.component import Component
from quantbench.config.schema import Experiment, ExperimentConfig, Workload
from quantbench.errors import QuantbenchError
from quantbench.experiment.baseline import Baseline
from quantbench.experiment.costs import Costs
from quantbench.experiment.run import Run, Settings
from quantbench.experiment.workload import OpenWorkload
from quantbench.files import write_text
from quantbench.measure.allocator import keep_freed_memory
from quantbench.measure.environment import environment
from quantbench.measure.latency import quiet_process
from quantbench.recipes.lowering import KINDS
from quantbench.stats.intervals import Interval
from quantbench.stats.paired import PairedOutcomes
from quantbench.stats.ratios import order_statistic_interval

KIND = "static_int8"
RECIPE = Component.model_validate({"name": KIND, "calibration_n": 256})
FP32, INT8, CONTROL = "fp32", "int8", "control"
GOLDEN = Path("golden")
# Seconds that all rounds of a workload take, within bounds of their number.
BUDGET_S, FEWEST_ROUNDS, MOST_ROUNDS = 45.0, 40, 400
TRIAL_ROUNDS = 5
LEVEL = 0.99


@dataclass(frozen=True)
class Form:
    """A network as one runtime runs it.

    Attributes:
        runtime: the backend.
        precision: `fp32` or `int8`.
        name: of the fp32 form, where a backend has several.
        source: whose files it is loaded from; forms of one source give the same answers.
        own: key of what the same runtime runs in fp32.
        load: threads → predictor.
        size_bytes: of its files.
    """

    runtime: str
    precision: str
    name: str
    source: str
    own: str
    load: Callable[[int], Predictor]
    size_bytes: int

    @property
    def key(self) -> str:
        """Tells it from others."""
        return ", ".join(part for part in (self.runtime, self.precision, self.name) if part)


@dataclass(frozen=True)
class Row:
    """What is known of a form before it is timed.

    Attributes:
        key: of its times.
        runtime: the backend.
        precision: `fp32` or `int8`.
        form: of the fp32 model.
        own: key of what the same runtime runs in fp32.
        correct: samples of the test split that it answers right.
        lost: those that the reference answers right and it does not.
        gained: the contrary.
        size_bytes: of its files.
    """

    key: str
    runtime: str
    precision: str
    form: str
    own: str
    correct: int
    lost: int
    gained: int
    size_bytes: int


@dataclass
class Measured:
    """One workload, as far as it was measured.

    Attributes:
        workload: its name.
        n: samples of the test split.
        batch: samples of a timed forward.
        threads: of a timed forward.
        surroundings: the processor, and versions of what computes.
        rows: its forms, the reference first.
        not_run: lines about runtimes that are left out.
        times_s: key → seconds of each round, and those of the reference again; empty before it was timed.
    """

    workload: str
    n: int
    batch: int
    threads: int
    surroundings: dict[str, str]
    rows: list[Row]
    not_run: list[str]
    times_s: dict[str, list[float]] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Writes it, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(asdict(self)) + "\n")

    @classmethod
    def read(cls, path: Path) -> Measured | None:
        """What was saved there; None where there is nothing, or something of another processor or other versions."""
        if not path.exists():
            return None
        found = cls(**json.loads(path.read_text()))
        found.rows = [Row(**row) for row in found.rows]  # type: ignore[arg-type]
        return found if found.surroundings == surroundings() else None

    @property
    def reference(self) -> Row:
        """The model as it was written."""
        return self.rows[0]

    def fastest(self, precision: str = FP32) -> Row:
        """The form of a precision with the smallest median."""
        return min((row for row in self.rows if row.precision == precision), key=lambda row: self.median_ms(row.key))

    @property
    def rounds(self) -> int:
        """Rounds that count."""
        return len(self.times_s[self.reference.key])

    def median_ms(self, key: str) -> float:
        """Of one forward."""
        return 1000 * float(np.median(self.times_s[key]))

    def ratio(self, before: str, after: str) -> tuple[float, Interval]:
        """Median of the paired ratios of times, and its interval."""
        ratios: NDArray[np.float64] = np.array(self.times_s[before]) / np.array(self.times_s[after])
        return float(np.median(ratios)), order_statistic_interval(ratios, LEVEL)


def surroundings() -> dict[str, str]:
    """The processor and the versions of what computes."""
    here = environment()
    return {"processor": f"{here.processor} ({', '.join(here.isa)})", **here.versions}


def answered(workload: Workload) -> Measured:
    """Every form of a workload's network, made and evaluated, and not timed yet."""
    baseline = Baseline(OpenWorkload(workload, GOLDEN))
    found, not_run = forms_of(baseline)
    expected, answers = baseline.evaluation.correct, dict[str, NDArray[np.bool_]]()
    rows = []
    for form in found:
        if form.source not in answers:
            answers[form.source] = baseline.opened.evaluated(form.load(torch.get_num_threads())).correct
        correct = answers[form.source]
        changed = PairedOutcomes.from_correct(expected, correct)
        counts = int(correct.sum()), changed.lost, changed.gained
        rows.append(Row(form.key, form.runtime, form.precision, form.name, form.own, *counts, form.size_bytes))
    latency = workload.config.latency
    return Measured(workload.name, len(expected), latency.batch_size, latency.threads, surroundings(), rows, not_run)


def time_forms(measured: Measured, workload: Workload) -> None:
    """Times every form in interleaved rounds of random order, each as often, with the reference twice in each."""
    keep_freed_memory()
    baseline = Baseline(OpenWorkload(workload, GOLDEN))
    inputs, threads = baseline.latency_inputs, measured.threads
    forwards: dict[str, Callable[[], object]] = {}
    for form in forms_of(baseline)[0]:
        forwards[form.key] = _forward(form.load(threads), inputs)
    forwards[CONTROL] = forwards[measured.reference.key]
    with quiet_process(threads):
        trial = interleaved(forwards, TRIAL_ROUNDS)
        round_s = sum(float(np.median(times)) for times in trial.values())
        rounds = int(min(max(BUDGET_S / round_s, FEWEST_ROUNDS), MOST_ROUNDS))
        times = interleaved(forwards, rounds)
    measured.times_s = {key: [round(each, 9) for each in values.tolist()] for key, values in times.items()}


def _forward(predictor: Predictor, inputs: Inputs) -> Callable[[], object]:
    prepared = predictor.prepared(inputs)
    return lambda: predictor(prepared)


def forms_of(baseline: Baseline) -> tuple[list[Form], list[str]]:
    """Every form of a workload's network, the reference first, and a line for each runtime that cannot run it."""
    sources: dict[str, Costs] = {}
    candidates, not_run = list[Form](), list[str]()
    for backend in (name for name, kinds in KINDS.items() if KIND in kinds):
        config = ExperimentConfig(recipe=RECIPE, backend=Component(name=backend))
        experiment = Experiment(baseline.opened.workload, f"{KIND}_{backend}", config, "benchmark")
        run = Run(experiment, baseline, Settings(GOLDEN))
        try:
            own, size_bytes = run.counterpart, run.artifact.size_bytes
        except QuantbenchError as error:
            not_run.append(f"{backend}: {error}")
            continue
        # Torch's own fp32 is that of several backends.
        sources[own.backend.spec.name] = own
        key = fp32_forms(own)[0].key
        candidates.append(Form(backend, INT8, "", f"{backend}, {INT8}", key, run.loaded, size_bytes))
    return [*(form for own in sources.values() for form in fp32_forms(own)), *candidates], not_run


def fp32_forms(source: Costs) -> list[Form]:
    """The forms of an fp32 artifact, the first as it was written."""
    name, artifact = source.backend.spec.name, source.artifact
    found = list[Form]()
    for form in source.backend.forms(artifact, source.threads):
        first = found[0].key if found else f"{name}, {FP32}, {form}"

        def load(threads: int, form: str = form) -> Predictor:
            return source.backend.forms(artifact, threads)[form]

        found.append(Form(name, FP32, form, f"{name}, {FP32}", first, load, source.size_bytes))
    return found
