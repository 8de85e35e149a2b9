"""Inputs of a file that was made elsewhere, and the steps from arrays of the data to what such an input takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from quantbench.arrays import Inputs
from quantbench.errors import EvaluationError

Array = NDArray[Any]
# One step of what is done to an array before or after a forward.
Step = Callable[[Array], Array]
# Takes a line about what is done to samples.
Tell = Callable[[str], None]
# Of an array; None stands for any size.
Sizes = tuple[int | None, ...]
# As the data has them, or moved to the end.
Layout = Literal["nchw", "nhwc"]
# Samples whose integers stand for more than the file's can hold are clipped; more than this share of them is told.
MANY_CLIPPED = 0.001
INTEGERS = "iu"


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a file.

    Attributes:
        name: in the file.
        shape: None stands for any size; the first is the batch. None instead of all sizes stands for any shape.
        dtype: numpy's name of the values' type.
        scale: of integers that stand for real values, `(q − zero_point) · scale`; None for values as they are.
        zero_point: see `scale`.
        layout: of a picture's axes where the file tells it.

    Example:
        >>> print(TensorSpec("image", (None, 3, 32, 32), "float32"))
        'image' float32 [?, 3, 32, 32]
    """

    name: str
    shape: Sizes | None
    dtype: str
    scale: float | None = None
    zero_point: int = 0
    layout: Layout | None = None

    def __str__(self) -> str:
        if self.shape is None:
            return f"'{self.name}' {self.dtype} of any shape"
        sizes = ", ".join("?" if size is None else str(size) for size in self.shape)
        return f"'{self.name}' {self.dtype} [{sizes}]"


@dataclass(frozen=True)
class Binding:
    """Words of the configuration on how a file is called, where the file does not tell.

    Attributes:
        layout: of a picture's axes that the file takes.
        output: name of the one that holds the answers; None for all of them.
        constants: input → the number that fills it, for inputs that no sample brings, such as a sampling rate.
    """

    layout: Layout | None = None
    output: str | None = None
    constants: Mapping[str, float] = field(default_factory=dict)


def listed(specs: Sequence[TensorSpec]) -> str:
    """Specifications on one line."""
    return ", ".join(map(str, specs)) or "none"


def samples_in(inputs: Inputs, file: str) -> int:
    """The number of samples that all arrays of a batch have.

    Raises:
        EvaluationError: if they have different ones, or one has no axis of samples.
    """
    if odd := next((name for name, array in inputs.items() if array.ndim == 0), None):
        raise EvaluationError(f"{file}: the data's '{odd}' is one number; give an array [n, …], a row for each sample")
    counts = {name: len(array) for name, array in inputs.items()}
    if len(set(counts.values())) != 1:
        told = ", ".join(f"'{name}' has {n}" for name, n in counts.items()) or "there is none"
        raise EvaluationError(f"{file}: the arrays of a batch need the same number of samples, and {told}")
    return next(iter(counts.values()))


def matched(specs: Sequence[TensorSpec], inputs: Inputs, file: str, tell: Tell) -> list[str]:
    """The name of the data's array for each input of a file: by name, by there being one, or by shape.

    Raises:
        EvaluationError: if that leaves a choice, or nothing.
    """
    if len(specs) == 1 and len(inputs) == 1:
        return list(inputs)
    found = [spec.name if spec.name in inputs else _by_shape(spec, specs, inputs, file) for spec in specs]
    if twice := next((name for name in found if found.count(name) > 1), None):
        raise EvaluationError(
            f"{file}: '{twice}' of the data fits several of its inputs ({listed(specs)}); name the data's arrays as "
            "the inputs"
        )
    guessed = [f"{spec.name} is {name}" for spec, name in zip(specs, found, strict=True) if spec.name != name]
    if guessed:
        tell(f"inputs by shape: {', '.join(guessed)}")
    if unused := [f"'{name}'" for name in inputs if name not in found]:
        tell(f"arrays of the data that no input takes: {', '.join(unused)}")
    return found


def _by_shape(spec: TensorSpec, specs: Sequence[TensorSpec], inputs: Inputs, file: str) -> str:
    fitting = [name for name, array in inputs.items() if fits(spec.shape, array.shape)]
    if len(fitting) == 1:
        return fitting[0]
    data = ", ".join(f"'{name}' {array.dtype} {list(array.shape)}" for name, array in inputs.items())
    raise EvaluationError(
        f"{file}: takes {len(specs)} input{'s' if len(specs) > 1 else ''} ({listed(specs)}), and the data has {data}; "
        f"which of them is {spec} does not follow from names and shapes: name the data's arrays as the inputs, or give "
        f"the input a constant (backend: {{constants: {{{spec.name}: …}}}})"
    )


def step_to(spec: TensorSpec, name: str, array: Array, binding: Binding, file: str, tell: Tell) -> Step:
    """The step from arrays of the data to those that an input takes.

    Args:
        spec: of the input.
        name: of the data's array.
        array: one of them.
        binding: what the configuration says.
        file: for messages.
        tell: takes a line about what is done.

    Raises:
        EvaluationError: if they do not fit.
    """
    shape, moved = array.shape, _is_moved(spec, array.shape, binding, file)
    if moved:
        shape = (shape[0], *shape[2:], shape[1])
        tell(f"input '{spec.name}': channels moved last (NCHW → NHWC)")
    if not fits(spec.shape, shape):
        raise EvaluationError(
            f"{file}: takes {spec}, and the data's '{name}' is {array.dtype} {list(array.shape)}; give it samples of "
            "its size, or name its layout (backend: {name: …, layout: nhwc})"
        )
    cast = _cast(spec, array.dtype, file, tell)

    def step(array: Array) -> Array:
        return np.ascontiguousarray(cast(np.moveaxis(array, 1, -1) if moved else array))

    return step


def constant_for(spec: TensorSpec, value: float, n: int, file: str) -> Array:
    """The array of an input that is the same for every batch; sizes that the file leaves open are the batch's.

    Raises:
        EvaluationError: if the input's type cannot hold the number.
    """
    array = np.full([n if size is None else size for size in spec.shape or ()], value)
    cast = array.astype(spec.dtype)
    if not np.array_equal(cast, array):
        raise EvaluationError(f"{file}: takes {spec}, which cannot hold the constant {value}")
    return cast


def fits(wanted: Sizes | None, shape: tuple[int, ...]) -> bool:
    """True if an array of that shape can be given where the other is wanted; the batch is the runner's to cut."""
    if wanted is None:
        return True
    if len(wanted) != len(shape):
        return False
    return all(size in (None, own) for size, own in zip(wanted[1:], shape[1:], strict=True))


def _is_moved(spec: TensorSpec, shape: tuple[int, ...], binding: Binding, file: str) -> bool:
    """True if the file takes a picture's channels last."""
    if len(shape) != 4 or (spec.shape is not None and len(spec.shape) != 4):
        return False
    if (told := binding.layout or spec.layout) is not None:
        return told == "nhwc"
    first, last = fits(spec.shape, shape), fits(spec.shape, (shape[0], *shape[2:], shape[1]))
    if first and last:
        raise EvaluationError(
            f"{file}: {spec} takes pictures of {list(shape)} with channels first or last alike; name which: "
            "backend: {name: …, layout: nchw} or nhwc"
        )
    return last


def _cast(spec: TensorSpec, dtype: np.dtype[Any], file: str, tell: Tell) -> Step:
    """The step from values of the data to those of the file's type."""
    wanted = np.dtype(spec.dtype)
    if dtype == wanted:
        return lambda array: array
    if wanted.kind in INTEGERS and dtype.kind == "f":
        if spec.scale is None:
            raise EvaluationError(
                f"{file}: takes {spec}, integers without a scale, and the data is {dtype}; give it integers"
            )
        tell(f"input '{spec.name}': quantized to {wanted} (scale {spec.scale:.6g}, zero point {spec.zero_point})")
        return _quantized(wanted, spec, spec.scale, tell)
    if wanted.kind in INTEGERS and dtype.kind in INTEGERS:
        tell(f"input '{spec.name}': {dtype} is cast to {wanted}")
        return _within(wanted, f"{file}: takes {spec}")
    if wanted.kind == "f" and dtype.kind in f"f{INTEGERS}":
        tell(f"input '{spec.name}': {dtype} is cast to {wanted}")
        return lambda array: array.astype(wanted)
    raise EvaluationError(f"{file}: takes {spec}, and the data is {dtype}; give it data of that type")


def _quantized(wanted: np.dtype[Any], spec: TensorSpec, scale: float, tell: Tell) -> Step:
    """Real values as codes, clipped where they are beyond the range."""
    ends, step = np.iinfo(wanted), np.float32(scale)

    def quantized(array: Array) -> Array:
        codes = np.rint(array / step) + spec.zero_point
        # Rounding at an end is no clipping.
        if np.mean((codes < ends.min - 1) | (codes > ends.max + 1)) > MANY_CLIPPED:
            tell(f"input '{spec.name}': values beyond the range of its scale are clipped")
        return codes.clip(ends.min, ends.max).astype(wanted)

    return quantized


def _within(wanted: np.dtype[Any], takes: str) -> Step:
    """A cast to other integers that refuses values which do not fit."""
    ends = np.iinfo(wanted)

    def cast(array: Array) -> Array:
        if array.size and (array.min() < ends.min or array.max() > ends.max):
            raise EvaluationError(f"{takes}, and the data has values from {array.min()} to {array.max()}")
        return array.astype(wanted)

    return cast
