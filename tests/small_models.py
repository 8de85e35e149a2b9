"""The registered models with few channels and at most two blocks a stage, for tests of each of their layers."""

from __future__ import annotations

import pytest
from torch import nn

from quantbench.models import resnet
from quantbench.registry import MODELS


def small_model(name: str, n_classes: int = 10, width: int = 16, **params: object) -> nn.Module:
    """A model with the kinds of layers and connections of the registered one, untrained.

    Each layer is fused, observed and converted by itself, so that its size and its repetitions make no difference.

    Args:
        name: of the registered model.
        n_classes: size of the head.
        width: channels of the first stage of our ResNets; torchvision's have 64.
        params: more of the model's own.
    """
    from torchvision.models.quantization import resnet as torchvision_resnet

    params |= {"n_classes": n_classes} | ({"width": 0.25} if name == "vgg16" else {})
    ours, theirs = resnet.ResNet, torchvision_resnet.QuantizableResNet
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resnet, "ResNet", lambda block, depths, _, *rest: ours(block, _shortened(depths), width, *rest))
        patch.setattr(
            torchvision_resnet,
            "QuantizableResNet",
            lambda block, depths, **named: theirs(block, _shortened(depths), **named),
        )
        return MODELS.create(name, "here", params)


def _shortened(depths: tuple[int, ...]) -> list[int]:
    return [min(depth, 2) for depth in depths]
