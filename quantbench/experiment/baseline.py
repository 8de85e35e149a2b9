"""A workload's reference, measured once for all experiments of the workload."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

from quantbench.arrays import Inputs
from quantbench.backends.interface import Artifact, Backend, Predictor
from quantbench.experiment.artifact import reference
from quantbench.experiment.workload import OpenWorkload
from quantbench.measure.evaluation import Evaluation, evaluate, inputs_of
from quantbench.measure.fastest_form import fastest_form
from quantbench.measure.latency import FP32, FP32_AGAIN, LATENCY_LEVEL, quiet_process, time_forwards, untimed_reason
from quantbench.measure.memory import PeakMemories, peak_memory
from quantbench.stats.sequential import Looks
from quantbench.stats.speed import Speedup


@dataclass
class Baseline:
    """A workload's reference, measured once for all its experiments."""

    opened: OpenWorkload

    @cached_property
    def artifact(self) -> Artifact:
        """The fp32 model with its committed weights, as a file."""
        return reference(self.opened).artifact

    @cached_property
    def backend(self) -> Backend:
        """The one that loads it."""
        return self.artifact.backend.create()

    @cached_property
    def evaluation(self) -> Evaluation:
        """On the test split."""
        predictor = self.backend.load(self.artifact, torch.get_num_threads())
        return evaluate(predictor, self.opened.splits.test, self.opened.task)

    @property
    def size_bytes(self) -> int:
        """Of its files, saved as the quantized ones are."""
        return self.artifact.size_bytes

    @cached_property
    def memory(self) -> PeakMemories:
        """Peak resident memory of one forward."""
        return self.memory_of(self.artifact)

    def memory_of(self, artifact: Artifact) -> PeakMemories:
        """The same of any artifact, on the batch that is timed."""
        return peak_memory(artifact, self.latency_inputs, self.opened.workload.config.latency.threads)

    @cached_property
    def latency_inputs(self) -> Inputs:
        """The test samples whose forward is timed."""
        return next(inputs_of(self.opened.splits.test, self.opened.workload.config.latency.batch_size))

    @cached_property
    def timed(self) -> Predictor:
        """Loaded with as many threads as are timed."""
        return self.backend.load(self.artifact, self.opened.workload.config.latency.threads)

    @cached_property
    def control(self) -> Speedup | None:
        """The reference against itself, or None where this machine can time nothing."""
        config, inputs, model = self.opened.workload.config.latency, self.latency_inputs, self.timed
        if untimed_reason(config.threads) is not None:
            return None
        looks = Looks(config.rounds, 1, LATENCY_LEVEL)
        forwards = {FP32: lambda: model(inputs), FP32_AGAIN: lambda: model(inputs)}
        with quiet_process(config.threads):
            timings = time_forwards(forwards, looks, config.budget_s, lambda _: True)
        return Speedup.of(timings.control, looks)

    @cached_property
    def fastest(self) -> tuple[str, Predictor]:
        """The fastest form of the reference at hand, by name. What int8 must beat to be worth it."""
        threads = self.opened.workload.config.latency.threads
        return fastest_form(self.backend.forms(self.artifact, threads), self.latency_inputs, threads)
