"""A runner that keeps what went in and out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from quantbench.backends.file_predictor import Array, Runner
from quantbench.backends.onnx_runtime.session import SessionRunner


class Watched(Runner):
    """A runner that keeps what it was given and what it gave; a file of one fixed batch size has several forwards.

    Args:
        runner: gives the activations.
        inputs: names of those that are activations, too.
    """

    def __init__(self, runner: SessionRunner, inputs: list[str]) -> None:
        self.runner, self.kept = runner, inputs
        self.inputs, self.outputs = runner.inputs, ()
        self.seen: list[dict[str, NDArray[np.float32]]] = []

    def run(self, arrays: Sequence[Array]) -> Sequence[Array]:
        """See `Runner.run`; nothing is given on."""
        given = dict(zip([each.name for each in self.inputs], arrays, strict=True))
        made = dict(zip([each.name for each in self.runner.outputs], self.runner.run(arrays), strict=True))
        self.seen.append(made | {name: given[name] for name in self.kept})
        return []
