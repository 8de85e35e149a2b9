"""CIFAR-10 (Krizhevsky 2009) on its original pixels, through torchvision: downloaded on request, integrity checked."""

from __future__ import annotations

import numpy as np

from quantbench.data.image_folder import DEFAULT_MEAN, DEFAULT_STD
from quantbench.data.source import Arrays, Decoded, Normalization, Progress, Source, download_allowed
from quantbench.errors import DataError, DataMissingError
from quantbench.extras import require
from quantbench.files import data_dir


class Cifar10Source(Source):
    """The 50,000 + 10,000 images as torchvision stores them under `$QUANTBENCH_DATA`."""

    normalization = Normalization(255.0, DEFAULT_MEAN, DEFAULT_STD)
    obtain = "--real-data, which lets torchvision download CIFAR-10 (170 MB)"

    def fingerprint(self) -> str:
        """Constant once the files are there: torchvision checks their md5 whenever it opens them."""
        require("cifar10", "torchvision")
        from torchvision.datasets import CIFAR10

        folder = data_dir() / CIFAR10.base_folder
        if not folder.is_dir() and not download_allowed():
            raise DataMissingError(f"{folder}: no such folder. To get it: {self.obtain}", is_offered=True)
        return "cifar10:original"

    def decode(self, progress: Progress) -> Decoded:  # noqa: ARG002 — torchvision shows its own
        """Reads both sides, downloading first where that was allowed."""
        from torchvision.datasets import CIFAR10

        download = download_allowed()
        try:
            train = CIFAR10(str(data_dir()), train=True, download=download)
            test = CIFAR10(str(data_dir()), train=False, download=download)
        except (RuntimeError, OSError) as error:
            folder = data_dir() / CIFAR10.base_folder
            reason = "it could not be downloaded" if download else "a file is missing or its md5 is wrong"
            raise DataError(
                f"{folder}: CIFAR-10 cannot be read: {reason} ({str(error).splitlines()[0]}). "
                "Remove the folder and download it again with --real-data"
            ) from None
        return Decoded(_arrays(train), _arrays(test), tuple(train.classes))


def _arrays(side: object) -> Arrays:
    # torchvision keeps [n, 32, 32, 3]; models want channels first.
    data, targets = side.data, side.targets  # type: ignore[attr-defined]
    return Arrays(np.ascontiguousarray(data.transpose(0, 3, 1, 2)), np.array(targets, dtype=np.int64))


def cifar10() -> Cifar10Source:
    """CIFAR-10's original pixels through `torchvision.datasets.CIFAR10`.

    Example:
        >>> cifar10().normalization.full_scale
        255.0
    """
    return Cifar10Source()
