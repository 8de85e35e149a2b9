"""Programs of TorchScript, as somebody else's script writes them."""

import warnings
from pathlib import Path

import torch
from torch import nn

from quantbench.backends.interface import Artifact, BackendSpec
from quantbench.recipes.spec import Fp32


def program_in(path: Path, model: nn.Module, batch: torch.Tensor, **params: str) -> Artifact:
    """A traced model, saved, as an artifact of the backend."""
    with warnings.catch_warnings(), torch.no_grad():
        # Of tracing, which is not what is tested.
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(model, batch, check_trace=False), path)
    return Artifact.of_files(BackendSpec("torchscript", params, "here"), [path], Fp32())
