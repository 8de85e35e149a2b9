"""Ten kinds of shapes drawn on cluttered photograph-like backgrounds, bit for bit the same on every machine.

Everything is integer arithmetic on raw PCG64 words: no float function whose last bit depends on a maths
library, and no numpy ``Generator`` method, whose stream may change between versions. Lengths are fixed point,
64 to the pixel; a frame's ``u`` and ``v`` are the coordinates of every pixel's centre, ``[n, 32, 32]``.

Source: edges are anti-aliased by clipping a signed distance to one pixel (Green, "Improved Alpha-Tested
Magnification for Vector Textures and Special Effects", SIGGRAPH 2007); shapes are minima and maxima of
distances to half-planes and circles, as in constructive solid geometry. Deviation: distances are exact only
near an edge, the one place where they are used.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from quantbench.errors import DataError

CLASSES: tuple[str, ...] = (
    "disc", "ring", "square", "triangle", "cross", "star", "crescent", "hexagon", "tee", "arrow",
)  # fmt: skip
"""Names of the labels 0 to 9; each shape stays in its class when it is rotated or mirrored."""

EXPECTED_SHA256: dict[str, str] = {
    "train": "7bb44ceef9f9f179ced1c52a8fb568fa7fa723f1807ff1bfc4404f1727a96bc1",
    "test": "06c31bac34a410d24c03e9007c1ff2d5c566a0f577e5fd15101dd0a2bbcbf7c3",
}
"""SHA-256 of ``images.tobytes() + labels.tobytes()`` for 10,000 images of stream 0 and of stream 1."""

SIDE = 32
UNIT = 64  # fixed-point steps per pixel: products of two lengths still fit 32 bits
CHUNK = 250  # images drawn at once: the working arrays stay within a few megabytes
IMAGE_SALT, LABEL_SALT = 0x5348, 0x4C41  # keep the two uses of one seed space apart
SCALAR_WORDS = 144  # random 64-bit words of one image that become one number each
BYTE_WORDS = 432  # and those that are cut into bytes, for texture (9 x 9 + 17 x 17) and noise (3 x 32 x 32)

TURN = 120  # angles are multiples of 3 degrees, which the corners of every shape here fall on
QUARTER_SINE = (
    0, 54, 107, 160, 213, 265, 316, 367, 416, 465, 512, 558, 602, 644, 685, 724,
    761, 796, 828, 859, 887, 912, 935, 956, 974, 989, 1002, 1011, 1018, 1023, 1024,
)  # fmt: skip
"""1024 sin(3k degrees) for k = 0 to 30, rounded: written out because libm's sine differs between machines."""
_HALF = QUARTER_SINE + QUARTER_SINE[-2:0:-1]
SINE: NDArray[np.int32] = np.array(_HALF + tuple(-s for s in _HALF), dtype=np.int32)

Ints = NDArray[np.int32]


class _Dice:
    """Deals out one image's random words per row, always in the same order, whatever the chunk."""

    def __init__(self, seeds: list[int]) -> None:
        raw = [np.random.PCG64(seed).random_raw(SCALAR_WORDS + BYTE_WORDS) for seed in seeds]
        words = np.stack(raw).astype("<u8")  # byte order fixed before the words are cut into bytes
        self._scalars = words[:, :SCALAR_WORDS] >> np.uint64(32)
        self._bytes = words[:, SCALAR_WORDS:].copy().view(np.uint8)
        self._next_scalar = self._next_byte = 0

    def between(self, low: int, high: int) -> Ints:
        """One number in [low, high] per image, ``[n, 1, 1]``."""
        word = self._scalars[:, self._next_scalar]
        self._next_scalar += 1
        scaled = (word * np.uint64(high - low + 1)) >> np.uint64(32)
        return scaled.astype(np.int32)[:, None, None] + np.int32(low)

    def colours(self, low: int, high: int) -> Ints:
        """Three numbers in [low, high] per image, one a channel, ``[n, 3, 1, 1]``."""
        return np.stack([self.between(low, high) for _ in range(3)], axis=1)

    def noise(self, *shape: int) -> Ints:
        """Triangular noise in [-15, 15], ``[n, *shape]``: the difference of a byte's two nibbles."""
        size = int(np.prod(shape))
        taken = self._bytes[:, self._next_byte : self._next_byte + size].astype(np.int32)
        self._next_byte += size
        return ((taken & 15) - (taken >> 4)).reshape(-1, *shape)


def _turned(u: Ints, v: Ints, angle: Ints | int) -> tuple[Ints, Ints]:
    """Returns the coordinates along and across the direction ``angle`` (in 3-degree steps)."""
    sin, cos = SINE[np.asarray(angle) % TURN], SINE[(np.asarray(angle) + TURN // 4) % TURN]
    return (cos * u + sin * v) >> 10, (cos * v - sin * u) >> 10


def _circle(u: Ints, v: Ints, r: Ints) -> Ints:
    # (d - r)(d + r) / 2r, which near the edge is the distance d - r, without a root.
    distance: Ints = (u * u + v * v - r * r) // (2 * r)
    return distance


def _box(u: Ints, v: Ints, half_u: Ints, half_v: Ints) -> Ints:
    return np.maximum(np.abs(u) - half_u, np.abs(v) - half_v)


def _ring(u: Ints, v: Ints, r: Ints) -> Ints:
    return np.maximum(_circle(u, v, r), -_circle(u, v, r * 9 >> 4))


def _square(u: Ints, v: Ints, r: Ints) -> Ints:
    return _box(u, v, r * 13 >> 4, r * 13 >> 4)


def _triangle(u: Ints, v: Ints, r: Ints) -> Ints:
    sides = [_turned(u, v, k * TURN // 3)[0] for k in range(3)]
    distance: Ints = np.maximum.reduce(sides) - (r * 9 >> 4)
    return distance


def _cross(u: Ints, v: Ints, r: Ints) -> Ints:
    return np.minimum(_box(u, v, r, r * 5 >> 4), _box(u, v, r * 5 >> 4, r))


def _star(u: Ints, v: Ints, r: Ints) -> Ints:
    """Finds the pentagram: inside at least four of its five lines, hence the second largest distance."""
    first, second = u, np.full_like(u, -SIDE * UNIT * 2)
    for k in range(1, 5):
        side = _turned(u, v, k * TURN // 5)[0]
        second = np.maximum(second, np.minimum(first, side))
        first = np.maximum(first, side)
    distance: Ints = second - (r * 6 >> 4)
    return distance


def _crescent(u: Ints, v: Ints, r: Ints) -> Ints:
    return np.maximum(_circle(u, v, r), -_circle(u - (r * 8 >> 4), v, r * 13 >> 4))


def _hexagon(u: Ints, v: Ints, r: Ints) -> Ints:
    sides = [np.abs(_turned(u, v, k * TURN // 6)[0]) for k in range(3)]
    distance: Ints = np.maximum.reduce(sides) - (r * 14 >> 4)
    return distance


def _tee(u: Ints, v: Ints, r: Ints) -> Ints:
    top = _box(u, v + (r * 10 >> 4), r, r * 5 >> 4)
    return np.minimum(top, _box(u, v - (r * 2 >> 4), r * 5 >> 4, r * 14 >> 4))


def _arrow(u: Ints, v: Ints, r: Ints) -> Ints:
    head: Ints = np.maximum(_turned(u, v, TURN // 8)[0], _turned(u, v, -TURN // 8)[0]) - (r * 11 >> 4)
    head = np.maximum(head, -u)
    return np.minimum(head, _box(u + (r * 7 >> 4), v, r * 9 >> 4, r * 4 >> 4))


DISTANCES: tuple[Callable[[Ints, Ints, Ints], Ints], ...] = (
    _circle, _ring, _square, _triangle, _cross, _star, _crescent, _hexagon, _tee, _arrow,
)  # fmt: skip


def _shape(kind: NDArray[np.int64], u: Ints, v: Ints, r: Ints) -> Ints:
    """Returns distances to shapes of class ``kind [n]`` and radius ``r [n, 1, 1]``, ``[n, 32, 32]``."""
    distance = np.empty_like(u)
    for label, formula in enumerate(DISTANCES):
        rows = kind == label
        distance[rows] = formula(u[rows], v[rows], r[rows])
    return distance


def _frame(dice: _Dice, low: int, high: int, stretch: int = 0) -> tuple[Ints, Ints]:
    """Returns a frame turned at random, its origin in [low, high] pixels, stretched by stretch / 256."""
    centre = (np.arange(SIDE, dtype=np.int32) * UNIT) + UNIT // 2
    x = centre[None, None, :] - dice.between(low * UNIT, high * UNIT)
    y = centre[None, :, None] - dice.between(low * UNIT, high * UNIT)
    x = (x * dice.between(256 - stretch, 256 + stretch)) >> 8
    y = (y * dice.between(256 - stretch, 256 + stretch)) >> 8
    return _turned(x, y, dice.between(0, TURN - 1))


def _paint(images: Ints, colour: Ints, distance: Ints, softness: int = 0) -> None:
    """Blends ``colour [n, 3, 1, 1]`` in, in place, where ``distance [n, 32, 32]`` is negative.

    The edge is 2^softness pixels wide.
    """
    cover = np.clip(128 - ((distance * 4) >> softness), 0, 256)
    change = colour - images
    change *= cover[:, None]
    change >>= 8
    images += change


def _contrasting(dice: _Dice, base: Ints, low: int, high: int, brighter: bool = False) -> Ints:
    """Picks colours that differ from ``base [n, 3, 1, 1]`` by up to [low, high] grey levels.

    They are brighter or darker by chance, or ``brighter`` wherever that fits into 0 to 255.
    """
    step = (dice.between(low, high)[:, None] * dice.colours(96, 256)) >> 8
    if not brighter:
        step = step * (2 * dice.between(0, 1) - 1)[:, None]
    colour = base + step
    return np.clip(np.where((colour < 0) | (colour > 255), base - step, colour), 0, 255).astype(np.int32)


def _texture(dice: _Dice, cells: int) -> Ints:
    """Returns value noise, ``[n, 32, 32]``: a lattice of 8 or 16 ``cells`` a side, interpolated."""
    lattice = dice.noise(cells + 1, cells + 1)
    step = SIDE // cells
    index, part = np.divmod(np.arange(SIDE), step)
    part = part.astype(np.int32) * np.int32(4 // step)
    rows = lattice[:, index] * (4 - part)[:, None] + lattice[:, index + 1] * part[:, None]
    clouds: Ints = rows[:, :, index] * (4 - part) + rows[:, :, index + 1] * part
    return clouds


def _background(dice: _Dice) -> tuple[Ints, Ints]:
    """Draws gradient, clouds and clutter, ``[n, 3, 32, 32]``, around a base colour, ``[n, 3, 1, 1]``."""
    base = dice.colours(20, 170)
    across = _frame(dice, 8, 24)[0][:, None]
    images = base + ((across * dice.colours(-40, 40)) >> 10)
    for cells in (8, 16):
        clouds = _texture(dice, cells) * dice.between(0, 24)
        images = images + ((clouds[:, None] * dice.colours(128, 256)) >> 16)
    for _ in range(2):  # soft blobs
        u, v = _frame(dice, 0, SIDE, 96)
        _paint(images, _contrasting(dice, base, 10, 60), _circle(u, v, dice.between(3 * UNIT, 8 * UNIT)), 3)
    for _ in range(3):  # strokes
        u, v = _frame(dice, 0, SIDE)
        stroke = _box(u, v, dice.between(4 * UNIT, 20 * UNIT), dice.between(UNIT // 4, UNIT * 5 // 4))
        _paint(images, _contrasting(dice, base, 10, 60), stroke)
    for _ in range(2):  # parts of other shapes: cut through the middle, so that none is whole
        u, v = _frame(dice, 0, SIDE, 48)
        part = _shape(dice.between(0, 9)[:, 0, 0].astype(np.int64), u, v, dice.between(4 * UNIT, 9 * UNIT))
        cut = _turned(u, v, dice.between(0, TURN - 1))[0]
        _paint(images, _contrasting(dice, base, 10, 60), np.maximum(part, cut))
    return images, base


def _occlude(dice: _Dice, images: Ints, base: Ints) -> None:
    """Draws a stroke and a patch in front of the shape, each too small to hide it."""
    u, v = _frame(dice, 6, 26)
    stroke = _box(u, v, dice.between(6 * UNIT, 24 * UNIT), dice.between(0, UNIT))
    _paint(images, _contrasting(dice, base, 0, 60), stroke)
    u, v = _frame(dice, 4, 28)
    patch = _box(u, v, dice.between(UNIT, UNIT * 7 // 2), dice.between(UNIT, UNIT * 7 // 2))
    _paint(images, _contrasting(dice, base, 0, 60), patch)


def _blurred(images: Ints, weight: Ints) -> Ints:
    """Mixes in ``weight [n, 1, 1]`` sixteenths of a 3 x 3 box blur (edges repeated)."""
    edged = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    rows = edged[:, :, :-2] + edged[:, :, 1:-1] + edged[:, :, 2:]
    box: Ints = (rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]) // 9
    return images + (((box - images) * weight[:, None]) >> 4)


def _draw(labels: NDArray[np.int64], seeds: list[int]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Draws one chunk: a shape of class ``labels [n]`` per seed, ``[n, 3, 32, 32]``, and its mask, ``[n, 32, 32]``."""
    dice = _Dice(seeds)
    images, base = _background(dice)
    u, v = _frame(dice, 11, 21, 40)
    distance = _shape(labels, u, v, dice.between(6 * UNIT, 12 * UNIT))
    # Shapes are mostly brighter than what is behind them: with either sign equally likely no linear filter
    # tells the classes apart, and training stays at chance for epochs before it starts.
    colour = _contrasting(dice, base, 50, 140, brighter=True) + ((u[:, None] * dice.colours(-24, 24)) >> 10)
    _paint(images, colour, distance)
    _occlude(dice, images, base)
    images = _blurred(images, dice.between(0, 16))
    images = (((images - 128) * dice.between(160, 288)[:, None]) >> 8) + 128 + dice.between(-24, 24)[:, None]
    images = images + ((dice.noise(3, SIDE, SIDE) * dice.between(4, 24)[:, None]) >> 4)
    return np.clip(images, 0, 255).astype(np.uint8), distance < 0


def _seed(salt: int, stream: int, index: int) -> int:
    return (salt << 96) | (stream << 48) | index


def _draw_labels(count: int, stream: int) -> NDArray[np.int64]:
    """Deals labels ``[count]``: each ten in a row hold every class once, in random order."""
    seeds = [_seed(LABEL_SALT, stream, ten) for ten in range((count + 9) // 10)]
    tens = [np.random.PCG64(seed).random_raw(10) for seed in seeds]
    return np.argsort(np.stack(tens), axis=1, kind="stable").reshape(-1)[:count].astype(np.int64)


def draw_shapes(count: int, stream: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Draws the first ``count`` images of a stream; image i depends on ``stream`` and i alone.

    Args:
        count: Number of images, at least 1.
        stream: 0 for training, 1 for testing; other non-negative numbers give further independent images.

    Returns:
        Images ``[count, 3, 32, 32]``, RGB in 0 to 255, and labels ``[count]``, indices into ``CLASSES``.

    Raises:
        DataError: If ``count`` or ``stream`` is out of range.
    """
    images, labels, _ = draw_masks(count, stream)
    return images, labels


def draw_masks(count: int, stream: int) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.bool_]]:
    """Draws the same images, and the pixels whose centre lies within the shape, hidden ones too.

    Args:
        count: Number of images, at least 1.
        stream: As of ``draw_shapes``.

    Returns:
        Images ``[count, 3, 32, 32]``, labels ``[count]``, masks ``[count, 32, 32]``.

    Raises:
        DataError: If ``count`` or ``stream`` is out of range.
    """
    if count < 1:
        raise DataError(f"draw_shapes: count: {count} images asked for; the least is 1")
    if stream < 0:
        raise DataError(f"draw_shapes: stream: {stream} is negative; use 0 (train), 1 (test) or more")
    labels = _draw_labels(count, stream)
    images = np.empty((count, 3, SIDE, SIDE), dtype=np.uint8)
    masks = np.empty((count, SIDE, SIDE), dtype=np.bool_)
    for start in range(0, count, CHUNK):
        stop = min(start + CHUNK, count)
        seeds = [_seed(IMAGE_SALT, stream, index) for index in range(start, stop)]
        images[start:stop], masks[start:stop] = _draw(labels[start:stop], seeds)
    return images, labels, masks
