"""Costs of one artifact: its size, work, memory and forwards, each measured once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from quantbench.arrays import Inputs
from quantbench.backends.interface import Artifact, Backend, Coverage, Predictor
from quantbench.errors import ConfigError
from quantbench.experiment.timing import Untimed, other_samples
from quantbench.experiment.workload import OpenWorkload
from quantbench.foreign import about
from quantbench.measure.evaluation import inputs_of
from quantbench.measure.memory import PeakMemories, peak_memory

# In messages.
MODEL = "the fp32 model"


@dataclass
class Costs:
    """Costs of an fp32 artifact on one batch of the test split.

    Attributes:
        opened: the workload.
    """

    opened: OpenWorkload

    @property
    def artifact(self) -> Artifact:
        """The files."""
        raise NotImplementedError

    @cached_property
    def backend(self) -> Backend:
        """The one that loads them."""
        return self.artifact.backend.create()

    @contextmanager
    def _about(self) -> Iterator[None]:
        with about(MODEL):
            yield

    def loaded(self, threads: int) -> Predictor:
        """The model, loaded anew."""
        backend, artifact = self.backend, self.artifact
        with self._about():
            return backend.load(artifact, threads)

    @property
    def size_bytes(self) -> int:
        """Of its files, saved as the quantized ones are."""
        return self.artifact.size_bytes

    @cached_property
    def payload_bytes(self) -> int:
        """Of the values in its files."""
        return self.backend.describe(self.artifact).payload_bytes

    @cached_property
    def kernels(self) -> Coverage | None:
        """The kernels that run the batch that is timed, which may be others in a batch of another size.

        Raises:
            MeasurementError: if no operator was seen that multiplies, or might.
        """
        backend, artifact = self.backend, self.artifact
        with self._about():
            return backend.kernels(artifact, self.latency_inputs)

    @property
    def coverage(self) -> Coverage | None:
        """Multiply-accumulates of one sample by these kernels; None where the backend does not tell.

        Raises:
            MeasurementError: as `kernels`.
        """
        return self.per_sample(self.kernels)

    def per_sample(self, found: Coverage | None) -> Coverage | None:
        """Multiply-accumulates of one sample, from those of the batch that is timed."""
        return None if found is None else found.per_sample(len(next(iter(self.latency_inputs.values()))))

    @cached_property
    def memory(self) -> PeakMemories:
        """Peak resident memory of one forward."""
        artifact = self.artifact
        with self._about():
            return self.memory_of(artifact)

    def memory_of(self, artifact: Artifact) -> PeakMemories:
        """The same of any artifact, on the batch that is timed."""
        return peak_memory(artifact, self.latency_inputs, self.threads)

    @property
    def threads(self) -> int:
        """Of what is timed."""
        return self.opened.workload.config.latency.threads

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
        return next(inputs_of(test, batch_size, batch_size))

    @cached_property
    def timed(self) -> Predictor:
        """Loaded with as many threads as are timed."""
        return self.loaded(self.threads)

    @cached_property
    def untimed(self) -> Untimed:
        """A model that never ran, with which those that were timed are compared, of all experiments."""
        return Untimed(lambda: self.loaded(self.threads), lambda: self.kernels, self.timed_and_others)

    @cached_property
    def timed_and_others(self) -> tuple[Inputs, Inputs]:
        """The batch that is timed, and one of the same shape of other samples."""
        return self.latency_inputs, other_samples(self.opened, self.latency_inputs)


@dataclass
class Lowered(Costs):
    """The reference in the format of another backend, nothing quantized.

    Attributes:
        file: the artifact.
    """

    file: Artifact

    @property
    def artifact(self) -> Artifact:
        """See `Costs.artifact`."""
        return self.file

    @contextmanager
    def _about(self) -> Iterator[None]:
        with about(f"{MODEL} by {self.file.backend.name}"):
            yield
