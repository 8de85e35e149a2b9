"""Backend `openvino`: recipes lowered by export and NNCF; `.xml` and `.onnx` run by OpenVINO."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from quantbench.arrays import Inputs
from quantbench.backends.coverage import Coverage
from quantbench.backends.file_predictor import Binding, FilePredictor, Layout
from quantbench.backends.interface import Artifact, Backend, Calibration, Description, Predictor, Quantized
from quantbench.backends.openvino_runtime import ptq, weight_only
from quantbench.backends.openvino_runtime.description import describe_model
from quantbench.backends.openvino_runtime.ir_files import check_ir
from quantbench.backends.openvino_runtime.ir_files import files_of as files_of
from quantbench.backends.openvino_runtime.library import core, nncf
from quantbench.backends.openvino_runtime.library import openvino as installed
from quantbench.backends.openvino_runtime.lowering import check_agreement, model_of, write_ir
from quantbench.backends.openvino_runtime.reading import read_model
from quantbench.backends.openvino_runtime.runner import Hint, OpenvinoRunner, Precision, Settings
from quantbench.errors import CheckpointError, QuantizationError
from quantbench.recipes.lowering import unsupported
from quantbench.recipes.spec import Fp32, Recipe, StaticInt8, WeightOnly

if TYPE_CHECKING:
    from quantbench.backends.insides import Insides

Device = Annotated[str, Field(pattern=r"^(CPU|(GPU|NPU)(\.\d)?)$")]
# Kinds of recipes that no setting makes possible, with the reason.
REASONS = {
    "qat_int8": "nncf quantizes an OpenVINO model after its training only",
    "low_bit": "OpenVINO has no kernels of so few bits",
    "dynamic_int8": "OpenVINO quantizes activations when it runs only for weights that were compressed",
}


def openvino(
    device: Device = "CPU",
    layout: Layout | None = None,
    output: str | None = None,
    hint: Hint = "latency",
    precision: Precision = "f32",
    bias_correction: bool = False,
    constants: Mapping[str, float] | None = None,
) -> OpenvinoBackend:
    """OpenVINO on a device.

    Args:
        device: `CPU`, `GPU`, `NPU`, or one of several, `GPU.1`. Threads are those of the CPU.
        layout: of pictures that a file takes, where that does not follow from its shapes: `nchw` or `nhwc`.
        output: name of the output that holds the answers; by default all of them.
        hint: `latency` or `throughput`.
        precision: of what is not quantized: `f32`, `bf16` or `f16`, where the device has it.
        bias_correction: of NNCF, which shifts biases by the mean error that quantization causes; no recipe asks for it.
        constants: input → the number that fills it, for inputs that no sample brings.

    Example:
        >>> openvino(layout="nhwc").name
        'openvino'
    """
    installed()
    return OpenvinoBackend(Settings(device, hint, precision), Binding(layout, output, constants or {}), bias_correction)


class OpenvinoBackend(Backend):
    """OpenVINO with settings.

    Args:
        settings: by which models are compiled.
        binding: by which files are called.
        bias_correction: see `openvino`.
    """

    name: ClassVar[str] = "openvino"
    libraries: ClassVar[tuple[str, ...]] = ("openvino",)
    quantizes_with: ClassVar[tuple[str, ...]] = ("quantbench.backends.openvino_runtime.imported",)
    unswitchable: ClassVar[str] = (
        "nncf quantizes whole graphs, which no longer have the layers of the model; search the same recipe with "
        "backend: onnxruntime or pt2e"
    )

    def __init__(self, settings: Settings, binding: Binding, bias_correction: bool) -> None:
        self.settings, self.binding, self.bias_correction = settings, binding, bias_correction

    def supports(self, recipe: Recipe) -> str | None:
        """See `Backend.supports`."""
        if isinstance(recipe, Fp32):
            return None
        if isinstance(recipe, StaticInt8):
            reason = ptq.refusal(recipe)
            return f"backend 'openvino' {reason}" if reason else None
        if isinstance(recipe, WeightOnly):
            reason = weight_only.refusal(recipe)
            return f"backend 'openvino' {reason}" if reason else None
        why = REASONS.get(recipe.kind)
        told = unsupported("openvino", recipe) or f"backend 'openvino' does not run recipes of kind {recipe.kind}"
        return f"{told} ({why})" if why else told

    def load(self, artifact: Artifact, threads: int) -> Predictor:
        """See `Backend.load`."""
        return self._predictor(read_model(artifact.files), threads, artifact.path)

    def files_of(self, path: Path) -> tuple[Path, ...]:
        """See `Backend.files_of`."""
        return files_of(path)

    def describe(self, artifact: Artifact) -> Description:
        """See `Backend.describe`."""
        model = read_model(artifact.files)
        if artifact.path.suffix.lower() == ".xml":
            return describe_model(model, {"format": "OpenVINO IR", "ir": check_ir(*artifact.files)})
        return describe_model(model, {"format": "ONNX read by OpenVINO"})

    def quantize(self, reference: Artifact, recipe: Recipe, calibration: Calibration, folder: Path) -> Quantized:
        """See `Backend.quantize`."""
        if reason := self.supports(recipe):
            raise QuantizationError(reason)
        model = self._model(reference, calibration.samples)
        if isinstance(recipe, StaticInt8):
            model = ptq.quantize(model, recipe, calibration.batches(), self.bias_correction, reference.path)
        elif isinstance(recipe, WeightOnly):
            model = weight_only.compress(model, recipe, reference.path)
        return self._written(model, recipe, folder)

    def insides(self, reference: Artifact, candidate: Artifact) -> Insides:
        """See `Backend.insides`: of models with `FakeQuantize`, as NNCF writes them."""
        from quantbench.backends.openvino_runtime.insides import OpenvinoInsides

        if reference.backend.name != self.name:
            raise QuantizationError(
                f"{reference.path.name}: is no model of OpenVINO; layers are matched with those of the one that "
                f"{candidate.path.name} was made of"
            )
        return OpenvinoInsides(reference, candidate, self.settings, self.binding)

    def lowered(self, reference: Artifact, samples: Inputs, folder: Path) -> Quantized | None:
        """See `Backend.lowered`; files of this backend are what they are."""
        if reference.backend.name == self.name:
            return None
        return self._written(self._model(reference, samples), Fp32(), folder)

    def rehearse(self, reference: Artifact, recipe: Recipe, samples: Inputs) -> None:
        """See `Backend.rehearse`."""
        if reason := self.supports(recipe):
            raise QuantizationError(reason)
        if isinstance(recipe, StaticInt8 | WeightOnly):
            # A library that is missing is told before minutes of work.
            nncf()
        self._model(reference, samples)

    def kernels(self, artifact: Artifact, inputs: Inputs) -> Coverage | None:
        """See `Backend.kernels`."""
        return self.load(artifact, 1).kernels(inputs)

    def _model(self, reference: Artifact, samples: Inputs) -> Any:
        """The reference as an `openvino.Model` that was seen to compute the same."""
        model = model_of(reference, samples)
        if reference.backend.name != self.name:
            own = reference.backend.create().load(reference, 1)
            check_agreement(self._predictor(model, 1, reference.path), own, samples, reference.path)
        return model

    def _written(self, model: Any, recipe: Recipe, folder: Path) -> Quantized:
        files = write_ir(model, folder)
        return Quantized(Artifact.of_files(self.spec, files, recipe), self._predictor(model, 1, files[0]))

    def _predictor(self, model: Any, threads: int, path: Path) -> FilePredictor:
        device = self.settings.device
        if device != "CPU" and device not in (found := core().available_devices):
            raise CheckpointError(f"{path}: openvino finds no {device} on this machine; it has {', '.join(found)}")
        return FilePredictor(OpenvinoRunner(model, self.settings, threads, str(path)), str(path), self.binding)
