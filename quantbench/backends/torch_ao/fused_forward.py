"""One forward of a fused model beside one of the model as it was: fusing may change nothing but rounding.

Tolerance: folding a batch norm rounds each weight once more and changes the order of a sum, which moves an activation
by some units in the last place of float32 (6e-8) of the largest sum, more where a batch norm's mean is many deviations.
On our models and torchvision's that comes to less than 1e-4 of the largest value; a wrong group moves it by some per
cent or more. 1e-3 of the largest value of each tensor stands between the two. Where values cancel, the largest value is
rounding itself, so that a difference also has to exceed some units in the last place of the largest value of the whole
forward. What is beyond both is computed once more in float64, where rounding explains nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.ao.nn.intrinsic.modules.fused import _FusedModule
from torch.nn.utils.parametrize import is_parametrized

from quantbench.backends.copying import copied
from quantbench.errors import QuantizationError

TOLERANCE = 1e-3
# Units in the last place of the largest value of the whole forward that rounding may leave where values cancel.
CANCELLED = 32.0
# Values of each tensor that are compared, evenly spaced; of the model's output all are.
COMPARED = 1 << 15
ONE_AFTER_ANOTHER = (
    "Each group of fuse_model names layers that follow each other in the forward, in that order, and each of them runs "
    "once"
)
# Child of a FloatFunctional through which its results pass.
OBSERVER = ".activation_post_process"

Key = tuple[str, int]


@dataclass
class Forward:
    """Tensors of one forward.

    Attributes:
        given: input of each call of a module with parameters of its own.
        results: result of each call that calls no other module, in the order in which they were made.
        outputs: of the model.
    """

    given: dict[Key, torch.Tensor] = field(default_factory=dict)
    results: dict[Key, torch.Tensor] = field(default_factory=dict)
    outputs: list[torch.Tensor] = field(default_factory=list)

    @property
    def rounding(self) -> float:
        """Size of what may be left where values cancel, such as the mean of what was normalized to mean 0."""
        tensors = [*self.given.values(), *self.results.values(), *self.outputs]
        finite = [torch.where(each.isfinite(), each.abs(), 0).max() for each in tensors if each.numel()]
        largest = max((float(each) for each in finite), default=0.0)
        floating = [each.dtype for each in tensors if each.is_floating_point()]
        return CANCELLED * largest * max((torch.finfo(dtype).eps for dtype in floating), default=0.0)


@dataclass(frozen=True)
class Difference:
    """The first tensors that differ.

    Attributes:
        at: name of the module that gives it, or that is given it.
        is_given: the module is given it.
        share: largest difference, as a share of the largest value.
        calls: how often the module is called in one forward.
        head: the layer that was called last before it and was not fused into another one.
    """

    at: str
    is_given: bool
    share: float
    calls: int = 1
    head: str = ""


def check_fused(model: nn.Module, fuse: Callable[[nn.Module], nn.Module], samples: torch.Tensor) -> nn.Module:
    """The fused model, if it computes what the model computes, both in eval mode.

    Args:
        model: fp32, which stays as it was.
        fuse: a model → a fused copy.
        samples: inputs `[n, …]`.

    Raises:
        QuantizationError: naming the first module whose result differs by more than rounding.
    """
    fused = fuse(model)
    difference = _first_difference(model, fused, samples)
    if difference is None:
        return fused
    try:
        exact = copied(model, "fuse").double()
        inputs = samples.double() if samples.is_floating_point() else samples
        confirmed = _first_difference(exact, fuse(exact), inputs)
    except Exception:  # The forward makes float32 tensors of its own: float32 has the last word.
        confirmed = difference
    if confirmed is None:
        return fused
    raise QuantizationError(_line(model, fused, confirmed))


def _line(model: nn.Module, fused: nn.Module, difference: Difference) -> str:
    name, advice = difference.at, ONE_AFTER_ANOTHER
    kind = type(model.get_submodule(name)).__name__
    where = f"what '{name}' ({kind}) is given" if difference.is_given else f"the result of '{name}' ({kind})"
    if not name:
        where = "the model's output"
    elif _is_replaced(model, fused, name):
        where += f", with which the fused group of '{difference.head}' ends,"
        if difference.calls > 1:
            advice = f"It is called {difference.calls} times and went into one group: give each call a layer of its own"
    return (
        f"fusing changed what {type(model).__name__} computes: {where} is the first to differ, by "
        f"{difference.share:.2g} of its largest value (rounding: below {TOLERANCE:g}). {advice}"
    )


def _first_difference(model: nn.Module, fused: nn.Module, samples: torch.Tensor) -> Difference | None:
    """None where the model's output and the inputs of all layers with parameters agree.

    A result in between may differ without a change of the function: a ReLU that was moved before a max pooling. It is
    only looked at to name the first module behind which the function changed.
    """
    before, after = _forward(model, samples), _forward(fused, samples)
    if not _differs(before, after, model, fused):
        return None
    rounding = before.rounding
    for key in _comparable(model, fused, before.results):
        if key in after.results and (share := _share(before.results[key], after.results[key], rounding)) > TOLERANCE:
            calls = sum(name == key[0] for name, _ in before.results)
            earlier = [name for name, _ in list(before.results)[: list(before.results).index(key)]]
            head = next((name for name in reversed(earlier) if not _is_replaced(model, fused, name)), "")
            return Difference(key[0], is_given=False, share=share, calls=calls, head=head)
    for key in _given_to_both(before, after, model, fused):
        if (share := _share(before.given[key], after.given[key], rounding)) > TOLERANCE:
            return Difference(key[0], is_given=True, share=share)
    shares = [_share(*pair, rounding) for pair in zip(before.outputs, after.outputs, strict=False)]
    return Difference("", is_given=False, share=max(shares, default=float("nan")))


def _differs(before: Forward, after: Forward, model: nn.Module, fused: nn.Module) -> bool:
    if len(before.outputs) != len(after.outputs):
        return True
    pairs = list(zip(before.outputs, after.outputs, strict=True))
    pairs += [(before.given[key], after.given[key]) for key in _given_to_both(before, after, model, fused)]
    rounding = before.rounding
    return any(_share(*pair, rounding) > TOLERANCE for pair in pairs)


def _given_to_both(before: Forward, after: Forward, model: nn.Module, fused: nn.Module) -> list[Key]:
    return [key for key in before.given if key in after.given and not _is_replaced(model, fused, key[0])]


def _comparable(model: nn.Module, fused: nn.Module, results: Mapping[Key, torch.Tensor]) -> list[Key]:
    """Calls after which both models have computed the same: not those in the middle of a fused group."""
    keys = list(results)
    ends = [not _is_replaced(model, fused, after) for after, _ in keys[1:]] + [True]
    return [key for key, is_end in zip(keys, ends, strict=True) if is_end]


def _is_replaced(model: nn.Module, fused: nn.Module, name: str) -> bool:
    """True for a layer that went into another one and left an identity."""
    try:
        there = fused.get_submodule(name)
    except AttributeError:
        return True
    return isinstance(there, nn.Identity) and not isinstance(model.get_submodule(name), nn.Identity)


def _share(before: torch.Tensor, after: torch.Tensor, rounding: float) -> float:
    """Largest difference of two tensors as a share of the largest value; infinite where they cannot be compared.

    Args:
        before: values.
        after: values that should be the same.
        rounding: a difference that is none.
    """
    if before.shape != after.shape:
        return float("inf")
    before, after = before.double(), after.double()
    same = (before == after) | (before.isnan() & after.isnan())
    difference = torch.where(same, 0.0, (before - after).abs())
    largest = torch.where(before.isfinite(), before.abs(), 0.0).max() if before.numel() else torch.tensor(0.0)
    found = float(difference.nan_to_num(float("inf")).max()) if before.numel() else 0.0
    return found / max(float(largest), 1e-30) if found > rounding else 0.0


def _forward(model: nn.Module, samples: torch.Tensor) -> Forward:
    """Runs a model in eval mode, as it is found afterwards, and keeps what its modules are given and give."""
    recorded, calls, stack = Forward(), dict[str, int](), list[list[bool]]()

    def enter(name: str, module: nn.Module, given: tuple[Any, ...]) -> None:
        calls[name] = calls.get(name, -1) + 1
        for outer in stack:
            outer[0] = False
        stack.append([True])
        if _has_parameters(module) and (found := tensors_in(given)):
            recorded.given[name, calls[name]] = _sampled(found[0])

    def leave(name: str, result: Any) -> None:
        is_leaf = stack.pop()[0]
        if is_leaf and (found := tensors_in(result)):
            recorded.results[name.removesuffix(OBSERVER), calls[name]] = _sampled(found[0])

    modes = [(module, module.training) for module in model.modules()]
    handles = []
    for name, module in model.named_modules():
        if name:
            handles += [
                module.register_forward_pre_hook(lambda module, given, name=name: enter(name, module, given)),
                module.register_forward_hook(lambda _, __, result, name=name: leave(name, result)),
            ]
    try:
        with torch.inference_mode(), torch.random.fork_rng(devices=[]):
            # Both models draw the same numbers, where they draw any.
            torch.manual_seed(0)
            recorded.outputs = tensors_in(model.eval()(samples))
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes:
            module.training = training
    return recorded


def _has_parameters(module: nn.Module) -> bool:
    """True for a layer with parameters of its own; those of a fused one lie in its members."""
    own = next(module.parameters(recurse=False), None) is not None
    return own or isinstance(module, _FusedModule) or is_parametrized(module)


def tensors_in(value: Any) -> list[torch.Tensor]:
    """Tensors in an argument or a result, in order."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, Mapping):
        value = list(value.values())
    return [each for item in value for each in tensors_in(item)] if isinstance(value, list | tuple) else []


def _sampled(tensor: torch.Tensor) -> torch.Tensor:
    """A copy of some evenly spaced values; layers that work in place would change what is kept."""
    values = tensor.detach().flatten()
    return values[:: max(1, -(-len(values) // COMPARED))].clone()
