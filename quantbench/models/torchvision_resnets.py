"""torchvision's own quantizable ResNets, untrained: to be set beside ours, or to carry weights made elsewhere."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import nn

Classes = Annotated[int, Field(ge=2)]


def torchvision_resnet18(n_classes: Classes = 10) -> nn.Module:
    """`torchvision.models.quantization.resnet18`: ImageNet stem.

    Args:
        n_classes: size of the head; set from the data.

    Example:
        >>> torchvision_resnet18(n_classes=3).fc.out_features
        3
    """
    from torchvision.models import quantization

    model: nn.Module = quantization.resnet18(weights=None, quantize=False, num_classes=n_classes)
    return model


def torchvision_resnet50(n_classes: Classes = 10) -> nn.Module:
    """`torchvision.models.quantization.resnet50`: ImageNet stem.

    Args:
        n_classes: size of the head; set from the data.

    Example:
        >>> torchvision_resnet50(n_classes=3).fc.out_features
        3
    """
    from torchvision.models import quantization

    model: nn.Module = quantization.resnet50(weights=None, quantize=False, num_classes=n_classes)
    return model
