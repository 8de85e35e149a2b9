"""Backend `litert`: `.tflite` files run by LiteRT."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from quantbench.arrays import Inputs
from quantbench.backends.coverage import Coverage
from quantbench.backends.file_predictor import Binding, FilePredictor, Layout
from quantbench.backends.interface import Artifact, Backend, Description, Predictor
from quantbench.backends.litert_runtime.description import describe_tflite
from quantbench.backends.litert_runtime.runner import LitertRunner
from quantbench.backends.litert_runtime.tflite_file import Delegate, library
from quantbench.backends.litert_runtime.tflite_file import files_of as files_of
from quantbench.recipes.spec import Recipe


def litert(
    delegate: Delegate = "xnnpack",
    layout: Layout | None = None,
    output: str | None = None,
    constants: Mapping[str, float] | None = None,
) -> LitertBackend:
    """LiteRT on the processor.

    Args:
        delegate: `xnnpack` as LiteRT does by default, or `none` for its own kernels.
        layout: of pictures that a file takes, where that does not follow from its shapes: `nchw` or `nhwc`.
        output: name of the output that holds the answers; by default all of them.
        constants: input → the number that fills it, for inputs that no sample brings.

    Example:
        >>> litert(delegate="none").name
        'litert'
    """
    library()
    return LitertBackend(delegate, Binding(layout, output, constants or {}))


class LitertBackend(Backend):
    """LiteRT with or without its delegate.

    Args:
        delegate: see `litert`.
        binding: by which files are called.
    """

    name: ClassVar[str] = "litert"
    libraries: ClassVar[tuple[str, ...]] = ("ai-edge-litert",)
    unswitchable: ClassVar[str] = (
        "a .tflite file holds its quantized weights alone, and is made elsewhere; search the model that it was made "
        "from, with backend: onnxruntime or pt2e"
    )

    def __init__(self, delegate: Delegate, binding: Binding) -> None:
        self.delegate, self.binding = delegate, binding

    def supports(self, recipe: Recipe) -> str | None:
        """See `Backend.supports`: there is no converter of LiteRT here."""
        return f"{super().supports(recipe)}; name the .tflite of your converter, or set another backend"

    def load(self, artifact: Artifact, threads: int) -> Predictor:
        """See `Backend.load`."""
        runner = LitertRunner(artifact.path, threads, self.delegate)
        return FilePredictor(runner, str(artifact.path), self.binding)

    def files_of(self, path: Path) -> tuple[Path, ...]:
        """See `Backend.files_of`."""
        return files_of(path)

    def describe(self, artifact: Artifact) -> Description:
        """See `Backend.describe`."""
        return describe_tflite(artifact.path)

    def kernels(self, artifact: Artifact, inputs: Inputs) -> Coverage | None:
        """See `Backend.kernels`."""
        return self.load(artifact, 1).kernels(inputs)
