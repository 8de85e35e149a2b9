"""A `.tflite` file in its interpreter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from quantbench.backends.coverage import Coverage
from quantbench.backends.file_predictor import Array, Runner, TensorSpec
from quantbench.backends.litert_runtime.kernels import coverage_of, operators_of
from quantbench.backends.litert_runtime.tflite_file import Delegate, open_tflite, reason_of
from quantbench.errors import CheckpointError, EvaluationError

# Operators that keep values from one forward to the next, which would make a score depend on the samples before it.
STATEFUL = {
    "ASSIGN_VARIABLE", "BIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_RNN", "LSTM", "RNN", "SVDF",
    "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN",
}  # fmt: skip


class LitertRunner(Runner):
    """One interpreter.

    Args:
        path: of the file.
        threads: of the interpreter.
        delegate: see `open_tflite`.

    Raises:
        CheckpointError: if the file is damaged, or takes or gives what is no array of numbers.
    """

    def __init__(self, path: Path, threads: int, delegate: Delegate) -> None:
        self.path, self.threads, self.delegate = path, threads, delegate
        self._interpreter = open_tflite(path, threads, delegate)
        given, wanted = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        input_names, output_names = _signature(self._interpreter)
        self.inputs = tuple(_spec(each, input_names, path) for each in given)
        self.outputs = tuple(_spec(each, output_names, path) for each in wanted)
        self._takes = [int(each["index"]) for each in given]
        self._gives = [int(each["index"]) for each in wanted]
        self._shapes = [tuple(map(int, each["shape"])) for each in given]
        self._is_stateful = any(op["op_name"] in STATEFUL for op in self._interpreter._get_ops_details())

    def run(self, arrays: Sequence[Array]) -> Sequence[Array]:
        """See `Runner.run`."""
        interpreter = self._interpreter
        try:
            if [array.shape for array in arrays] != self._shapes:
                self._resize(arrays)
            if self._is_stateful:
                interpreter.reset_all_variables()
            for index, array in zip(self._takes, arrays, strict=True):
                interpreter.set_tensor(index, array)
            interpreter.invoke()
            return [interpreter.get_tensor(index) for index in self._gives]
        except (RuntimeError, ValueError) as error:
            raise EvaluationError(f"{self.path}: the forward failed: {reason_of(error)}") from None

    def kernels(self, batches: Sequence[Sequence[Array]]) -> Coverage | None:
        """See `Runner.kernels`."""
        # Within a delegate the sizes of tensors stay those of the file, so that another interpreter tells them.
        plain = self if self.delegate == "none" else LitertRunner(self.path, self.threads, "none")
        runs = []
        for batch in batches:
            plain.run(batch)
            runs.append(operators_of(plain._interpreter))
        return coverage_of(runs, str(self.path))

    def _resize(self, arrays: Sequence[Array]) -> None:
        for index, array in zip(self._takes, arrays, strict=True):
            self._interpreter.resize_tensor_input(index, array.shape, strict=True)
        self._interpreter.allocate_tensors()
        self._shapes = [array.shape for array in arrays]


def _signature(interpreter: Any) -> tuple[dict[int, str], dict[int, str]]:
    """Names that a signature gives to inputs and outputs, by their tensor: better ones than those of the tensors."""
    names: tuple[dict[int, str], dict[int, str]] = ({}, {})
    signatures = interpreter.get_signature_list()
    if len(signatures) != 1:
        return names
    runner = interpreter.get_signature_runner(next(iter(signatures)))
    for found, details in zip(names, (runner.get_input_details(), runner.get_output_details()), strict=True):
        found.update({int(each["index"]): str(name) for name, each in details.items()})
    return names


def _spec(details: dict[str, Any], names: dict[int, str], path: Path) -> TensorSpec:
    name = names.get(int(details["index"]), str(details["name"]))
    dtype = np.dtype(details["dtype"])
    if dtype.kind not in "fiub":
        raise CheckpointError(f"{path}: '{name}' holds {dtype}, no numbers; such models are not run")
    sizes = details.get("shape_signature")
    sizes = details["shape"] if sizes is None or not len(sizes) else sizes
    shape = tuple(None if size < 0 else int(size) for size in sizes)
    scales = details["quantization_parameters"]["scales"]
    zeros = details["quantization_parameters"]["zero_points"]
    if len(scales) > 1:
        raise CheckpointError(f"{path}: '{name}' has a scale for each channel, which inputs and outputs cannot have")
    if not len(scales) or dtype.kind not in "iu":
        return TensorSpec(name, shape, str(dtype))
    if not np.isfinite(scales[0]) or scales[0] <= 0:
        raise CheckpointError(f"{path}: '{name}' has the scale {scales[0]}; a scale is a positive number")
    return TensorSpec(name, shape, str(dtype), float(scales[0]), int(zeros[0]) if len(zeros) else 0)
