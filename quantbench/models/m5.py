"""M5: a 1-D CNN on raw audio (Dai et al. 2016, arXiv:1610.00087, table 1), at the size that is common for keywords."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from quantbench.models.quantizable import DeQuantStub, QuantStub, fuse

KERNEL_SIZES = (80, 3, 3, 3)
POOL = 4


class M5(nn.Module):
    """Four times Conv1d → BatchNorm1d → ReLU → MaxPool1d(4), then average pooling over time and a linear classifier.

    Deviations from the paper: 32, 32, 64, 64 channels instead of 128, 128, 256, 512, and a stride of 16 in the first
    convolution instead of 4, as the published experiment has them.

    Args:
        n_input: channels of the waveform.
        n_output: classes.
        stride: of the first convolution.
        n_channel: of the first two groups; the last two have twice as many.
        conv_kernel_sizes: one per group.
    """

    # What the backend can quantize one at a time: group of layers, as the paper names it → its modules. Between groups
    # `boundary1` … stand ready to become a QuantStub or a DeQuantStub; `quant` and `dequant` are the outermost ones.
    layer_groups = {  # noqa: RUF012 — read only
        **{f"block{i}": (f"conv{i}", f"bn{i}", f"relu{i}", f"pool{i}") for i in range(1, 5)},
        "classifier": ("fc1",),
    }
    boundaries = ("quant", "boundary1", "boundary2", "boundary3", "boundary4", "dequant")

    def __init__(
        self,
        n_input: int = 1,
        n_output: int = 35,
        stride: int = 16,
        n_channel: int = 32,
        conv_kernel_sizes: tuple[int, int, int, int] = KERNEL_SIZES,
    ) -> None:
        super().__init__()
        self.quant = QuantStub()
        widths = (n_input, n_channel, n_channel, 2 * n_channel, 2 * n_channel)
        for i, kernel_size in enumerate(conv_kernel_sizes, start=1):
            first = i == 1
            self.add_module(f"conv{i}", nn.Conv1d(widths[i - 1], widths[i], kernel_size, stride if first else 1))
            self.add_module(f"bn{i}", nn.BatchNorm1d(widths[i]))
            self.add_module(f"relu{i}", nn.ReLU())
            self.add_module(f"pool{i}", nn.MaxPool1d(POOL))
            self.add_module(f"boundary{i}", nn.Identity())
        self.fc1 = nn.Linear(widths[-1], n_output)
        self.dequant = DeQuantStub()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[n, n_input, samples]` float32 → log-probabilities `[n, n_output]`."""
        x = self.quant(x)
        for i in range(1, 5):
            for part in ("conv", "bn", "relu", "pool", "boundary"):
                x = getattr(self, f"{part}{i}")(x)
        x = self.fc1(x.mean(dim=-1))
        return torch.log_softmax(self.dequant(x), dim=1)

    def fuse_model(self, is_qat: bool = False) -> None:
        """Fuses every Conv-BN-ReLU triple in place."""
        fuse(self, [[f"conv{i}", f"bn{i}", f"relu{i}"] for i in range(1, 5)], is_qat)


def m5(
    n_classes: Annotated[int, Field(ge=2)] = 35,
    stride: Annotated[int, Field(ge=1)] = 16,
    n_channel: Annotated[int, Field(ge=1)] = 32,
) -> M5:
    """M5 for one channel of raw audio.

    Args:
        n_classes: size of the classifier; set from the data.
        stride: of the first convolution.
        n_channel: of the first two groups; the last two have twice as many.

    Example:
        >>> m5(n_classes=10)(torch.zeros(1, 1, 8000)).shape
        torch.Size([1, 10])
    """
    return M5(n_output=n_classes, stride=stride, n_channel=n_channel)
