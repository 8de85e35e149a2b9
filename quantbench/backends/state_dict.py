"""Backends whose artifact is one file of a state dict, filled into the structure that a recipe makes."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from quantbench.arrays import Inputs
from quantbench.backends.checkpoint import (
    describe_entry,
    payload_bytes,
    read_checkpoint,
    schema_of,
    serialize,
    write_checkpoint,
)
from quantbench.backends.interface import (
    Artifact,
    Backend,
    Calibration,
    Coverage,
    Description,
    Observers,
    Predictor,
    Quantized,
    Schema,
)
from quantbench.backends.kernels import measure_coverage
from quantbench.backends.module import ModulePredictor
from quantbench.backends.origin import kind_of, method_mismatch, note_origin
from quantbench.backends.torch_reference import no_module
from quantbench.backends.weights import fill_trained
from quantbench.errors import CheckpointError, QuantizationError, SampleError
from quantbench.recipes.lowering import unsupported
from quantbench.recipes.spec import Recipe, Trained
from quantbench.upstream import silenced

FILE_NAME = "checkpoint.pt"
# Keys that do not fit and are named; the rest is counted.
SHOWN_MISFITS = 4


@dataclass(frozen=True)
class Converted:
    """A converted module and the observers that chose its scales."""

    model: nn.Module
    observers: Observers


def description_of(state: dict[str, Any]) -> Description:
    """A state dict, described."""
    digests = {key: hashlib.sha256(serialize({key: value})).hexdigest() for key, value in state.items()}
    return Description(schema_of(state), digests, payload_bytes(state))


def wrong_backend(backend: str, recipe: Recipe) -> str:
    """The reason why a backend does not run such recipes, with the backend that does."""
    return unsupported(backend, recipe) or f"backend '{backend}' does not run recipes of kind {recipe.kind} this way"


class StateDictBackend(Backend):
    """Base of the backends on torch modules: files, loading, description, coverage.

    A backend writes the steps that end in `_module`, on modules in memory, and `skeleton`. No step changes the model
    that it is given.

    Attributes:
        file_name: of the artifact.
    """

    file_name: ClassVar[str] = FILE_NAME

    @abstractmethod
    def skeleton(self, model: nn.Module, recipe: Recipe) -> nn.Module:
        """A converted model of the right structure, whose values a saved state dict will replace."""

    @abstractmethod
    def quantize_module(
        self, model: nn.Module, recipe: Recipe, batches: Callable[[], Iterable[torch.Tensor]]
    ) -> Converted:
        """Post-training quantization of an fp32 model in eval mode.

        Args:
            model: the reference.
            recipe: one that is supported and not trained.
            batches: gives normalized batches `[n, …]`, called only by recipes that calibrate.

        Raises:
            QuantizationError: if the model cannot be quantized this way, saying what to change.
        """

    def prepare_module(self, model: nn.Module, recipe: Trained) -> nn.Module:  # noqa: ARG002
        """See `Backend.prepare_training`."""
        raise QuantizationError(f"backend '{self.name}' does not train with fake quantizers")

    def convert_module(self, prepared: nn.Module) -> Converted:  # noqa: ARG002
        """See `Backend.convert_trained`."""
        raise QuantizationError(f"backend '{self.name}' does not train with fake quantizers")

    def rehearse_module(self, model: nn.Module, recipe: Recipe, samples: torch.Tensor) -> None:
        """See `Backend.rehearse`."""

    def switchable_module(
        self,
        model: nn.Module,  # noqa: ARG002 — for those whose converted layers are no switches themselves
        recipe: Recipe,  # noqa: ARG002
        converted: nn.Module,
        sample: torch.Tensor,  # noqa: ARG002
    ) -> nn.Module:
        """See `Backend.switchable`; `converted` is the candidate, loaded, in eval mode."""
        from quantbench.quant.switchable import switchable_layers

        switchable_layers(converted)
        return converted

    def quantize(self, reference: Artifact, recipe: Recipe, calibration: Calibration, folder: Path) -> Quantized:
        """See `Backend.quantize`."""
        if reason := self.supports(recipe):
            raise QuantizationError(reason)
        model = reference_module(reference)
        self._rehearsed(model, recipe, calibration.samples)
        if isinstance(recipe, Trained):
            converted = self.convert_module(self._trained(model, recipe, calibration))
        else:
            converted = self.quantize_module(model, recipe, lambda: map(_tensor, calibration.batches()))
        state = converted.model.state_dict()
        note_origin(state, recipe)
        path = folder / self.file_name
        self.write_state(path, state)
        artifact = Artifact.of_files(self.spec, [path], recipe, reference.model, converted.observers)
        return Quantized(artifact, self._predictor(converted.model))

    def write_state(self, path: Path, state: dict[str, Any]) -> None:
        """Writes a converted model's state dict whole or not at all."""
        write_checkpoint(path, state)

    def read_state(self, path: Path) -> dict[str, Any]:
        """The state dict of a file that may come from anywhere.

        Raises:
            CheckpointError: if it is damaged, or would run code when opened.
        """
        return read_checkpoint(path)

    def fill(self, model: nn.Module, state: dict[str, Any]) -> None:
        """Loads a state dict that fits into a model, in place."""
        model.load_state_dict(state)

    def load(self, artifact: Artifact, threads: int) -> Predictor:
        """See `Backend.load`."""
        return self._predictor(self.module(artifact), threads)

    def describe(self, artifact: Artifact) -> Description:
        """See `Backend.describe`."""
        return description_of(read_checkpoint(artifact.path))

    def rehearse(self, reference: Artifact, recipe: Recipe, samples: Inputs) -> None:
        """See `Backend.rehearse`."""
        if reason := self.supports(recipe):
            raise QuantizationError(reason)
        self._rehearsed(reference_module(reference), recipe, samples)

    def _rehearsed(self, model: nn.Module, recipe: Recipe, samples: Inputs) -> None:
        try:
            self.rehearse_module(model, recipe, _tensor(samples))
        except SampleError as error:
            raise SampleError(error.text, error.sample, in_rehearsal=True) from error

    def kernels(self, artifact: Artifact, inputs: Inputs) -> Coverage:
        """See `Backend.kernels`."""
        with self._settings():
            return measure_coverage(self.module(artifact), _tensor(inputs))

    def switchable(self, reference: Artifact, candidate: Artifact, sample: Inputs) -> nn.Module:
        """See `Backend.switchable`."""
        model = reference_module(reference)
        return self.switchable_module(model, candidate.recipe, self.module(candidate), _tensor(sample))

    def prepare_training(self, reference: Artifact, recipe: Trained, samples: Inputs) -> nn.Module:  # noqa: ARG002
        """See `Backend.prepare_training`."""
        return self.prepare_module(reference_module(reference), recipe)

    def convert_trained(self, prepared: nn.Module) -> Predictor:
        """See `Backend.convert_trained`."""
        return self._predictor(self.convert_module(prepared).model)

    def module(self, artifact: Artifact) -> nn.Module:
        """The model from its file, in eval mode.

        Raises:
            CheckpointError: if the file is damaged, unsafe, or not of the structure: keys, dtypes, shapes, schemes.
        """
        path = artifact.path
        if artifact.model is None:
            raise CheckpointError(f"{path}: a state dict is no model without its factory; name one in workload.model")
        state = self.read_state(path)
        model = self.skeleton(artifact.model.build(), artifact.recipe)
        if wrong := method_mismatch(state, artifact.recipe):
            raise CheckpointError(f"{path}: {wrong}. Name the experiment that made it")
        # Compared here, since quantized modules take tensors of other shapes and schemes without a word.
        if misfits := _misfits(schema_of(model.state_dict()), schema_of(state)):
            more = f"; and {len(misfits) - SHOWN_MISFITS} more" if len(misfits) > SHOWN_MISFITS else ""
            raise CheckpointError(
                f"{path}: is {kind_of(state)}, and does not fit the model that its recipe makes: "
                f"{'; '.join(misfits[:SHOWN_MISFITS])}{more}. Quantize again with this recipe, or name the one that "
                "made it"
            )
        self._fill(model, state, path)
        return model.eval()

    def _fill(self, model: nn.Module, state: dict[str, Any], path: Path) -> None:
        try:
            with silenced(), self._settings():
                self.fill(model, state)
        except QuantizationError as error:
            raise CheckpointError(
                f"{path}: {error}. Quantize again with this recipe, or name the one that made it"
            ) from None
        # Keys, dtypes and shapes fit, so this is torch's own word on something rare.
        except Exception as error:
            raise CheckpointError(
                f"{path}: cannot be loaded ({type(error).__name__}: {' '.join(str(error).split())[:200]}); save what "
                "state_dict() gives, unchanged: quantized layers keep their version in its _metadata"
            ) from None

    def _trained(self, model: nn.Module, recipe: Trained, calibration: Calibration) -> nn.Module:
        """The prepared model with its fine-tuned weights, in eval mode."""
        return fill_trained(self.prepare_module(model, recipe), recipe, calibration).eval()

    def _predictor(self, module: nn.Module, threads: int | None = None) -> ModulePredictor:
        """A module as a predictor."""
        return ModulePredictor(module, threads)

    def _settings(self) -> AbstractContextManager[object]:
        """Settings of the process in which modules of this backend are made and run; restored at its end."""
        return nullcontext()


def reference_module(reference: Artifact) -> nn.Module:
    """The module of a reference, loaded anew.

    Raises:
        QuantizationError: if it is no artifact of a torch module.
    """
    backend = reference.backend.create()
    if not isinstance(backend, StateDictBackend):
        raise no_module(reference)
    return backend.module(reference)


def _tensor(inputs: Inputs) -> torch.Tensor:
    """The only input, shared without a copy."""
    (array,) = inputs.values()
    return torch.from_numpy(array)


def _misfits(expected: Schema, found: Schema) -> list[str]:
    """Misfits, one line for each key, in the order of the structure; foreign keys come last."""
    missing = [f"'{key}' is missing" for key in expected if key not in found]
    changed = [
        f"'{key}' is {describe_entry(found[key])} instead of {describe_entry(entry)}"
        for key, entry in expected.items()
        if key in found and found[key] != entry
    ]
    return missing + changed + [f"'{key}' is not of this model" for key in found if key not in expected]
