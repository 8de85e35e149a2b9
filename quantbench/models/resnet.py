"""Residual networks (He et al. 2015, arXiv:1512.03385) whose additions quantization can see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import nn

from quantbench.models.quantizable import DeQuantStub, FloatFunctional, QuantStub, fuse

Stem = Literal["cifar", "imagenet"]
Classes = Annotated[int, Field(ge=2)]


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    """1×1 convolution and batch norm where the shape changes: option B of the paper."""
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class QuantizableBasicBlock(nn.Module):
    """Two 3×3 convolutions; the residual is added and rectified by one `FloatFunctional`.

    A plain `+` has no observer, so that the sum would have no scale.

    Args:
        inputs: channels.
        planes: channels of both convolutions.
        stride: of the first convolution.
    """

    expansion = 1

    def __init__(self, inputs: int, planes: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = _shortcut(inputs, planes, stride)
        self.add_relu = FloatFunctional()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[n, inputs, h, w]` → `[n, planes, h / stride, w / stride]`."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        identity = x if self.downsample is None else self.downsample(x)
        return self.add_relu.add_relu(out, identity)

    def fuse_model(self, is_qat: bool = False) -> None:
        """Fuses its convolutions with batch norm, the first with its ReLU too, in place."""
        fuse(self, [["conv1", "bn1", "relu"], ["conv2", "bn2"], *_shortcut_group(self.downsample)], is_qat)


class QuantizableBottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolutions; each ReLU is a module of its own, since a shared one can be fused only once.

    The stride is the 3×3 convolution's, as torchvision has it ("ResNet V1.5").

    Args:
        inputs: channels.
        planes: channels of the first two convolutions; the third has four times as many.
        stride: of the second convolution.
    """

    expansion = 4

    def __init__(self, inputs: int, planes: int, stride: int = 1) -> None:
        super().__init__()
        outputs = self.expansion * planes
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(planes, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = _shortcut(inputs, outputs, stride)
        self.skip_add_relu = FloatFunctional()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[n, inputs, h, w]` → `[n, 4 · planes, h / stride, w / stride]`."""
        out = self.relu1(self.bn1(self.conv1(x)))
        out = self.relu2(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        identity = x if self.downsample is None else self.downsample(x)
        return self.skip_add_relu.add_relu(out, identity)

    def fuse_model(self, is_qat: bool = False) -> None:
        """Fuses its convolutions with batch norm, the first two with their ReLU too, in place."""
        groups = [["conv1", "bn1", "relu1"], ["conv2", "bn2", "relu2"], ["conv3", "bn3"]]
        fuse(self, [*groups, *_shortcut_group(self.downsample)], is_qat)


def _shortcut_group(shortcut: nn.Sequential | None) -> list[list[str]]:
    return [] if shortcut is None else [["downsample.0", "downsample.1"]]


Block = QuantizableBasicBlock | QuantizableBottleneck


class ResNet(nn.Module):
    """Stem, stages of residual blocks, global average pooling, linear head; quantization stubs at both ends.

    Its state dict has the keys of torchvision's ResNets.

    Args:
        block: of which all stages are made.
        depths: blocks of each stage; each stage but the first halves the resolution.
        width: planes of the first stage; doubled from stage to stage.
        n_classes: size of the head.
        stem: `cifar`, one 3×3 convolution, for 32×32 images; `imagenet`, 7×7 with stride 2 and a max-pool, for 224×224.
    """

    def __init__(
        self, block: type[Block], depths: Sequence[int], width: int, n_classes: int = 10, stem: Stem = "cifar"
    ) -> None:
        super().__init__()
        self.quant = QuantStub()
        if stem == "cifar":
            self.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
        else:
            self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1) if stem == "imagenet" else nn.Identity()
        inputs = width
        self.stages = tuple(f"layer{i}" for i in range(1, len(depths) + 1))
        for i, (name, depth) in enumerate(zip(self.stages, depths, strict=True)):
            planes, stage = width * 2**i, nn.Sequential()
            for j in range(depth):
                stage.append(block(inputs, planes, stride=2 if i > 0 and j == 0 else 1))
                inputs = block.expansion * planes
            self.add_module(name, stage)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(inputs, n_classes)
        self.dequant = DeQuantStub()
        self._initialize()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[n, 3, h, w]` float32 → logits `[n, n_classes]`."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(self.quant(x)))))
        for name in self.stages:
            x = getattr(self, name)(x)
        logits: torch.Tensor = self.dequant(self.fc(self.avgpool(x).flatten(1)))
        return logits

    def fuse_model(self, is_qat: bool = False) -> None:
        """Fuses the stem and lets each block fuse itself, in place."""
        fuse(self, [["conv1", "bn1", "relu"]], is_qat)
        for module in self.modules():
            if isinstance(module, Block):
                module.fuse_model(is_qat)

    def _initialize(self) -> None:
        """He et al. 2015, arXiv:1502.01852, equation 14: gradients keep their variance, by fan-out."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def resnet20(n_classes: Classes = 10, width: Annotated[int, Field(ge=1)] = 16) -> ResNet:
    """ResNet-20 for 32×32 images (arXiv:1512.03385, section 4.2), with option B shortcuts.

    Args:
        n_classes: size of the head; set from the data.
        width: channels of the first stage.

    Example:
        >>> resnet20(n_classes=10)(torch.zeros(1, 3, 32, 32)).shape
        torch.Size([1, 10])
    """
    return ResNet(QuantizableBasicBlock, (3, 3, 3), width, n_classes)


def resnet18(n_classes: Classes = 10, stem: Stem = "cifar") -> ResNet:
    """ResNet-18 (arXiv:1512.03385, table 1).

    Args:
        n_classes: size of the head; set from the data.
        stem: `cifar` for 32×32 images, `imagenet` for 224×224.

    Example:
        >>> resnet18(n_classes=10)(torch.zeros(1, 3, 32, 32)).shape
        torch.Size([1, 10])
    """
    return ResNet(QuantizableBasicBlock, (2, 2, 2, 2), 64, n_classes, stem)


def resnet50(n_classes: Classes = 10, stem: Stem = "cifar") -> ResNet:
    """ResNet-50 (arXiv:1512.03385, table 1), the stride in the 3×3 convolutions.

    Args:
        n_classes: size of the head; set from the data.
        stem: `cifar` for 32×32 images, `imagenet` for 224×224.

    Example:
        >>> resnet50(n_classes=10)(torch.zeros(1, 3, 32, 32)).shape
        torch.Size([1, 10])
    """
    return ResNet(QuantizableBottleneck, (3, 4, 6, 3), 64, n_classes, stem)
