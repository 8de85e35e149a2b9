"""A file run in a session, which can be asked which kernels ran."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from quantbench.backends.coverage import Coverage
from quantbench.backends.file_predictor import Array
from quantbench.backends.onnx_file import ANY_SHAPE, read_onnx
from quantbench.backends.onnx_runtime.evidence import coverage_of
from quantbench.backends.onnx_runtime.session import SessionRunner, Settings, open_session


class FileRunner(SessionRunner):
    """A file's session, which can tell of its kernels.

    Args:
        path: of the file.
        settings: see `Settings`.
        output: the only one that is asked for; None for all of them.
    """

    def __init__(self, path: Path, settings: Settings, output: str | None = None) -> None:
        unranked = [name for name, words in read_onnx(path).inputs.items() if words.endswith(ANY_SHAPE)]
        super().__init__(open_session(path, settings, path), path, output, unranked)
        self._path, self._settings = path, settings

    def kernels(self, batches: Sequence[Sequence[Array]]) -> Coverage | None:
        """See `Runner.kernels`: a session's graph never changes, so that another one of the same file tells."""
        return coverage_of(self._path, self._settings, [dict(zip(self._names, each, strict=True)) for each in batches])
