"""A torch module as a program of TorchScript, which runs without the code that built it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from quantbench.arrays import Inputs, Outputs
from quantbench.backends.interface import Predictor
from quantbench.backends.module import ModulePredictor
from quantbench.backends.quiet import quiet
from quantbench.errors import QuantizationError
from quantbench.foreign import first_line

# Times that a program answers before it is believed: torch rewrites it after its first runs.
RUNS = 3


def traced(predictor: Predictor, samples: Inputs, path: Path) -> bool:
    """Writes the program of a loaded state dict, which answers bit by bit as the predictor does.

    Args:
        predictor: of one thread.
        samples: two normalized inputs or more; traced with all of them, tried out with one.
        path: of the program.

    Returns:
        False where the predictor is no module of torch, so that there is none.

    Raises:
        QuantizationError: if the module cannot be traced, or the program answers otherwise.
    """
    if not isinstance(predictor, ModulePredictor) or not isinstance(predictor.module, torch.nn.Module):
        return False
    module = predictor.module
    # Sets whatever the predictor runs with, such as its quantized engine.
    expected = [predictor(batch) for batch in (samples, _first(samples))]
    try:
        with quiet(), torch.no_grad():
            program = torch.jit.trace(module, tuple(_tensors(samples)), check_trace=False, strict=False)
            torch.jit.save(program, str(path))
            again = ModulePredictor(torch.jit.load(str(path)))
            found = [[again(batch) for _ in range(RUNS)] for batch in (samples, _first(samples))]
    # Code of the model's, and torch's own errors of many classes.
    except Exception as error:
        raise QuantizationError(
            f"{type(module).__name__} cannot be traced by torch.jit.trace: {first_line(error)}; export it through "
            "another backend (--backend onnxruntime)"
        ) from error
    if not all(_same(one, other) for one, others in zip(expected, found, strict=True) for other in others):
        raise QuantizationError(
            f"{type(module).__name__} answers otherwise once it is traced, so that something in it depends on values "
            "or on the size of the batch; export it through another backend (--backend onnxruntime)"
        )
    return True


def _tensors(samples: Inputs) -> list[torch.Tensor]:
    return [torch.from_numpy(np.ascontiguousarray(array)) for array in samples.values()]


def _first(samples: Inputs) -> Inputs:
    return {name: np.ascontiguousarray(array[:1]) for name, array in samples.items()}


def _same(one: Outputs, other: Outputs) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)
