"""Backend `onnxruntime`: loads any `.onnx` file, writes torch models as such, and quantizes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from quantbench.arrays import Inputs
from quantbench.backends.coverage import Coverage
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
from quantbench.backends.onnx_description import describe_onnx
from quantbench.backends.onnx_file import files_of, read_onnx
from quantbench.backends.onnx_runtime.file_runner import FileRunner, tell_scales
from quantbench.backends.onnx_runtime.session import (
    GraphOptimization,
    SessionRunner,
    Settings,
    check_providers,
    open_session,
)
from quantbench.backends.switching import static_recipe
from quantbench.errors import CheckpointError, QuantizationError
from quantbench.extras import require
from quantbench.files import sha256_of_file
from quantbench.recipes.lowering import unsupported
from quantbench.recipes.spec import Fp32, ReadyMade, Recipe
from quantbench.temporary import temporary_folder

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import nn

    from quantbench.backends.insides import Insides

FILE_NAME = "model.onnx"
CPU = ("CPUExecutionProvider",)
NAME = "onnxruntime"


def onnxruntime(
    providers: tuple[str, ...] = CPU,
    graph_optimization: GraphOptimization = "all",
    layout: Layout | None = None,
    output: str | None = None,
    constants: Mapping[str, float] | None = None,
) -> OnnxRuntimeBackend:
    """Models in ONNX Runtime.

    Args:
        providers: of kernels, in the order in which they are asked.
        graph_optimization: how far the graph is rewritten when it is loaded.
        layout: of pictures, where the file does not tell.
        output: name of the one that holds the answers; all of them by default.
        constants: input → the number that fills it, for inputs that no sample brings.

    Example:
        >>> from quantbench.recipes.qat_int8 import qat_int8
        >>> onnxruntime().supports(qat_int8())
        'onnxruntime has no quantization-aware training: use backend: eager, or a static_int8 recipe'
    """
    require("backend 'onnxruntime'", "onnx", "onnxruntime")
    return OnnxRuntimeBackend(Settings(providers, graph_optimization), Binding(layout, output, constants or {}))


class OnnxRuntimeBackend(Backend):
    """Files of ONNX, whoever wrote them.

    Args:
        settings: of sessions; threads are those that a predictor is loaded with.
        binding: how the file is called.
    """

    name: ClassVar[str] = NAME
    libraries: ClassVar[tuple[str, ...]] = ("onnxruntime",)
    takes_layers: ClassVar[bool] = True
    quantizes_with: ClassVar[tuple[str, ...]] = ("quantbench.backends.onnx_runtime.imported",)

    def __init__(self, settings: Settings, binding: Binding) -> None:
        self._settings, self._binding = settings, binding

    def files_of(self, path: Path) -> tuple[Path, ...]:
        """See `Backend.files_of`: with the files of weights that lie beside it."""
        return files_of(path)

    def supports(self, recipe: Recipe) -> str | None:
        """See `Backend.supports`."""
        from quantbench.backends.onnx_runtime.recipes import refusal

        return refusal(recipe) or unsupported(NAME, recipe)

    def load(self, artifact: Artifact, threads: int) -> Predictor:
        """See `Backend.load`."""
        check_providers(self._settings.providers, self.spec.where)
        _check_files(artifact)
        settings = Settings(self._settings.providers, self._settings.graph_optimization, threads)
        runner = FileRunner(artifact.path, settings, self._binding.output)
        return FilePredictor(runner, artifact.path.name, self._binding)

    def describe(self, artifact: Artifact) -> Description:
        """See `Backend.describe`."""
        _check_files(artifact)
        return describe_onnx(artifact.path)

    def kernels(self, artifact: Artifact, inputs: Inputs) -> Coverage | None:
        """See `Backend.kernels`."""
        return self.load(artifact, 1).kernels(inputs)

    def switchable(self, reference: Artifact, candidate: Artifact, sample: Inputs) -> nn.Module:
        """See `Backend.switchable`; files of QDQ that were made elsewhere too."""
        from quantbench.backends.onnx_runtime.quantization import prepared
        from quantbench.backends.onnx_runtime.switches import Choices, switches
        from quantbench.backends.onnx_runtime.writing import whole
        from quantbench.torch_process import get_threads

        if not isinstance(candidate.recipe, ReadyMade):
            static_recipe(candidate.recipe)
        _check_files(candidate)
        with temporary_folder() as folder:
            fp32 = prepared(self._fp32(reference, sample, Path(folder)))
        settings = replace(self._settings, threads=get_threads())
        choices = Choices(whole(candidate.path), fp32, candidate.path)
        return switches(choices, fp32, settings, self._binding, sample, candidate.path)

    def insides(self, reference: Artifact, candidate: Artifact) -> Insides:
        """See `Backend.insides`: of models in the QDQ form, whoever made them."""
        from quantbench.backends.onnx_runtime.insides import OnnxInsides

        for each in (reference, candidate):
            _check_files(each)
        own = reference.backend.create()
        if not isinstance(own, OnnxRuntimeBackend):
            raise QuantizationError(
                f"{reference.path.name}: is no .onnx file, and layers of {candidate.path.name} are matched with those "
                "of the .onnx file that it was made of; name that one as the reference"
            )
        bindings = own._binding, self._binding
        return OnnxInsides(reference.path, candidate.path, self._settings, bindings)

    def lowered(self, reference: Artifact, samples: Inputs, folder: Path) -> Quantized | None:
        """See `Backend.lowered`: torch models as fp32 `.onnx`; files of this backend are what they are."""
        if reference.backend.name == NAME:
            return None
        return self._written(self._fp32(reference, samples, folder), {}, reference, Fp32(), folder)

    def quantize(self, reference: Artifact, recipe: Recipe, calibration: Calibration, folder: Path) -> Quantized:
        """See `Backend.quantize`; weights of a torch model or of another `.onnx` file."""
        from quantbench.backends.onnx_runtime.quantization import quantized

        if reason := self.supports(recipe):
            raise QuantizationError(reason)
        fp32 = self._fp32(reference, calibration.samples, folder)
        groups = getattr(reference.model.build(), "layer_groups", None) if reference.model else None
        found, observers = quantized(fp32, recipe, calibration, self._binding, groups)
        return self._written(found, observers, reference, recipe, folder)

    def _fp32(self, reference: Artifact, samples: Inputs, folder: Path) -> ModelProto:
        from quantbench.backends.onnx_runtime.writing import whole

        if reference.backend.name == NAME:
            _check_files(reference)
            return whole(reference.path)
        from quantbench.backends.onnx_runtime.export import exported

        return exported(reference, samples, folder / FILE_NAME)

    def _written(
        self, proto: ModelProto, observers: Observers, reference: Artifact, recipe: Recipe, folder: Path
    ) -> Quantized:
        from quantbench.backends.onnx_runtime.writing import write

        path = folder / FILE_NAME
        content = write(proto, path)
        artifact = Artifact.of_files(self.spec, [path], recipe, reference.model, observers)
        runner = SessionRunner(open_session(content, self._settings, path), path, self._binding.output)
        tell_scales(runner, read_onnx(path))
        return Quantized(artifact, FilePredictor(runner, path.name, self._binding))


def _check_files(artifact: Artifact) -> None:
    """Raises CheckpointError unless the files are there, are all that the model needs, and are those that were made."""
    needed = files_of(artifact.path)
    known = {each.resolve() for each in artifact.files}
    if strange := next((each for each in needed if each.resolve() not in known), None):
        raise CheckpointError(
            f"{artifact.path}: has values in {strange.name}, which is not among the artifact's files: "
            f"{', '.join(each.name for each in artifact.files)}"
        )
    for path, expected in zip(artifact.files, artifact.sha256, strict=True):
        try:
            found = sha256_of_file(path)
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
        if found != expected:
            raise CheckpointError(
                f"{path}: is not the file that was measured before: its sha256 is {found[:16]}…, and was "
                f"{expected[:16]}…; run again, and leave it alone meanwhile"
            )
