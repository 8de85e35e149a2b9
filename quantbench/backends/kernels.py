"""The share of a torch model's multiply-accumulates that really ran as int8: read off the operators that ran.

Counting module types would believe a model's own claim. This listens to the dispatcher during one forward and takes
each operator's work from its operands, so that a layer that silently fell back to fp32 shows as what it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.module_tracker import ModuleTracker

from quantbench.backends.interface import Coverage
from quantbench.errors import MeasurementError

# Operators that multiply a quantized activation with a packed int8 weight.
INT8_NAMESPACE = "quantized"
INT8_OPERATORS = ("conv1d", "conv2d", "conv3d", "conv_transpose", "linear")
# What every floating-point convolution and matrix product is made of once composite operators are taken apart.
FLOAT_CONVOLUTION = "convolution"
FLOAT_PRODUCTS = ("mm", "addmm", "bmm", "baddbmm")


def measure_coverage(model: nn.Module, sample: torch.Tensor) -> Coverage:
    """Listens to one forward.

    Args:
        model: in eval mode.
        sample: `[1, channels, …]` float32.

    Raises:
        MeasurementError: if no multiplying operator was seen at all.
    """
    tracker = ModuleTracker()
    listener = _Listener(tracker)
    # In inference mode conv2d, linear and matmul would reach a listener whole, each under a name of its own.
    with torch.inference_mode(False), torch.no_grad(), tracker, listener:
        model(sample)
    int8, floating = sum(listener.int8.values()), sum(listener.floating.values())
    if int8 + floating == 0:
        raise MeasurementError(f"{type(model).__name__}: no convolution or matrix product was seen in its forward")
    return Coverage(int8, floating, dict(listener.floating))


def count_macs(compute: Callable[[], object]) -> int:
    """Multiply-accumulates of whatever is computed, int8 and floating point alike; 0 where nothing multiplies.

    Args:
        compute: runs it once; its tensors must not be of inference mode.
    """
    listener = _Listener(ModuleTracker())
    with torch.inference_mode(False), torch.no_grad(), listener:
        compute()
    return sum(listener.int8.values()) + sum(listener.floating.values())


class _Listener(TorchDispatchMode):
    def __init__(self, tracker: ModuleTracker) -> None:
        super().__init__()
        self.tracker = tracker
        self.int8: Counter[str] = Counter()
        self.floating: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        namespace, _, name = func.name().partition("::")
        name = name.partition(".")[0]
        if namespace == INT8_NAMESPACE and name.startswith(INT8_OPERATORS):
            self.int8[self._layer()] += _packed_macs(name, args, result)
        elif namespace == "aten":
            self.floating.update({self._layer(): macs} if (macs := _float_macs(name, args, result)) else {})
        return result

    def _layer(self) -> str:
        """The innermost module being executed, without the name of the model's class."""
        # The tracker's own root, "Global", stands beside the model's class.
        innermost = max(self.tracker.parents - {"Global"}, key=lambda name: name.count("."), default="")
        return innermost.partition(".")[2] or innermost


def _packed_macs(name: str, args: tuple[Any, ...], result: torch.Tensor) -> int:
    packed = next(arg for arg in args if isinstance(arg, torch.ScriptObject))
    weight = packed.unpack()[0]  # type: ignore[attr-defined]
    return _weighted_macs(weight, args[0], result, transposed="transpose" in name)


def _weighted_macs(weight: torch.Tensor, given: torch.Tensor, result: torch.Tensor, transposed: bool) -> int:
    """Every output element takes one product per weight of its output channel; transposed, every input element gives
    one per weight of its input channel."""
    return int((given if transposed else result).numel() * weight[0].numel())


def _float_macs(name: str, args: tuple[Any, ...], result: Any) -> int:
    if name == FLOAT_CONVOLUTION:
        return _weighted_macs(args[1], args[0], result, transposed=args[6])
    if name in FLOAT_PRODUCTS:
        # The summed-over dimension is the last of the second-to-last matrix: mm(a, b), addmm(bias, a, b).
        return int(result.numel() * args[-2].shape[-1])
    return 0
