"""Interface of a data set: its samples, decoded once, and the normalization of stored integers to model input."""

from __future__ import annotations

import hashlib
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from quantbench.arrays import INPUT
from quantbench.foreign import Guarded

if TYPE_CHECKING:
    import torch

# Called with (done, total) while samples are made or decoded.
Progress = Callable[[int, int], None]
# Set by `--real-data`: without it nothing is ever downloaded.
DOWNLOAD_VARIABLE = "QUANTBENCH_DOWNLOAD"


def download_allowed() -> bool:
    """True if the user allowed missing data sets to be downloaded."""
    return bool(os.environ.get(DOWNLOAD_VARIABLE))


@dataclass(frozen=True)
class Arrays:
    """Decoded samples.

    Attributes:
        inputs: `[n, channels, height, width]` uint8 for images, `[n, 1, samples]` int16 for sound.
        labels: `[n]` int64 class indices.
        groups: `[n]` int64, equal for samples that must stay on one side of every split, such as those of one speaker;
            numbered alike on both sides. None where samples are independent.
        places: of the files below the source's `root`, in the order of the samples. None where they lie in no files.
        input_name: of `inputs`, for models with several inputs.
        others: name → `[n, …]`, the inputs beside `inputs`.

    Example:
        >>> samples = Arrays(np.zeros((2, 3, 8, 8), np.uint8), np.array([0, 1]))
        >>> samples.inputs.shape, samples.labels.tolist()
        ((2, 3, 8, 8), [0, 1])
    """

    inputs: NDArray[Any]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64] | None = None
    places: tuple[str, ...] | None = None
    input_name: str = INPUT
    others: Mapping[str, NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Decoded:
    """A whole data set, decoded: its two published sides and the names of its classes.

    `train` is None where there are samples to test with only; `classes` is empty where targets are no classes.
    """

    train: Arrays | None
    test: Arrays
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Normalization:
    """Stored integers → model input: `(x / full_scale − mean) / std`, per channel.

    Attributes:
        full_scale: the stored value that stands for 1.0 (255 for uint8 images, 32768 for int16 sound).
        mean: one value per channel.
        std: one value per channel; none at all where samples are given to a model as they are stored.

    Example:
        >>> norm = Normalization(255.0, mean=(0.5,), std=(0.5,))
        >>> norm(np.array([[[0, 255]]], np.uint8)).tolist()
        [[[-1.0, 1.0]]]
    """

    full_scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @overload
    def __call__(self, stored: NDArray[Any]) -> NDArray[Any]: ...

    @overload
    def __call__(self, stored: torch.Tensor) -> torch.Tensor: ...

    def __call__(self, stored: NDArray[Any] | torch.Tensor) -> NDArray[Any] | torch.Tensor:
        """Normalizes `[n, channels, …]` integers, an array or a tensor, to float32 of the same shape and kind."""
        if not self.std:
            return stored
        if not isinstance(stored, np.ndarray):
            return self._of_tensor(stored)
        # The same bits, and where the samples are small in half the time.
        if (torch := sys.modules.get("torch")) is not None and stored.flags.writeable:
            normalized: NDArray[np.float32] = self._of_tensor(torch.from_numpy(stored)).numpy()
            return normalized
        scale, shift = _factors(self, stored.ndim)
        scaled = stored.astype(np.float32)
        scaled *= scale
        if shift is not None:
            scaled -= shift
        return scaled

    def _of_tensor(self, stored: torch.Tensor) -> torch.Tensor:
        import torch

        scale, shift = _tensors(self, stored.dim(), str(stored.device))
        scaled = stored.to(torch.float32).mul_(scale)
        # A pass over the batch that changes nothing would cost a quick model several per cent of its time.
        return scaled if shift is None else scaled.sub_(shift)


@dataclass(frozen=True)
class SteppedNormalization(Normalization):
    """The same in torchvision's steps, each rounded to float32: divide by `full_scale`, subtract, divide by `std`.

    Its values differ from `Normalization`'s in the last bit.

    Attributes:
        steps: told apart from the other by its fields, wherever these are hashed.

    Example:
        >>> norm = SteppedNormalization(255.0, mean=(0.5,), std=(0.5,))
        >>> norm(np.array([[[0, 255]]], np.uint8)).tolist()
        [[[-1.0, 1.0]]]
    """

    steps: tuple[str, ...] = ("full_scale", "mean", "std")

    def __call__(self, stored: Any) -> Any:
        """Normalizes `[n, channels, …]` integers, an array or a tensor, to float32 of the same shape and kind."""
        mean, std = (
            np.array(each, np.float32).reshape((1, -1) + (1,) * (stored.ndim - 2)) for each in (self.mean, self.std)
        )
        if isinstance(stored, np.ndarray):
            values = stored.astype(np.float32)
            values /= np.float32(self.full_scale)
            values -= mean
            values /= std
            return values
        import torch

        parts = (torch.from_numpy(each).to(stored.device) for each in (mean, std))
        return stored.to(torch.float32).div_(self.full_scale).sub_(next(parts)).div_(next(parts))


# Of samples that a model is given as they are stored.
IDENTITY = Normalization(1.0, (), ())


@lru_cache(maxsize=16)
def _factors(norm: Normalization, dim: int) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Factors that broadcast over `[n, channels, …]` of `dim` dimensions; made once, since every batch needs them.

    The shift is None where it is zero.
    """
    shape = (1, -1) + (1,) * (dim - 2)
    scale = np.array([1.0 / (norm.full_scale * std) for std in norm.std], np.float32)
    shift = np.array([mean / std for mean, std in zip(norm.mean, norm.std, strict=True)], np.float32)
    return scale.reshape(shape), shift.reshape(shape) if any(norm.mean) else None


@lru_cache(maxsize=16)
def _tensors(norm: Normalization, dim: int, device: str) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The same factors as tensors."""
    import torch

    # Outside inference mode, so that a training may use what an evaluation made.
    with torch.inference_mode(False):
        scale, shift = _factors(norm, dim)
        return torch.tensor(scale, device=device), None if shift is None else torch.tensor(shift, device=device)


def source_digest(*modules: str) -> str:
    """Hash of the modules that make or decode data, by their `__file__`: what other code makes is other data."""
    return hashlib.sha256(b"".join(Path(module).read_bytes() for module in modules)).hexdigest()


class Source(Guarded, ABC):
    """A registered data set. Constructing one is cheap and reads nothing.

    Attributes:
        normalization: stored integers → model input.
        platform_dependent: whether a foreign program makes the data, whose bytes are the same on every run of one
            system and processor architecture, and may differ on another.
        by_content: `content` is the identity of the samples, and `fingerprint` a quick way to it.
        is_kept: decoded samples are kept in the cache; not where nothing tells that they would be the same again.
        root: the folder of the samples' files; None where they lie in none.
        obtain: the command or place to get the data, shown when it is absent; may be empty.

    Example:
        >>> class Blank(Source):
        ...     normalization = Normalization(255.0, mean=(0.0,), std=(1.0,))
        ...     def fingerprint(self):
        ...         return "blank:1"
        ...     def decode(self, progress):
        ...         side = Arrays(np.zeros((4, 1, 8, 8), np.uint8), np.array([0, 1, 0, 1]))
        ...         return Decoded(train=side, test=side, classes=("zero", "one"))
        >>> Blank().decode(lambda done, total: None).classes
        ('zero', 'one')
    """

    guarded = frozenset({"locate", "content", "fingerprint", "decode"})
    normalization: Normalization
    platform_dependent: bool = False
    by_content: bool = False
    is_kept: bool = True
    root: Path | None = None
    obtain: str = ""

    @property
    def training_place(self) -> str:
        """Words for where training samples belong, for messages where there are none."""
        return "its training side"

    def _called(self, method: str) -> str:
        return f"data set {type(self).__name__}: {method}"

    def locate(self, folder: Path) -> None:
        """Told the folder of the workload file, before anything is read.

        Args:
            folder: where relative paths of the workload file begin.
        """

    def content(self, progress: Progress) -> str:  # noqa: ARG002
        """Hash of the bytes that `decode` reads, for a source that is `by_content`.

        Args:
            progress: called with files done and in all.

        Raises:
            DataError: naming a file that cannot be read.
        """
        return self.fingerprint()

    @abstractmethod
    def fingerprint(self) -> str:
        """A string that changes when the decoded content would, found without reading samples.

        Raises:
            DataMissingError: if the data is not on this machine; the text says how to get it.
        """

    @abstractmethod
    def decode(self, progress: Progress) -> Decoded:
        """Makes or decodes every sample.

        Raises:
            DataError: naming the file that is damaged, or what is missing.
        """
