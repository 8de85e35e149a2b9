"""Backend `npz`: a state dict's arrays in a compressed `.npz` file, filled into the model of its factory."""

import hashlib
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from quantbench.backends.checkpoint import read_checkpoint
from quantbench.backends.interface import Artifact, Backend, Calibration, Description, Predictor, Quantized
from quantbench.backends.module import ModulePredictor
from quantbench.errors import CheckpointError, QuantizationError
from quantbench.recipes.spec import Recipe


class NpzBackend(Backend):
    """Rounds to float16, and computes in float32 with what is left."""

    name: ClassVar[str] = "npz"

    def supports(self, recipe: Recipe) -> str | None:
        """See `Backend.supports`."""
        return None if recipe.kind == "half" else f"backend 'npz' does not run recipes of kind {recipe.kind}"

    def quantize(self, reference: Artifact, recipe: Recipe, calibration: Calibration, folder: Path) -> Quantized:
        """See `Backend.quantize`."""
        if reason := self.supports(recipe):
            raise QuantizationError(reason)
        state = read_checkpoint(reference.path)
        arrays = {key: value.numpy() for key, value in state.items()}
        path = folder / "weights.npz"
        np.savez_compressed(
            path, **{key: a.astype(np.float16) if a.dtype == np.float32 else a for key, a in arrays.items()}
        )
        artifact = Artifact.of_files(self.spec, [path], recipe, reference.model)
        return Quantized(artifact, self.load(artifact, torch.get_num_threads()))

    def load(self, artifact: Artifact, threads: int) -> Predictor:
        """See `Backend.load`."""
        if artifact.model is None:
            raise CheckpointError(f"{artifact.path}: needs the factory of its model")
        model = artifact.model.build()
        arrays = _arrays(artifact.path)
        model.load_state_dict(
            {
                key: torch.from_numpy(np.asarray(array)).to(like.dtype)
                for (key, array), like in zip(arrays.items(), model.state_dict().values(), strict=True)
            }
        )
        return ModulePredictor(model, threads)

    def describe(self, artifact: Artifact) -> Description:
        """See `Backend.describe`."""
        arrays = _arrays(artifact.path)
        return Description(
            {key: {"dtype": str(array.dtype), "shape": list(array.shape)} for key, array in arrays.items()},
            {key: hashlib.sha256(array.tobytes()).hexdigest() for key, array in arrays.items()},
            sum(array.nbytes for array in arrays.values()),
        )


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not a whole .npz file ({error}); quantize again") from None


def npz() -> NpzBackend:
    """Arrays in a `.npz` file."""
    return NpzBackend()
