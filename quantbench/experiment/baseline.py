"""A workload's reference, measured once for all experiments of the workload."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from functools import cached_property

import torch

from quantbench.arrays import Inputs
from quantbench.backends.interface import Artifact, Backend, Coverage, Predictor
from quantbench.errors import BaselineError, ConfigError, FormLeftOutWarning
from quantbench.experiment.artifact import reference
from quantbench.experiment.soundness import spare_outputs
from quantbench.experiment.workload import OpenWorkload, changed_splits
from quantbench.foreign import about
from quantbench.golden import baselines
from quantbench.measure.evaluation import Evaluation, inputs_of
from quantbench.measure.fastest_form import fastest_form
from quantbench.measure.memory import PeakMemories, peak_memory

# Of the reference's accuracy from its card's, 0..1, and in samples where there are few; a gate may be stricter.
LARGEST_DRIFT = 0.01
LARGEST_DRIFT_SAMPLES = 2
# In messages.
MODEL = "the fp32 model"


@dataclass
class Baseline:
    """A workload's reference, measured once for all its experiments.

    Attributes:
        opened: the workload.
        warnings: lines about the reference, once it was evaluated.
    """

    opened: OpenWorkload
    warnings: list[str] = field(default_factory=list)

    @cached_property
    def artifact(self) -> Artifact:
        """The fp32 model with its committed weights, as a file."""
        with about(MODEL):
            return reference(self.opened).artifact

    @cached_property
    def backend(self) -> Backend:
        """The one that loads it."""
        return self.artifact.backend.create()

    def loaded(self, threads: int) -> Predictor:
        """The reference, loaded anew."""
        backend, artifact = self.backend, self.artifact
        with about(MODEL):
            return backend.load(artifact, threads)

    @cached_property
    def evaluation(self) -> Evaluation:
        """On the test split."""
        predictor = self.loaded(torch.get_num_threads())
        with about(MODEL):
            found = self.opened.evaluated(predictor)
            self.warnings += spare_outputs(self.opened, predictor)
            return found

    @cached_property
    def checked_evaluation(self) -> Evaluation:
        """The same, as accurate as the card of the weights says.

        Same weights on the same samples give the same answers, but for a rare tie that another processor rounds
        otherwise. Code that changed since is what else can differ, and a candidate of it would be compared with that.

        Raises:
            BaselineError: if the accuracy is another.
        """
        found, opened = self.evaluation, self.opened
        if opened.reference_file is not None:
            # It has no card: what is loaded is the file itself.
            return found
        card = baselines.load_card(opened.weights_path, opened.train_command)
        allowed = max(LARGEST_DRIFT, LARGEST_DRIFT_SAMPLES / len(found.correct))
        if "test" in changed_splits(card, opened.splits) or abs(found.accuracy - card.accuracy) <= allowed:
            return found
        raise BaselineError(
            f"{MODEL}: its accuracy is {100 * found.accuracy:.2f} % here and {100 * card.accuracy:.2f} % on its card "
            f"(n={len(found.correct):,}), more than {100 * allowed:g} pp apart for the same weights and samples: "
            "nothing is compared with it; restore the code of model, data or task, or make weights for it as it is: "
            f"{opened.train_command}"
        )

    @property
    def size_bytes(self) -> int:
        """Of its files, saved as the quantized ones are."""
        return self.artifact.size_bytes

    @cached_property
    def coverage(self) -> Coverage | None:
        """See `coverage_of`, of the reference itself."""
        backend, artifact = self.backend, self.artifact
        with about(MODEL):
            return self.coverage_of(backend, artifact)

    def coverage_of(self, backend: Backend, artifact: Artifact) -> Coverage | None:
        """Multiply-accumulates of one sample by the kernels that ran; None where the backend does not tell.

        Counted in the batch that is timed, since a model may do otherwise in a batch of another size.

        Raises:
            MeasurementError: if no operator was seen that multiplies, or might.
        """
        n = len(next(iter(self.latency_inputs.values())))
        found = backend.kernels(artifact, self.latency_inputs)
        return None if found is None else found.per_sample(n)

    @cached_property
    def memory(self) -> PeakMemories:
        """Peak resident memory of one forward."""
        artifact = self.artifact
        with about(MODEL):
            return self.memory_of(artifact)

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
        return self.loaded(self.opened.workload.config.latency.threads)

    @property
    def left_out(self) -> list[str]:
        """Lines about forms of the reference that cannot be timed; empty before they were looked at."""
        return self._fastest[1] if "_fastest" in vars(self) else []

    @property
    def fastest(self) -> tuple[str, Predictor]:
        """The fastest form of the reference at hand, by name. What int8 must beat to be worth it."""
        return self._fastest[0]

    @cached_property
    def _fastest(self) -> tuple[tuple[str, Predictor], list[str]]:
        backend, artifact, threads = self.backend, self.artifact, self.opened.workload.config.latency.threads
        with about(MODEL), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", FormLeftOutWarning)
            found = fastest_form(backend.forms(artifact, threads), self.latency_inputs, threads)
        for each in caught:
            if not issubclass(each.category, FormLeftOutWarning):
                warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
        return found, [str(each.message) for each in caught if issubclass(each.category, FormLeftOutWarning)]
