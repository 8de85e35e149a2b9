"""The embedded data set for segmentation: drawn shapes with the class of each pixel, the same bits everywhere."""

from __future__ import annotations

import hashlib

import numpy as np

from quantbench.data.shapes_drawing import draw_masks
from quantbench.data.source import Arrays, Decoded, Normalization, Progress, Source
from quantbench.errors import DataError

# Streams of the drawing that the data set `shapes` does not use.
SIDES = {"train": (2, 8_000), "test": (3, 2_000)}
EXPECTED_SHA256 = {
    "train": "6db174a90da7b7e29c491bc4777d76f5f6ab838a25d1870425936418732325ee",
    "test": "e03d2975b7e213ee8d216f989a43d7512fb7bde131cc3ae9316beb5786158dd6",
}


class ShapeMasksSource(Source):
    """8,000 training and 2,000 test images of 32×32 RGB pixels; class 0 is what lies around the shape."""

    # Of the training side's pixels.
    normalization = Normalization(255.0, (0.412, 0.413, 0.416), (0.186, 0.186, 0.185))

    def fingerprint(self) -> str:
        """The digests the drawing must have."""
        return f"shape_masks:{EXPECTED_SHA256['train']}:{EXPECTED_SHA256['test']}"

    def decode(self, progress: Progress) -> Decoded:
        """Draws both sides and checks their digests."""
        sides = {}
        for done, (side, (stream, n)) in enumerate(SIDES.items()):
            progress(done, len(SIDES))
            images, labels, masks = draw_masks(n, stream)
            pixels = masks * (labels + 1)[:, None, None]
            found = hashlib.sha256(images.tobytes() + pixels.astype("<i8").tobytes()).hexdigest()
            if found != EXPECTED_SHA256[side]:
                raise DataError(
                    f"shape_masks: the {side} side has sha256 {found[:16]}…, expected {EXPECTED_SHA256[side][:16]}…: "
                    f"this machine or numpy {np.__version__} computes integers differently; please report it"
                )
            sides[side] = Arrays(images, pixels.astype(np.int64))
        return Decoded(sides["train"], sides["test"], ())


def shape_masks() -> ShapeMasksSource:
    """The embedded shapes with the class of each pixel: 0 around them, 1 to 10 within.

    Example:
        >>> shape_masks().fingerprint().partition(":")[0]
        'shape_masks'
    """
    return ShapeMasksSource()
