"""One `.npy` file, written a few rows at a time."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray


class ArrayFile:
    """An array of `n` rows on its way to disk; its type and shape are those of the first rows.

    Args:
        path: of the file.
        n: rows that it will have.

    Attributes:
        written: rows that it has.
    """

    def __init__(self, path: Path, n: int) -> None:
        self.path, self.n, self.written = path, n, 0
        self._file: BinaryIO | None = None
        self._row: tuple[tuple[int, ...], np.dtype[Any]] | None = None

    def __enter__(self) -> ArrayFile:
        """Opens the file."""
        self._file = self.path.open("wb")
        return self

    def append(self, rows: NDArray[Any]) -> None:
        """Writes rows `[k, …]`, all of them of one shape and type.

        Raises:
            ValueError: if they are not of the shape and type of those before.
        """
        if self._file is None:
            raise ValueError(f"{self.path}: not open")
        row = (rows.shape[1:], rows.dtype)
        if self._row is None:
            header = {
                "descr": np.lib.format.dtype_to_descr(rows.dtype),
                "fortran_order": False,
                "shape": (self.n, *rows.shape[1:]),
            }
            np.lib.format.write_array_header_1_0(self._file, header)
            self._row = row
        if row != self._row:
            raise ValueError(f"{self.path}: rows of {row} after rows of {self._row}")
        self._file.write(np.ascontiguousarray(rows).data)
        self.written += len(rows)

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
