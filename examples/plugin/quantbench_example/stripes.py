"""Data set `stripes`: noisy images of horizontal, vertical or diagonal stripes, drawn on this machine."""

import numpy as np

from quantbench.data.source import Arrays, Decoded, Normalization, Progress, Source

CLASSES = ("diagonal", "horizontal", "vertical")
SIDES = {"train": 360, "test": 150}
SIZE, PERIOD = 8, 4


class StripesSource(Source):
    """360 training and 150 test images of 8×8 RGB pixels."""

    normalization = Normalization(255.0, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))

    def fingerprint(self) -> str:
        """Changes with the drawing."""
        return "stripes:1"

    def decode(self, progress: Progress) -> Decoded:
        """Draws both sides."""
        sides = []
        for seed, n in enumerate(SIDES.values()):
            sides.append(_drawn(n, seed))
            progress(seed + 1, len(SIDES))
        return Decoded(sides[0], sides[1], CLASSES)


def _drawn(n: int, seed: int) -> Arrays:
    random = np.random.RandomState(seed)
    labels = np.arange(n) % len(CLASSES)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    positions = np.stack([rows + columns, rows, columns])[labels] + random.randint(0, PERIOD, (n, 1, 1))
    light = np.where(positions % PERIOD < PERIOD // 2, 150, 106)
    pixels = light[:, None] + random.randint(-90, 91, (n, 3, SIZE, SIZE))
    return Arrays(pixels.clip(0, 255).astype(np.uint8), labels.astype(np.int64))


def stripes() -> StripesSource:
    """Stripes in three directions."""
    return StripesSource()
