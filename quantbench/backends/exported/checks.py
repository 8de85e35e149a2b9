"""Checks of what exported programs are made of, and of what became of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from quantbench.arrays import Inputs
from quantbench.backends.interface import Artifact, Predictor
from quantbench.errors import CheckpointError, QuantizationError
from quantbench.files import sha256_of_file

if TYPE_CHECKING:
    from torch import nn

# Backends whose files are exported programs.
EXPORTED = ("pt2e", "executorch")
# Of the largest output: of a compiled fp32 program sums in another order differ by less; codes of a quantized one may
# be rounded the other way, which its later layers pass on.
TOLERANCE, TOLERANCE_INT8 = 1e-3, 0.25


def exportable(reference: Artifact) -> nn.Module:
    """The module of a reference, in eval mode.

    Raises:
        QuantizationError: if it is a file without its module.
    """
    if reference.backend.name in EXPORTED:
        raise QuantizationError(
            f"{reference.path}: is an exported program, which is not exported again; give the state dict that it was "
            "made from"
        )
    from quantbench.backends.state_dict import reference_module

    return reference_module(reference)


def check_same(graph: Any, predictor: Predictor, samples: Inputs, what: str, is_int8: bool) -> None:
    """Refuses a program that computes something else than the graph it was made of: for one sample, and for more.

    Args:
        graph: a module.
        predictor: of the file.
        samples: a few normalized inputs.
        what: the model and what was done to it, for messages.
        is_int8: codes may be rounded the other way.

    Raises:
        QuantizationError: if an output differs.
    """
    import torch
    from torch.utils._pytree import tree_leaves

    from quantbench.backends.exported.graphs import few, tensors_of

    chosen, tolerance = few(samples), TOLERANCE_INT8 if is_int8 else TOLERANCE
    for n in (len(next(iter(chosen.values()))), 1):
        part = {key: array[:n] for key, array in chosen.items()}
        with torch.no_grad():
            expected = [each.numpy() for each in tree_leaves(graph(*tensors_of(part)))]
        for one, other in zip(expected, predictor(part).values(), strict=False):
            largest = float(np.abs(one).max(initial=0.0)) or 1.0
            worst = float(np.abs(one - other).max(initial=0.0)) if one.shape == other.shape else np.inf
            if not worst <= tolerance * largest:
                raise QuantizationError(
                    f"{what} gives something else: for a batch of {n} its outputs differ by up "
                    f"to {worst:.3g} where the largest is {largest:.3g}; does its forward draw at random, or depend "
                    "on the batch or on values? Otherwise quantize with backend: onnxruntime"
                )


def check_file(artifact: Artifact) -> None:
    """Raises CheckpointError unless the file is there and is the one that was made."""
    try:
        found = sha256_of_file(artifact.path)
    except FileNotFoundError:
        raise CheckpointError(f"{artifact.path}: no such file") from None
    except OSError as error:
        raise CheckpointError(f"{artifact.path}: cannot be read ({error.strerror})") from None
    if found != artifact.sha256[0]:
        raise CheckpointError(
            f"{artifact.path}: is not the file that was measured before: its sha256 is {found[:16]}…, and was "
            f"{artifact.sha256[0][:16]}…; run again, and leave it alone meanwhile"
        )
