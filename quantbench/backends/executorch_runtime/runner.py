"""A `.pte` file in ExecuTorch's runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from quantbench.backends.coverage import Coverage
from quantbench.backends.executorch_runtime.kernels import coverage_of, ran_in
from quantbench.backends.executorch_runtime.library import POOL, runtime
from quantbench.backends.executorch_runtime.names import names_in
from quantbench.backends.executorch_runtime.pte_file import METHOD, PteFile, Tensor, read_pte
from quantbench.backends.file_predictor import Array, Runner, TensorSpec
from quantbench.backends.module import array_of
from quantbench.backends.quiet import silent
from quantbench.errors import CheckpointError, EvaluationError
from quantbench.files import printable
from quantbench.temporary import temporary_folder

# Of inputs, as numpy has them.
NOT_NUMPYS = ("bfloat16", "unknown")
ETDUMP = "run.etdump"


class PteRunner(Runner):
    """Runs a file.

    Args:
        path: of the file.
        threads: of its forwards.

    Raises:
        CheckpointError: if the file is damaged, or needs what this runtime has not.
    """

    def __init__(self, path: Path, threads: int) -> None:
        self._path, self._threads = path, threads
        self.file = read_pte(path)
        _check_operators(self.file, path)
        method, names = self.file.method, names_in(self.file)
        given, made = method.tensors(method.inputs), method.tensors(method.outputs)
        self._orders = [each.order if each else () for each in given]
        self.inputs = _specs(given, names.inputs, path, "input")
        self.outputs = _specs(made, names.outputs, path, "output")
        self.most = next((each.shape[0] for each in given if each and each.is_open and each.shape), None)
        self._generation = -1
        self._loaded: Any = None
        self._program: Any = None
        self._load()

    @property
    def notes(self) -> list[str]:
        """Lines about what the file takes, and what XNNPACK does not run of it."""
        found = (
            [] if self.most is None else [f"takes batches of up to {self.most} samples; larger ones are run in parts"]
        )
        told = ", ".join(f"{name} ×{n}" for name, n in sorted(self.file.method.outside.items()))
        return [*found, f"not run by XNNPACK, but by kernels of ExecuTorch's own: {told}"] if told else found

    def run(self, arrays: Sequence[Array]) -> Sequence[Array]:
        """See `Runner.run`; a batch larger than the file takes is run in parts."""
        n = len(arrays[0]) if arrays and arrays[0].ndim else 0
        if self.most is None or n <= self.most:
            return self._run(arrays)
        parts = [
            self._run([np.ascontiguousarray(array[start : start + self.most]) for array in arrays])
            for start in range(0, n, self.most)
        ]
        return [np.concatenate(each) for each in zip(*parts, strict=True)]

    def kernels(self, batches: Sequence[Sequence[Array]]) -> Coverage | None:
        """See `Runner.kernels`: what the runtime's own trace of a forward names, and the work by the file's shapes."""
        parts = [part for batch in batches for part in self._parts(batch)]
        program = self._open(enable_etdump=True)
        with silent():
            method = program.load_method(METHOD)
            method(self._tensors(parts[0]))
            with temporary_folder() as folder:
                dump = Path(folder) / ETDUMP
                program.write_etdump_result_to_file(str(dump), str(dump.with_suffix(".debug")))
                ran = ran_in(dump.read_bytes())
        sizes = [len(part[0]) for part in parts]
        return coverage_of(self.file, ran, sizes, self.most, str(self._path))

    def _parts(self, arrays: Sequence[Array]) -> list[Sequence[Array]]:
        n = len(arrays[0])
        step = min(self.most or n, n)
        return [[array[start : start + step] for array in arrays] for start in range(0, n, step)]

    def _run(self, arrays: Sequence[Array]) -> Sequence[Array]:
        if POOL.resize(self._threads) != self._generation or self.file.method.keeps_state:
            self._load()
        try:
            return [array_of(each) for each in self._loaded(self._tensors(arrays))]
        except RuntimeError as error:
            raise EvaluationError(f"{self._path}: the forward failed: {printable(error)[:200]}") from None

    def _tensors(self, arrays: Sequence[Array]) -> list[torch.Tensor]:
        return [_in_order(torch.from_numpy(array), order) for array, order in zip(arrays, self._orders, strict=True)]

    def _load(self) -> None:
        self._generation = POOL.resize(self._threads)
        try:
            with silent():
                self._program = self._program or self._open()
                self._loaded = self._program.load_method(METHOD)
        except RuntimeError as error:
            raise CheckpointError(
                f"{self._path}: ExecuTorch cannot load it: {printable(error)[:200]}; export it again"
            ) from None

    def _open(self, enable_etdump: bool = False) -> Any:
        library = runtime()
        with silent():
            return library._load_program(
                str(self._path),
                enable_etdump=enable_etdump,
                program_verification=library.Verification.InternalConsistency,
            )


def _in_order(tensor: torch.Tensor, order: Sequence[int]) -> torch.Tensor:
    """A tensor whose axes lie in memory as the file wants them."""
    if list(order) == sorted(order):
        return tensor
    back = [list(order).index(axis) for axis in range(len(order))]
    return tensor.permute(*order).contiguous().permute(*back)


def _specs(tensors: Sequence[Tensor | None], names: Sequence[str], path: Path, what: str) -> tuple[TensorSpec, ...]:
    found = []
    for name, tensor in zip(names, tensors, strict=True):
        if tensor is None:
            raise CheckpointError(
                f"{path}: {what} '{name}' is no tensor; export a model that takes and gives tensors alone"
            )
        if tensor.dtype in NOT_NUMPYS:
            raise CheckpointError(f"{path}: {what} '{name}' is of {tensor.dtype}, which numpy has not; export float32")
        sizes: list[int | None] = list(tensor.shape)
        if tensor.is_open and sizes:
            sizes[0] = None
        found.append(TensorSpec(name, tuple(sizes), tensor.dtype))
    return tuple(found)


def _check_operators(file: PteFile, path: Path) -> None:
    """Raises CheckpointError if the runtime lacks an operator."""
    known = set(runtime()._get_operator_names())
    if unknown := next((each for each in file.method.outside if each not in known), None):
        raise CheckpointError(
            f"{path}: calls {unknown[:80]}, which this build of executorch has no kernel for; export it with operators "
            "of torch, or update executorch"
        )
