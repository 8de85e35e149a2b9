"""ExecuTorch: imported where it is needed, kept quiet, and its pool of threads."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

from quantbench.backends.quiet import quiet, silent
from quantbench.errors import ExtraMissingError
from quantbench.extras import installed, require

WHO = "backend 'executorch'"


def check_installed() -> None:
    """Raises ExtraMissingError unless ExecuTorch is there; it is imported where it is used, which takes seconds."""
    if not installed("executorch"):
        require(WHO, "executorch")


@cache
def runtime() -> Any:
    """ExecuTorch's runtime, without what lowers programs, which takes seconds to import.

    Raises:
        ExtraMissingError: if it cannot be imported.
    """
    # Its libraries are those that the runtime is linked with.
    import torch  # noqa: F401

    with silent():
        require(WHO, "executorch")
        try:
            library = importlib.import_module("executorch.extension.pybindings._C")
            # Asked for the first time, it looks at the processor, and tells what it looked at.
            library._threadpool_get_thread_count()
        except (ImportError, OSError) as error:
            reason = str(error).partition("\n")[0]
            raise ExtraMissingError(
                f"{WHO}: its runtime cannot be imported ({reason}); pip install 'quantbench-suite[executorch]' again"
            ) from None
    return library


def compiler(name: str) -> Any:
    """A module of what lowers programs.

    Raises:
        ExtraMissingError: if it cannot be imported.
    """
    with quiet():
        require(WHO, "executorch", "torchao")
        return importlib.import_module(f"executorch.{name}")


class Pool:
    """The threads of the process that run XNNPACK's kernels. A method keeps those that it was loaded with."""

    def __init__(self) -> None:
        self.generation = 0

    def resize(self, threads: int) -> int:
        """Gives the pool a number of threads, and the number of its present form.

        A method of another form must not run again: its threads are gone.
        """
        library = runtime()
        if library._threadpool_get_thread_count() != threads:
            with silent():
                library._unsafe_reset_threadpool(threads)
            self.generation += 1
        return self.generation


POOL = Pool()
