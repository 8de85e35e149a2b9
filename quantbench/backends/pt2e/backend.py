"""Backend `pt2e`: recipes lowered by torch.export and torchao, `.pt2` files compiled by inductor."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from quantbench.arrays import Inputs
from quantbench.backends.coverage import Coverage
from quantbench.backends.exported.checks import check_file, check_same, exportable
from quantbench.backends.file_predictor import Binding, FilePredictor, Layout
from quantbench.backends.interface import (
    Artifact,
    Backend,
    Calibration,
    Description,
    Observers,
    Predictor,
    Quantized,
)
from quantbench.backends.pt2e.library import check_compiler, check_installed, torchao
from quantbench.backends.pt2e.recipes import refusal
from quantbench.backends.quiet import quiet
from quantbench.backends.switching import static_recipe
from quantbench.errors import QuantizationError
from quantbench.files import replacing
from quantbench.recipes.spec import DynamicInt8, Fp32, QatInt8, Recipe, StaticInt8, Trained
from quantbench.temporary import temporary_folder

if TYPE_CHECKING:
    from torch import nn
    from torch.fx import GraphModule

    from quantbench.backends.insides import Insides
    from quantbench.backends.pt2e.training import FakeQuantized

NAME, FILE_NAME = "pt2e", "model.pt2"


def pt2e(
    layout: Layout | None = None, output: str | None = None, constants: Mapping[str, float] | None = None
) -> Pt2eBackend:
    """Programs of torch.export, compiled by inductor for the processor at hand.

    Args:
        layout: of pictures that a file takes, where that does not follow from its shapes: `nchw` or `nhwc`.
        output: name of the output that holds the answers; by default all of them.
        constants: input → the number that fills it, for inputs that no sample brings.

    Example:
        >>> from quantbench.recipes.dynamic_int8 import dynamic_int8
        >>> pt2e().supports(dynamic_int8()) is None
        True
    """
    check_installed()
    return Pt2eBackend(Binding(layout, output, constants or {}))


class Pt2eBackend(Backend):
    """torchao's PT2E flow with the X86 quantizer.

    Args:
        binding: how files are called.
    """

    name: ClassVar[str] = NAME
    libraries: ClassVar[tuple[str, ...]] = ("torch", "torchao")
    takes_layers: ClassVar[bool] = True

    def __init__(self, binding: Binding) -> None:
        self._binding = binding

    def supports(self, recipe: Recipe) -> str | None:
        """See `Backend.supports`."""
        return refusal(recipe)

    def load(self, artifact: Artifact, threads: int) -> Predictor:
        """See `Backend.load`; compiles the program unless that is in the cache."""
        from quantbench.backends.pt2e.compiling import compiled
        from quantbench.backends.pt2e.runner import ProgramRunner

        check_file(artifact)
        made = compiled(artifact.path, artifact.sha256[0])
        file, notes = artifact.path.name, [f"compiled by inductor in {made.seconds:.0f} s, which no forward counts"]
        return FilePredictor(ProgramRunner(made, threads, file), file, self._binding, notes)

    def describe(self, artifact: Artifact) -> Description:
        """See `Backend.describe`."""
        from quantbench.backends.pt2e.description import describe_program

        check_file(artifact)
        return describe_program(artifact.path)

    def kernels(self, artifact: Artifact, inputs: Inputs) -> Coverage | None:
        """See `Backend.kernels`."""
        return self.load(artifact, 1).kernels(inputs)

    def switchable(self, reference: Artifact, candidate: Artifact, sample: Inputs) -> nn.Module:
        """See `Backend.switchable`; what is switched is the program before it was compiled, in eager torch."""
        static_recipe(candidate.recipe)
        check_file(candidate)
        torchao()
        from quantbench.backends.pt2e.switches import switches

        return switches(exportable(reference), candidate, sample)

    def insides(self, reference: Artifact, candidate: Artifact) -> Insides:
        """See `Backend.insides`; what is looked into is the program before it was compiled, in eager torch."""
        if reference.backend.name != NAME:
            raise QuantizationError(
                f"{reference.path.name}: is no .pt2 file, and layers of {candidate.path.name} are matched with those "
                "of the .pt2 file that it was made of; name that one as the reference"
            )
        for each in (reference, candidate):
            check_file(each)
        torchao()
        from quantbench.backends.pt2e.insides import ProgramInsides
        from quantbench.torch_process import get_threads

        compiled, is_trained = self.load(candidate, get_threads()), isinstance(candidate.recipe, QatInt8)
        return ProgramInsides(reference, candidate, compiled, self._binding, is_trained)

    def rehearse(self, reference: Artifact, recipe: Recipe, samples: Inputs) -> None:
        """See `Backend.rehearse`: a compiler that is missing is told before minutes of work."""
        from quantbench.backends.exported.graphs import graph_of

        if reason := self.supports(recipe):
            raise QuantizationError(reason)
        check_compiler()
        module = exportable(reference)
        if isinstance(recipe, QatInt8):
            self._prepared(module, recipe, samples)
        else:
            graph_of(module, samples)

    def prepare_training(self, reference: Artifact, recipe: Trained, samples: Inputs) -> nn.Module:
        """See `Backend.prepare_training`."""
        return self._prepared(exportable(reference), recipe, samples)

    def freeze(self, prepared: nn.Module) -> None:
        """See `Backend.freeze`."""
        from quantbench.backends.pt2e.training import freeze

        freeze(prepared)

    def convert_trained(self, prepared: nn.Module) -> Predictor:
        """See `Backend.convert_trained`; what is given is the compiled program."""
        from quantbench.backends.pt2e.training import FakeQuantized, converted_trained

        check_compiler()
        if not isinstance(prepared, FakeQuantized):
            raise QuantizationError(
                f"convert: {type(prepared).__name__} was not prepared by backend 'pt2e': give what it prepared"
            )
        graph, observers = converted_trained(prepared)
        with temporary_folder() as folder:
            made = self._written(graph, observers, prepared.name, prepared.recipe, prepared.samples, Path(folder))
        return made.converted

    def _prepared(self, module: nn.Module, recipe: Recipe, samples: Inputs) -> FakeQuantized:
        if not isinstance(recipe, QatInt8):
            raise QuantizationError(self.supports(recipe) or f"a recipe of kind {recipe.kind} is not trained")
        torchao()
        from quantbench.backends.pt2e.training import prepared

        return prepared(module, recipe, samples)

    def lowered(self, reference: Artifact, samples: Inputs, folder: Path) -> Quantized | None:
        """See `Backend.lowered`; files of this backend are what they are."""
        if reference.backend.name == NAME:
            return None
        return self._fp32(exportable(reference), reference, Fp32(), samples, folder)

    def quantize(self, reference: Artifact, recipe: Recipe, calibration: Calibration, folder: Path) -> Quantized:
        """See `Backend.quantize`."""
        if reason := self.supports(recipe):
            raise QuantizationError(reason)
        check_compiler()
        torchao()
        from quantbench.backends.exported.quantization import quantized
        from quantbench.backends.pt2e.quantizer import quantizer_of

        module, samples = exportable(reference), calibration.samples
        if isinstance(recipe, Fp32) or (isinstance(recipe, StaticInt8) and recipe.layers == ()):
            return self._fp32(module, reference, recipe, samples, folder)
        if isinstance(recipe, QatInt8):
            graph, observers = self._trained(module, recipe, calibration)
            return self._written(graph, observers, _name_of(reference), recipe, samples, folder)
        if not isinstance(recipe, StaticInt8 | DynamicInt8):
            raise QuantizationError(f"backend 'pt2e' makes nothing by a recipe of kind {recipe.kind}")
        batches = calibration.batches() if isinstance(recipe, StaticInt8) else ()
        graph, observers = quantized(module, recipe, batches, samples, quantizer_of)
        return self._written(graph, observers, _name_of(reference), recipe, samples, folder)

    def _fp32(self, module: nn.Module, reference: Artifact, recipe: Recipe, samples: Inputs, folder: Path) -> Quantized:
        from quantbench.backends.exported.graphs import graph_of

        check_compiler()
        torchao()
        return self._written(graph_of(module, samples), {}, _name_of(reference), recipe, samples, folder)

    def _trained(self, module: nn.Module, recipe: QatInt8, calibration: Calibration) -> tuple[GraphModule, Observers]:
        """The converted graph of fine-tuned weights.

        Raises:
            BaselineError: if they do not fit or are not finite.
        """
        from quantbench.backends.pt2e.training import converted_trained
        from quantbench.backends.weights import fill_trained

        trained = self._prepared(module, recipe, calibration.samples)
        fill_trained(trained, recipe, calibration)
        return converted_trained(trained)

    def _written(
        self, graph: GraphModule, observers: Observers, name: str, recipe: Recipe, samples: Inputs, folder: Path
    ) -> Quantized:
        """Writes a graph as a file, and holds what is loaded from it against the graph."""
        import torch

        from quantbench.backends.exported.graphs import program_of
        from quantbench.backends.pt2e.archive import normalized

        program = program_of(graph, samples, name)
        # Samples would be saved with it.
        program._example_inputs = None
        buffer, path = io.BytesIO(), folder / FILE_NAME
        with quiet():
            torch.export.save(program, buffer)
        with replacing(path) as temporary:
            temporary.write_bytes(normalized(buffer.getvalue()))
        artifact = Artifact.of_files(self.spec, [path], recipe, None, observers)
        predictor = self.load(artifact, 1)
        check_same(graph, predictor, samples, f"{name} compiled by inductor", is_int8=bool(observers))
        return Quantized(artifact, predictor)


def _name_of(reference: Artifact) -> str:
    """Of its model, for messages."""
    return reference.model.name if reference.model else reference.path.name
