"""A compiled program as a file's runner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from quantbench.backends.coverage import Coverage
from quantbench.backends.file_predictor import Array, Runner
from quantbench.backends.module import array_of
from quantbench.backends.pt2e.compiling import Compiled
from quantbench.backends.pt2e.evidence import coverage_of

# Of the archive of compiled code.
MODEL = "model"


class ProgramRunner(Runner):
    """Runs a compiled program.

    Args:
        compiled: on disk.
        threads: intra-operator threads of its forwards.
        file: for messages.
    """

    def __init__(self, compiled: Compiled, threads: int, file: str) -> None:
        self.inputs, self.outputs, self.compile_s = compiled.inputs, compiled.outputs, compiled.seconds
        self._compiled, self._threads, self._file = compiled, threads, file
        # One at a time, run by the thread that asks; −1 is the processor.
        self._loaded: Any = torch._C._aoti.AOTIModelPackageLoader(str(compiled.package), MODEL, True, 1, -1)

    def run(self, arrays: Sequence[Array]) -> Sequence[Array]:
        """See `Runner.run`."""
        before = torch.get_num_threads()
        if before == self._threads:
            return self._run(arrays)
        torch.set_num_threads(self._threads)
        try:
            return self._run(arrays)
        finally:
            torch.set_num_threads(before)

    def _run(self, arrays: Sequence[Array]) -> Sequence[Array]:
        with torch.inference_mode():
            return [array_of(each) for each in self._loaded.run([torch.from_numpy(array) for array in arrays])]

    def kernels(self, batches: Sequence[Sequence[Array]]) -> Coverage | None:
        """See `Runner.kernels`: the code never changes, so that what was noted when it was compiled tells."""
        sizes = [len(batch[0]) for batch in batches]
        return coverage_of(self._compiled.products, self._compiled.expected, sizes, self._file)
