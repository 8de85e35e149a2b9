"""Backend `executorch`: recipes lowered by torch.export, torchao and XNNPACK, `.pte` files run by ExecuTorch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from quantbench.arrays import Inputs
from quantbench.backends.coverage import Coverage
from quantbench.backends.executorch_runtime.library import check_installed, compiler
from quantbench.backends.executorch_runtime.recipes import refusal
from quantbench.backends.exported.checks import check_file, check_same, exportable
from quantbench.backends.file_predictor import Binding, FilePredictor, Layout
from quantbench.backends.interface import Artifact, Backend, Calibration, Description, Observers, Predictor, Quantized
from quantbench.errors import QuantizationError
from quantbench.files import replacing
from quantbench.recipes.spec import DynamicInt8, Fp32, Recipe, StaticInt8

if TYPE_CHECKING:
    from torch import nn
    from torch.fx import GraphModule

NAME, FILE_NAME = "executorch", "model.pte"


def executorch(
    layout: Layout | None = None, output: str | None = None, constants: Mapping[str, float] | None = None
) -> ExecutorchBackend:
    """ExecuTorch on the processor, with XNNPACK's kernels.

    Args:
        layout: of pictures that a file takes, where that does not follow from its shapes: `nchw` or `nhwc`.
        output: name of the output that holds the answers; by default all of them.
        constants: input → the number that fills it, for inputs that no sample brings.

    Example:
        >>> from quantbench.recipes.dynamic_int8 import dynamic_int8
        >>> executorch().supports(dynamic_int8()) is None
        True
    """
    check_installed()
    return ExecutorchBackend(Binding(layout, output, constants or {}))


class ExecutorchBackend(Backend):
    """torchao's PT2E flow with the XNNPACK quantizer, and ExecuTorch's runtime.

    Args:
        binding: how files are called.
    """

    name: ClassVar[str] = NAME
    libraries: ClassVar[tuple[str, ...]] = ("executorch", "torch", "torchao")
    unswitchable: ClassVar[str] = (
        "its delegate takes whole parts of a graph, which are lowered anew for each choice; search the same recipe "
        "with backend: pt2e, whose layers have the same names, and name those that it finds in layers"
    )

    def __init__(self, binding: Binding) -> None:
        self._binding = binding

    def supports(self, recipe: Recipe) -> str | None:
        """See `Backend.supports`."""
        return refusal(recipe)

    def load(self, artifact: Artifact, threads: int) -> Predictor:
        """See `Backend.load`."""
        from quantbench.backends.executorch_runtime.runner import PteRunner

        check_file(artifact)
        runner = PteRunner(artifact.path, threads)
        return FilePredictor(runner, str(artifact.path), self._binding, runner.notes)

    def describe(self, artifact: Artifact) -> Description:
        """See `Backend.describe`."""
        from quantbench.backends.executorch_runtime.description import describe_pte

        check_file(artifact)
        return describe_pte(artifact.path)

    def kernels(self, artifact: Artifact, inputs: Inputs) -> Coverage | None:
        """See `Backend.kernels`."""
        return self.load(artifact, 1).kernels(inputs)

    def rehearse(self, reference: Artifact, recipe: Recipe, samples: Inputs) -> None:
        """See `Backend.rehearse`."""
        from quantbench.backends.exported.graphs import graph_of

        if reason := self.supports(recipe):
            raise QuantizationError(reason)
        graph_of(exportable(reference), samples)

    def lowered(self, reference: Artifact, samples: Inputs, folder: Path) -> Quantized | None:
        """See `Backend.lowered`; files of this backend are what they are."""
        if reference.backend.name == NAME:
            return None
        return self._fp32(exportable(reference), reference, Fp32(), samples, folder)

    def quantize(self, reference: Artifact, recipe: Recipe, calibration: Calibration, folder: Path) -> Quantized:
        """See `Backend.quantize`."""
        if reason := self.supports(recipe):
            raise QuantizationError(reason)
        compiler("exir")
        from quantbench.backends.executorch_runtime.quantizer import quantizer_of
        from quantbench.backends.exported.quantization import quantized

        module, samples = exportable(reference), calibration.samples
        if isinstance(recipe, Fp32) or (isinstance(recipe, StaticInt8) and recipe.layers == ()):
            return self._fp32(module, reference, recipe, samples, folder)
        if not isinstance(recipe, StaticInt8 | DynamicInt8):
            raise QuantizationError(f"backend 'executorch' makes nothing by a recipe of kind {recipe.kind}")
        batches = calibration.batches() if isinstance(recipe, StaticInt8) else ()
        graph, observers = quantized(module, recipe, batches, samples, quantizer_of)
        return self._written(graph, observers, reference, recipe, samples, folder)

    def _fp32(self, module: nn.Module, reference: Artifact, recipe: Recipe, samples: Inputs, folder: Path) -> Quantized:
        from quantbench.backends.exported.graphs import graph_of

        return self._written(graph_of(module, samples), {}, reference, recipe, samples, folder)

    def _written(
        self,
        graph: GraphModule,
        observers: Observers,
        reference: Artifact,
        recipe: Recipe,
        samples: Inputs,
        folder: Path,
    ) -> Quantized:
        """Writes a graph as a file, and holds what is loaded from it against the graph."""
        from quantbench.backends.executorch_runtime.lowering import lowered

        name = reference.model.name if reference.model else reference.path.name
        path = folder / FILE_NAME
        content = lowered(graph, samples, name)
        with replacing(path) as temporary:
            temporary.write_bytes(content)
        artifact = Artifact.of_files(self.spec, [path], recipe, None, observers)
        predictor = self.load(artifact, 1)
        check_same(graph, predictor, samples, f"{name} lowered to ExecuTorch", is_int8=bool(observers))
        return Quantized(artifact, predictor)
