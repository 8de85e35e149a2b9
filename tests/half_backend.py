"""A backend that a user might write, reached as `half_backend:half`: weights rounded to float16, in an .npz file.

It has `load` and `describe` and nothing else.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import ClassVar
from zipfile import BadZipFile

import numpy as np
import torch

from quantbench.backends.checkpoint import read_checkpoint
from quantbench.backends.interface import Artifact, Backend, BackendSpec, Description, Predictor
from quantbench.backends.module import ModulePredictor
from quantbench.errors import CheckpointError

SPEC = BackendSpec("half_backend:half", {}, "here")


class HalfBackend(Backend):
    """Loads and describes; quantizes nothing and tells nothing of kernels."""

    name: ClassVar[str] = "half"

    def load(self, artifact: Artifact, threads: int) -> Predictor:
        """See `Backend.load`."""
        model = artifact.model.build()
        model.load_state_dict({name: torch.from_numpy(array) for name, array in self._arrays(artifact).items()})
        return ModulePredictor(model, threads)

    def describe(self, artifact: Artifact) -> Description:
        """See `Backend.describe`."""
        arrays = self._arrays(artifact)
        return Description(
            {name: {"dtype": str(array.dtype), "shape": list(array.shape)} for name, array in arrays.items()},
            {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in arrays.items()},
            sum(array.nbytes for array in arrays.values()),
        )

    def _arrays(self, artifact: Artifact) -> dict[str, np.ndarray]:
        try:
            with artifact.path.open("rb") as file, np.load(file) as arrays:
                return dict(arrays)
        except (OSError, ValueError, BadZipFile) as error:
            raise CheckpointError(f"{artifact.path}: no whole .npz file ({error})") from None


def half() -> HalfBackend:
    """The backend, as a configuration names it."""
    return HalfBackend()


def rounded(path: Path, reference: Artifact) -> Artifact:
    """The arrays of a state dict, rounded and saved."""
    arrays = {name: tensor.numpy() for name, tensor in read_checkpoint(reference.path).items()}
    np.savez(path, **{name: array.astype(np.float16) for name, array in arrays.items()})
    return Artifact.of_files(SPEC, [path], reference.recipe, reference.model)
