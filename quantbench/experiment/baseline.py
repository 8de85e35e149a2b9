"""A workload's reference, measured once for all experiments of the workload."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

from quantbench.arrays import Inputs
from quantbench.backends.interface import Artifact, Backend, Coverage, Predictor
from quantbench.errors import ConfigError
from quantbench.experiment.artifact import one_sample, reference
from quantbench.experiment.workload import OpenWorkload
from quantbench.measure.evaluation import Evaluation, inputs_of
from quantbench.measure.fastest_form import fastest_form
from quantbench.measure.memory import PeakMemories, peak_memory


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
        return self.opened.evaluated(predictor)

    @property
    def size_bytes(self) -> int:
        """Of its files, saved as the quantized ones are."""
        return self.artifact.size_bytes

    @cached_property
    def coverage(self) -> Coverage | None:
        """Multiply-accumulates of one sample by the kernels that ran; None where its backend does not tell.

        Raises:
            MeasurementError: if no operator was seen that multiplies, or might.
        """
        return self.backend.kernels(self.artifact, one_sample(self.opened))

    @cached_property
    def memory(self) -> PeakMemories:
        """Peak resident memory of one forward."""
        return self.memory_of(self.artifact)

    def memory_of(self, artifact: Artifact) -> PeakMemories:
        """The same of any artifact, on the batch that is timed."""
        return peak_memory(artifact, self.latency_inputs, self.opened.workload.config.latency.threads)

    @cached_property
    def latency_inputs(self) -> Inputs:
        """The test samples whose forward is timed.

        Raises:
            ConfigError: if the test split has not as many.
        """
        batch_size, test = self.opened.workload.config.latency.batch_size, self.opened.splits.test
        if batch_size > len(test):
            raise ConfigError(
                f"{self.opened.workload.where('latency.batch_size')}: {batch_size} samples are to be timed at once, "
                f"but the test split has {len(test)}; at most {len(test)}"
            )
        return next(inputs_of(test, batch_size))

    @cached_property
    def timed(self) -> Predictor:
        """Loaded with as many threads as are timed."""
        return self.backend.load(self.artifact, self.opened.workload.config.latency.threads)

    @cached_property
    def fastest(self) -> tuple[str, Predictor]:
        """The fastest form of the reference at hand, by name. What int8 must beat to be worth it."""
        threads = self.opened.workload.config.latency.threads
        return fastest_form(self.backend.forms(self.artifact, threads), self.latency_inputs, threads)
