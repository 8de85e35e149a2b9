"""A model compiled by OpenVINO, as the runner of its file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from quantbench.backends.coverage import Coverage
from quantbench.backends.file_predictor import Array, Runner
from quantbench.backends.openvino_runtime.kernels import coverage_of
from quantbench.backends.openvino_runtime.library import core
from quantbench.backends.openvino_runtime.reading import reason_of, spec_of
from quantbench.errors import CheckpointError, EvaluationError

Hint = Literal["latency", "throughput"]
Precision = Literal["f32", "bf16", "f16"]


@dataclass(frozen=True)
class Settings:
    """Words of the configuration on how a model is compiled.

    Attributes:
        device: `CPU`, `GPU`, `NPU`, or one of several, `GPU.1`.
        hint: what it is compiled for.
        precision: of what is not quantized.
    """

    device: str = "CPU"
    hint: Hint = "latency"
    precision: Precision = "f32"

    def properties(self, threads: int) -> dict[str, Any]:
        """The same in OpenVINO's words."""
        given: dict[str, Any] = {"PERFORMANCE_HINT": self.hint.upper(), "INFERENCE_PRECISION_HINT": self.precision}
        if self.device == "CPU":
            # Threads that are bound to a core would take it from whatever else is timed there.
            given |= {"INFERENCE_NUM_THREADS": threads, "ENABLE_CPU_PINNING": False, "NUM_STREAMS": 1}
        return given


class OpenvinoRunner(Runner):
    """One request of a compiled model.

    Args:
        model: an `openvino.Model`, which is compiled here.
        settings: of the configuration.
        threads: of the processor.
        file: its name, for messages.

    Raises:
        CheckpointError: if it cannot be compiled.
    """

    def __init__(self, model: Any, settings: Settings, threads: int, file: str) -> None:
        self.model, self.settings, self.threads, self.file = model, settings, threads, file
        self.inputs = tuple(spec_of(port) for port in model.inputs)
        self.outputs = tuple(spec_of(port) for port in model.outputs)
        self.compiled = self._compiled(model)
        self._request = self.compiled.create_infer_request()

    def _compiled(self, model: Any) -> Any:
        settings = self.settings
        try:
            return core().compile_model(model, settings.device, settings.properties(self.threads))
        except Exception as error:
            raise CheckpointError(
                f"{self.file}: cannot be compiled for {settings.device} ({reason_of(error)})"
            ) from None

    def run(self, arrays: Sequence[Array]) -> Sequence[Array]:
        """See `Runner.run`."""
        # A list is looked through by OpenVINO at each call, which takes longer than a small model.
        inputs = arrays[0] if len(arrays) == 1 else dict(enumerate(arrays))
        try:
            given = self._request.infer(inputs, share_inputs=True)
        except RuntimeError as error:
            raise EvaluationError(f"{self.file}: the forward failed: {reason_of(error)}") from None
        return list(given.to_tuple())

    def kernels(self, batches: Sequence[Sequence[Array]]) -> Coverage | None:
        """See `Runner.kernels`."""
        for batch in batches:
            self.run(batch)
        return coverage_of(self.model, self.compiled, self._compiled, batches, self.file)
