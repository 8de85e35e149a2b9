"""Scales and zero points of an artifact's layers, read from its file in one form for every backend.

A layer that was fused goes by the name that it had before: a batch norm or an activation after it leaves the scale of
what it gives to the layer itself.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from quantbench.errors import QuantbenchError

if TYPE_CHECKING:
    from quantbench.backends.interface import Artifact

Floats = NDArray[np.float64]
# The model's input, whatever its quantizer is called.
INPUT = "input"
# Suffix of a file → the function that reads its layers.
READERS = {
    ".onnx": "quantbench.parity.onnx_layers:layers_of",
    ".pt": "quantbench.parity.state_dict_layers:layers_of",
    ".pt2": "quantbench.parity.program_layers:layers_of",
    ".pte": "quantbench.parity.pte_layers:layers_of",
    ".xml": "quantbench.parity.openvino_layers:layers_of",
}


@dataclass(frozen=True)
class Scale:
    """Scales of one tensor with their zero points, `[n]` each: one, or one for each output channel.

    Example:
        >>> Scale.of(0.5, 3).zero_point
        array([3.])
    """

    scale: Floats
    zero_point: Floats

    @classmethod
    def of(cls, scale: Any, zero_point: Any) -> Scale:
        """From numbers or arrays; one zero point is that of all scales."""
        scales = np.asarray(scale, np.float64).reshape(-1)
        zeros = np.asarray(zero_point, np.float64).reshape(-1)
        return cls(scales, np.broadcast_to(zeros, scales.shape) if zeros.size == 1 else zeros)

    def is_like(self, other: Scale) -> bool:
        """True for the same numbers."""
        return np.array_equal(self.scale, other.scale) and np.array_equal(self.zero_point, other.zero_point)


@dataclass(frozen=True)
class Weights:
    """A layer's quantized weights.

    Attributes:
        scale: of the codes.
        values: real values, `[outputs, …]`.
    """

    scale: Scale
    values: Floats


@dataclass(frozen=True)
class Layer:
    """One layer as a file tells of it, or of a place where two results meet.

    Attributes:
        name: in the file.
        place: the same in the words of all files, by which layers are matched.
        weights: None where it has none that are quantized.
        outputs: scale of its results; None where they are not quantized.
    """

    name: str
    place: str
    weights: Weights | None = None
    outputs: Scale | None = None


@dataclass(frozen=True)
class Outputs:
    """One quantizer of activations.

    Attributes:
        name: of what it follows, in the file.
        place: see `Layer`.
        scale: its own.
    """

    name: str
    place: str
    scale: Scale


@dataclass(frozen=True)
class Origin:
    """The origin of a quantizer's values.

    Attributes:
        kind: `layer`, `join` of several results, `input`, `quantizer` whose values are passed on, or `other`.
        name: in the file; of a join, of the module that it is in.
        scale: of a quantizer.
    """

    kind: str
    name: str
    scale: Scale | None = None


def layers_of(artifact: Artifact) -> tuple[list[Layer], str]:
    """The layers of an artifact, and why none is known where its format, or its file, does not tell."""
    suffix = artifact.path.suffix.lower()
    if suffix not in READERS:
        return [], f"scales within {suffix or 'such'} files are not read"
    module, _, function = READERS[suffix].partition(":")
    read: Callable[[Artifact], list[Layer]] = getattr(importlib.import_module(module), function)
    try:
        found = read(artifact)
    except QuantbenchError as error:
        return [], str(error)
    return found, "" if found else "it holds no scales"


def assembled(weights: Mapping[str, Weights], outputs: Iterable[Outputs]) -> list[Layer]:
    """Layers in the order of the file: each with its weights and the scale of its results.

    Args:
        weights: by layer.
        outputs: quantizers of activations; one that repeats its place's scale says nothing new.
    """
    found = {name: Layer(name, name, each) for name, each in weights.items()}
    for each in outputs:
        place, n = each.place, 1
        while (there := found.get(place)) is not None and there.outputs is not None:
            if there.outputs.is_like(each.scale):
                break
            n += 1
            place = f"{each.place}#{n}"
        else:
            own = weights.get(place)
            found[place] = Layer(each.name, place, own, each.scale)
    return list(found.values())


def attributed(origin: Origin, scale: Scale, joins: dict[str, int]) -> Outputs | None:
    """The quantizer of an origin; None for one that repeats the scale of what it follows.

    Args:
        origin: of its values.
        scale: its own.
        joins: how many joins there were in each module before, counted on here.
    """
    if origin.kind == "quantizer" and origin.scale is not None and origin.scale.is_like(scale):
        return None
    if origin.kind == "input":
        return Outputs(origin.name, INPUT, scale)
    if origin.kind == "join":
        return Outputs(f"{origin.name or 'the model'} (sum)", join_place(origin.name, joins), scale)
    return Outputs(origin.name, origin.name, scale)


def join_place(module: str, joins: dict[str, int]) -> str:
    """The place of the next join in a module.

    Example:
        >>> joins = {}
        >>> join_place("layer1.0", joins), join_place("layer1.0", joins)
        ('layer1.0+', 'layer1.0+2')
    """
    joins[module] = n = joins.get(module, 0) + 1
    return f"{module}+" if n == 1 else f"{module}+{n}"
