"""Transforms that torchvision names with its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from quantbench.data.framing import Framing
from quantbench.errors import DataError
from quantbench.extras import require
from quantbench.files import printable
from quantbench.registry import unknown_name

# The transforms of networks that classify pictures.
KIND = "ImageClassification"


@dataclass(frozen=True)
class Preset:
    """Transforms of some weights.

    Attributes:
        framing: how pictures become squares.
        mean: per RGB channel, of values in 0..1.
        std: per RGB channel.
    """

    framing: Framing
    mean: tuple[float, ...]
    std: tuple[float, ...]


def preset_of(weights: str) -> Preset:
    """The transforms of weights that torchvision names, without the weights themselves.

    Args:
        weights: such as `ResNet50_Weights.IMAGENET1K_V2`, or `ResNet50_Weights.DEFAULT`.

    Raises:
        DataError: if there are none of that name, or they are of a network that does not classify pictures.
        ExtraMissingError: if torchvision is not installed.

    Example:
        >>> preset_of("ResNet50_Weights.IMAGENET1K_V2").framing.resize
        232
    """
    where = f"data.weights: '{printable(weights)}'"
    require(where, "torchvision")
    from torchvision import models

    try:
        transforms: Any = models.get_weight(weights).transforms()
    except (ValueError, AttributeError, KeyError):
        raise DataError(f"data.weights: {_unknown(models, weights)}") from None
    kind = type(transforms).__name__
    if kind != KIND:
        raise DataError(f"{where}: its transforms are {kind}, for no classification of pictures; give resize and crop")
    (resize,), (crop,) = transforms.resize_size, transforms.crop_size
    # Of Pillow's pictures, which torchvision always resizes with a filter against aliasing.
    framing = Framing(crop, resize, transforms.interpolation.value)
    return Preset(framing, tuple(transforms.mean), tuple(transforms.std))


def _unknown(models: Any, weights: str) -> str:
    known = [models.get_model_weights(name) for name in models.list_models(module=models)]
    names = [f"{each.__name__}.{member}" for each in known for member in each.__members__]
    return unknown_name("weights of torchvision", weights, names)
