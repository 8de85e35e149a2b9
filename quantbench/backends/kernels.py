"""The share of a torch model's multiply-accumulates that really ran as int8: read off the operators that ran.

Counting module types would believe a model's own claim. This listens to the dispatcher during one forward and takes
each operator's work from its operands, so that a layer that silently fell back to fp32 shows as what it was. What it
cannot count it names.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.module_tracker import ModuleTracker

from quantbench.backends.coverage import Coverage
from quantbench.backends.operators import Macs, does_no_products, macs_of, name_of
from quantbench.backends.outside import innermost, values_from_outside
from quantbench.backends.pointwise import PointwiseProducts
from quantbench.backends.weight_use import WeightUse
from quantbench.errors import MeasurementError

# Key of kernels that only call other operators.
COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd


def measure_coverage(model: nn.Module, *sample: torch.Tensor) -> Coverage:
    """Listens to a forward and to the next one of the same batch, and gives the one that multiplied less.

    A model that keeps what it computed, or leaves something out from its second call on, does not do in every forward
    what it does in its first one.

    Args:
        model: in eval mode.
        sample: its inputs, `[n, channels, …]` float32 each.

    Raises:
        MeasurementError: if nothing was seen that multiplies, or might.
    """
    first, next_one = _heard(model, sample), _heard(model, sample)
    with ExitStack() as stack:
        _taken_apart(stack)
        outside = values_from_outside(model, *sample)
    found = next_one if next_one.macs < first.macs else first
    found = replace(found, uncounted=tuple(dict.fromkeys([*found.uncounted, *outside])))
    if first.macs == 0 and not found.uncounted:
        raise MeasurementError(f"{type(model).__name__}: no convolution or matrix product was seen in its forward")
    return found


def _heard(model: nn.Module, sample: Sequence[torch.Tensor]) -> Coverage:
    tracker, use, called = ModuleTracker(), WeightUse(model), set[nn.Module]()
    listener = _Listener(tracker, use)
    with ExitStack() as stack:
        stack.callback(register_module_forward_pre_hook(lambda module, _: called.add(module)).remove)
        stack.enter_context(tracker)
        _listening(stack, listener)
        model(*sample)
    listener.uncounted |= dict.fromkeys([*use.unused(called), *listener.loose()])
    int8, floating = sum(listener.int8.values()), sum(listener.floating.values())
    return Coverage(int8, floating, dict(listener.floating), dict(listener.int8), tuple(listener.uncounted))


def count_macs(compute: Callable[[], object]) -> int:
    """Multiply-accumulates of whatever is computed, int8 and floating point alike; 0 where nothing multiplies.

    Args:
        compute: runs it once; its tensors must not be of inference mode.
    """
    listener = _Listener(ModuleTracker(), WeightUse())
    with ExitStack() as stack:
        _listening(stack, listener)
        compute()
    return sum(listener.int8.values()) + sum(listener.floating.values())


def _listening(stack: ExitStack, listener: _Listener) -> None:
    """Lets operators reach a listener one by one; the process is as before when the stack closes."""
    _taken_apart(stack)
    stack.enter_context(listener)


def _taken_apart(stack: ExitStack) -> None:
    """Enters what makes operators come one by one."""
    stack.enter_context(_slow_attention())
    # A compiled forward would run kernels that nobody dispatches. The import takes seconds where nothing was compiled.
    if "torch._dynamo" in sys.modules:
        stack.enter_context(torch.compiler.set_stance("force_eager"))
    # In inference mode conv2d, linear and matmul would reach a listener whole, each under a name of its own.
    stack.enter_context(torch.inference_mode(False))
    stack.enter_context(torch.no_grad())


@contextmanager
def _slow_attention() -> Iterator[None]:
    """Takes MultiheadAttention and TransformerEncoder apart, which else run as one operator each."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _is_composite(func: Any) -> bool:
    """True if an operator is nothing but others that it calls, in the kernel that runs where nobody listens.

    Decompositions in Python are left alone: no forward runs them outside of a compiler, they do other work, and most
    refuse quantized tensors.
    """
    is_operator = isinstance(func, torch._ops.OpOverload)
    return is_operator and bool(torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), COMPOSITE))


class _Listener(TorchDispatchMode):
    """Counts what each operator multiplies, by the layer that called it.

    Args:
        tracker: names the layer.
        use: knows the model's weights.
    """

    supports_higher_order_operators = True

    def __init__(self, tracker: ModuleTracker, use: WeightUse) -> None:
        super().__init__()
        self.tracker, self.use = tracker, use
        self.int8: Counter[str] = Counter()
        self.floating: Counter[str] = Counter()
        self.uncounted: dict[str, None] = {}
        self.pointwise = PointwiseProducts(lambda each: use.takes_weights([each]))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        # A class of tensors with operators of its own takes itself apart; what that runs comes back here.
        if any(each.__torch_dispatch__ is not torch.Tensor.__torch_dispatch__ for each in types):
            return NotImplemented
        if _is_composite(func):
            with self:
                return func._op_dk(COMPOSITE, *args, **kwargs)
        result = func(*args, **kwargs)
        self._note(func, args, kwargs, result)
        return result

    def _note(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        operands = [*args, *(value for key, value in kwargs.items() if key != "out")]
        layer = innermost(self.tracker)
        macs = macs_of(func, args, kwargs, result)
        is_harmless = macs is None and does_no_products(func, args, kwargs, self.use.takes_weights(operands))
        if macs is None and not is_harmless:
            self.uncounted[f"{'::'.join(part for part in name_of(func) if part)} in {layer or 'the model'}"] = None
        self._add(layer, macs or Macs())
        for source, each in self.pointwise.note(func, operands, result, layer, is_counted=macs is not None):
            self._add(source, each)
        self.use.note(operands, result, layer, multiplies=not is_harmless)

    def _add(self, layer: str, macs: Macs) -> None:
        if macs.int8:
            self.int8[layer] += macs.int8
        if macs.floating:
            self.floating[layer] += macs.floating

    def loose(self) -> Iterator[str]:
        """Layers with products in floating point that may be part of a convolution, where they are many."""
        counted = sum(self.int8.values()) + sum(self.floating.values())
        found = self.pointwise.loose(counted)
        for layer, macs in found.most_common():
            share = f"{100 * macs / (counted + found.total()):.0f} % of the multiply-accumulates"
            yield f"pointwise products in floating point in {layer or 'the model'} ({share})"
