"""The embedded data set: ten kinds of drawn shapes, made on this machine, the same bits everywhere, no download."""

from __future__ import annotations

import hashlib

import numpy as np

from quantbench.data.shapes_drawing import CLASSES, EXPECTED_SHA256, draw_shapes
from quantbench.data.source import Arrays, Decoded, Normalization, Progress, Source
from quantbench.errors import DataError

SIDE_N = 10_000
STREAMS = {"train": 0, "test": 1}


class ShapesSource(Source):
    """10,000 training and 10,000 test images of 32×32 RGB pixels."""

    # Of the training side's pixels.
    normalization = Normalization(255.0, (0.412, 0.413, 0.416), (0.186, 0.186, 0.185))

    def fingerprint(self) -> str:
        """The digests the drawing must have."""
        return f"shapes:{EXPECTED_SHA256['train']}:{EXPECTED_SHA256['test']}"

    def decode(self, progress: Progress) -> Decoded:
        """Draws both sides and checks their digests."""
        sides = {}
        for done, (side, stream) in enumerate(STREAMS.items()):
            progress(done * SIDE_N, len(STREAMS) * SIDE_N)
            images, labels = draw_shapes(SIDE_N, stream)
            found = hashlib.sha256(images.tobytes() + labels.astype("<i8").tobytes()).hexdigest()
            if found != EXPECTED_SHA256[side]:
                raise DataError(
                    f"shapes: the {side} side has sha256 {found[:16]}…, expected {EXPECTED_SHA256[side][:16]}…: this "
                    f"machine or numpy {np.__version__} computes integers differently; please report it"
                )
            sides[side] = Arrays(images, labels)
        return Decoded(sides["train"], sides["test"], CLASSES)


def shapes() -> ShapesSource:
    """The embedded shapes, 10 classes.

    Example:
        >>> shapes().fingerprint().partition(":")[0]
        'shapes'
    """
    return ShapesSource()
