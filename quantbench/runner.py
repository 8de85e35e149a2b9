"""An experiment measured: every quantity computed once, when first asked for, however many claims look at it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from quantbench.config import Experiment, Workload
from quantbench.evaluation import Evaluation, evaluate
from quantbench.files import sha256_of_file
from quantbench.goldens import checkpoint_name
from quantbench.measure.allocator import keep_freed_memory
from quantbench.measure.checkpoint import describe_entry, payload_bytes, read_checkpoint, serialize
from quantbench.measure.coverage import Coverage, measure_coverage
from quantbench.measure.environment import environment
from quantbench.measure.fp32_forms import fastest_form, in_layout
from quantbench.measure.latency import InterleavedForwards, Timings
from quantbench.measure.reload import load_quantized, reload_in_fresh_process
from quantbench.quantized import Artefact, make_backend, probe_inputs, quantized_artefact, reload_job
from quantbench.recipes.spec import describe
from quantbench.records import (
    Accuracy,
    CheckpointFacts,
    CoverageFacts,
    Latency,
    RunRecord,
    Size,
    VerdictRecord,
    pack_bits,
)
from quantbench.stats.paired import PairedOutcomes, tango_interval
from quantbench.stats.proportions import wilson_interval
from quantbench.stats.ratios import median_ratio_interval
from quantbench.stats.verdicts import Verdict
from quantbench.workloads import OpenWorkload

ACCURACY_LEVEL = 0.95
LATENCY_LEVEL = 0.99


@dataclass(frozen=True)
class Settings:
    """What a whole session shares.

    Attributes:
        golden: folder of goldens and baselines.
        engine: quantized engine, or None for the processor's.
        retrain: train QAT experiments for real.
    """

    golden: Path
    engine: str | None = None
    retrain: bool = False


@dataclass
class Baseline:
    """A workload's fp32 model, measured once for all its experiments."""

    opened: OpenWorkload

    @cached_property
    def model(self) -> nn.Module:
        """With its committed weights, in eval mode."""
        return self.opened.load_baseline()

    @cached_property
    def evaluation(self) -> Evaluation:
        """On the test split."""
        return evaluate(self.model, self.opened.splits.test)

    @cached_property
    def size_bytes(self) -> int:
        """Of its state dict, saved as the quantized one is."""
        return len(serialize(self.model.state_dict()))

    @cached_property
    def latency_batch(self) -> torch.Tensor:
        """The test samples whose forward is timed."""
        return next(self.opened.splits.test.batches(self.opened.workload.config.latency.batch_size))

    @cached_property
    def fastest(self) -> tuple[str, nn.Module]:
        """The fastest fp32 form at hand, by name. What int8 must beat to be worth it."""
        return fastest_form(self.model, self.latency_batch, self.opened.workload.config.latency.threads)


@dataclass
class Session:
    """Opens each workload and runs each experiment at most once."""

    settings: Settings
    baselines: dict[str, Baseline] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)

    def __post_init__(self) -> None:
        keep_freed_memory()

    def baseline(self, workload: Workload) -> Baseline:
        """The workload's baseline, shared by its experiments."""
        if workload.name not in self.baselines:
            self.baselines[workload.name] = Baseline(OpenWorkload(workload, self.settings.golden))
        return self.baselines[workload.name]

    def run(self, experiment: Experiment) -> Run:
        """The experiment's run."""
        if experiment.id not in self.runs:
            self.runs[experiment.id] = Run(experiment, self.baseline(experiment.workload), self.settings)
        return self.runs[experiment.id]


@dataclass
class Run:
    """One experiment's measurements."""

    experiment: Experiment
    baseline: Baseline
    settings: Settings
    timings: Timings | None = None
    verdicts: dict[str, Verdict] = field(default_factory=dict)

    @property
    def opened(self) -> OpenWorkload:
        """Its workload."""
        return self.baseline.opened

    @cached_property
    def engine(self) -> str:
        """The quantized engine in use."""
        return str(getattr(make_backend(self.experiment, self.settings.engine), "engine", "none"))

    @cached_property
    def artefact(self) -> Artefact:
        """The checkpoint on disk."""
        return quantized_artefact(self.opened, self.experiment, self.baseline.model, self.engine, self.settings.retrain)

    @cached_property
    def model(self) -> nn.Module:
        """The quantized model as loaded from its file, never the object that was converted."""
        return load_quantized(reload_job(self.opened, self.experiment, self.artefact.path, self.engine))[0]

    @cached_property
    def evaluation(self) -> Evaluation:
        """The quantized model on the test split."""
        return evaluate(self.model, self.opened.splits.test)

    @cached_property
    def accuracy(self) -> Accuracy:
        """Both models on the same samples."""
        before, after = self.baseline.evaluation, self.evaluation
        outcomes = PairedOutcomes.from_correct(before.correct, after.correct)
        interval = tango_interval(outcomes, ACCURACY_LEVEL)
        own = wilson_interval(int(after.correct.sum()), outcomes.n, ACCURACY_LEVEL)
        return Accuracy(
            n=outcomes.n,
            fp32=before.accuracy,
            quantized=after.accuracy,
            lost=outcomes.lost,
            gained=outcomes.gained,
            drop_pp=100 * outcomes.drop,
            drop_interval_pp=(100 * interval.low, 100 * interval.high),
            level=ACCURACY_LEVEL,
            quantized_interval=(own.low, own.high),
            fp32_correct=pack_bits(before.correct),
            quantized_correct=pack_bits(after.correct),
        )

    @cached_property
    def size(self) -> Size:
        """Bytes of both files."""
        quantized = self.artefact.path.stat().st_size
        return Size(
            fp32_bytes=self.baseline.size_bytes,
            quantized_bytes=quantized,
            ratio=self.baseline.size_bytes / quantized,
        )

    @cached_property
    def coverage(self) -> Coverage:
        """What ran as int8."""
        return measure_coverage(self.model, probe_inputs(self.opened)[:1])

    @cached_property
    def checkpoint(self) -> CheckpointFacts:
        """The file as a fresh process finds it."""
        reloaded = reload_in_fresh_process(reload_job(self.opened, self.experiment, self.artefact.path, self.engine))
        saved = self.artefact.probe_logits
        return CheckpointFacts(
            sha256=sha256_of_file(self.artefact.path),
            payload_bytes=payload_bytes(read_checkpoint(self.artefact.path)),
            keys=reloaded.schema,
            reload_identical=saved.tobytes() == reloaded.logits.tobytes(),
            largest_difference=_largest_difference(saved, reloaded.logits),
        )

    def golden_document(self) -> dict[str, Any]:
        """What is accepted as this experiment's golden: exact on every machine with the same engine."""
        return {
            "engine": self.engine,
            "recipe": describe(self.experiment.recipe()),
            "observers": self.artefact.observers,
            "payload_bytes": self.checkpoint.payload_bytes,
            "keys": {key: describe_entry(entry) for key, entry in self.checkpoint.keys.items()},
        }

    @property
    def golden_name(self) -> str:
        """Its golden's path below `golden/checkpoints/`."""
        return checkpoint_name(self.experiment, self.engine)

    def forwards(self) -> InterleavedForwards:
        """The three forwards that are timed against each other, on one batch of the test split."""
        batch = self.baseline.latency_batch
        model, fp32, fastest = self.model, self.baseline.model, self.baseline.fastest[1]
        last = batch if fastest is fp32 else in_layout(batch)
        return InterleavedForwards(
            {"fp32": lambda: fp32(batch), "fp32_fastest": lambda: fastest(last)}, lambda: model(batch)
        )

    @property
    def latency(self) -> Latency | None:
        """The timings with their ratios, or None if nothing was timed."""
        if self.timings is None:
            return None
        config = self.experiment.workload.config.latency
        ratios = {name: self.timings.ratios(name) for name in self.timings.references_s}
        intervals = {name: median_ratio_interval(values, LATENCY_LEVEL) for name, values in ratios.items()}
        return Latency(
            batch_size=config.batch_size,
            threads=config.threads,
            memory_kept=keep_freed_memory(),
            fastest_form=self.baseline.fastest[0],
            rounds=len(self.timings.int8_s),
            level=LATENCY_LEVEL,
            speedup=float(np.median(ratios["fp32"])),
            speedup_interval=(intervals["fp32"].low, intervals["fp32"].high),
            speedup_over_fastest=float(np.median(ratios["fp32_fastest"])),
            speedup_over_fastest_interval=(intervals["fp32_fastest"].low, intervals["fp32_fastest"].high),
            int8_s=self.timings.int8_s.tolist(),
            fp32_s=self.timings.references_s["fp32"].tolist(),
            fp32_fastest_s=self.timings.references_s["fp32_fastest"].tolist(),
        )

    def record(self, command: str) -> RunRecord:
        """Everything measured so far; nothing is computed for it."""
        done = self.__dict__
        coverage = done.get("coverage")
        return RunRecord(
            experiment=self.experiment.id,
            recipe_name=self.experiment.config.recipe.name,
            recipe=describe(self.experiment.recipe()),
            backend=self.experiment.config.backend,
            engine=self.engine,
            threads=torch.get_num_threads(),
            environment=environment(),
            data_name=self.experiment.workload.config.data.name,
            data_note=self.experiment.workload.config.data_note,
            test_sha256=self.opened.splits.test.sha256,
            baseline_sha256=sha256_of_file(self.opened.weights_path),
            command=command,
            accuracy=done.get("accuracy"),
            size=done.get("size"),
            checkpoint=done.get("checkpoint"),
            coverage=coverage and CoverageFacts(**asdict(coverage), int8_share=coverage.int8_share),
            latency=self.latency,
            verdicts=[
                VerdictRecord(quantity=v.quantity, outcome=v.outcome, measured=v.measured, requirement=v.requirement)
                for v in self.verdicts.values()
            ],
        )


def _largest_difference(saved: NDArray[np.float32], loaded: NDArray[np.float32]) -> float:
    """Of two sets of logits; −1 where shapes differ or a logit is not finite, since JSON has no NaN."""
    if saved.shape != loaded.shape or not (np.isfinite(saved).all() and np.isfinite(loaded).all()):
        return -1.0
    return float(np.abs(saved - loaded).max())
