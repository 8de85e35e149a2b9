"""Values inside of a module that a function of the user's quantized, beside the reference's modules of the same names.

What such a module rounds is not known, only what it gives. A layer is a module with weights of its own that both have;
put back, the reference's computes in its place. Where its weights lie on a grid, they tell it themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from quantbench.arrays import Inputs
from quantbench.backends.engines import default_engine
from quantbench.backends.found_grid import grid_of
from quantbench.backends.insides import Array, InnerLayer, Inside, Parameter
from quantbench.backends.module import ModulePredictor
from quantbench.backends.module_insides import Log, ModuleInsides, Wrapped
from quantbench.errors import QuantizationError
from quantbench.foreign import cause_of


class TwinInsides(ModuleInsides):
    """A reference and its candidate, whose modules are called in place of each other.

    Args:
        reference: the fp32 model.
        candidate: what was made of it; hooks are left in both.

    Raises:
        QuantizationError: if no module with weights has the same name in both, or none computes otherwise.
    """

    def __init__(self, reference: nn.Module, candidate: nn.Module) -> None:
        log, name = Log(), type(reference).__name__
        self._fp32, self._others = reference, _with_weights(reference)
        modules = dict(candidate.named_modules())
        shared = [each for each in self._others if each and not _is_left_out(modules.get(each))]
        if not shared:
            raise QuantizationError(
                f"{name}: no module with weights has the same name in the reference and in the candidate"
            )
        self._twins = [TwinSite(each, modules[each], self._others[each], log) for each in shared]
        strange = tuple(each for each in _with_weights(candidate) if not _is_within(each, shared))
        super().__init__(reference, Wrapped(candidate, self._twins, strange), log, False, default_engine(), name)

    def run(self, inputs: Inputs) -> Inside:
        """See `Insides.run`; the first batch tells which module follows which."""
        if not self._order:
            self._find_folded(inputs)
            if not any(each.is_changed for each in self._twins):
                raise QuantizationError(
                    "every module with weights is the reference's, value by value; there is nothing to put back"
                )
        return super().run(inputs)

    def _find_folded(self, inputs: Inputs) -> None:
        """Gives each module that the candidate lacks, as a batch norm that was folded, to the layer right before it."""
        sites = {id(each.twin): each for each in self._twins}
        kept = {each.name for each in self._twins}
        absent = {id(module): name for name, module in self._others.items() if not _is_within(name, kept)}
        # The tensors stay alive, so that no other one takes their place.
        given: list[tuple[torch.Tensor, TwinSite]] = []

        def note(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            if (site := sites.get(id(module))) is not None and isinstance(output, torch.Tensor):
                given.append((output, site))
            elif id(module) in absent and args:
                before = next((site for tensor, site in given if tensor is args[0]), None)
                if before is not None:
                    before.follow(module)
                    del absent[id(module)]

        hooks = [each.register_forward_hook(note) for each in self._others.values()]
        try:
            ModulePredictor(self._fp32)(inputs)
        finally:
            for hook in hooks:
                hook.remove()
        self.unmatched = (*self.unmatched, *absent.values())


class TwinSite:
    """A module of the candidate beside the reference's.

    Args:
        name: of both.
        own: the candidate's; a hook hands on what it gives.
        twin: the reference's.
        log: of all sites.
    """

    is_input = False

    def __init__(self, name: str, own: nn.Module, twin: nn.Module, log: Log) -> None:
        self.name, self.own, self.twin, self.log = name, own, twin, log
        self.followers: list[nn.Module] = []
        self._differs = type(own) is not type(twin) or not _is_equal(own, twin)
        own.register_forward_hook(self._hand_on, with_kwargs=True)

    @property
    def is_changed(self) -> bool:
        """It computes otherwise than the reference's, or may."""
        return self._differs or bool(self.followers)

    def follow(self, module: nn.Module) -> None:
        """Adds a module of the reference that the candidate's layer computes too."""
        self.followers.append(module)

    def _hand_on(self, module: nn.Module, args: Any, kwargs: Mapping[str, Any], output: Any) -> Any:  # noqa: ARG002
        log, name = self.log, self.name
        log.calls[name] = log.calls.get(name, 0) + 1
        if (found := _tensor(output)) is not None and found.is_quantized:
            raise QuantizationError(f"'{name}' hands on quantized tensors, in whose place real numbers cannot be put")
        result = self._float(args, kwargs) if name in log.back else output
        if log.is_kept and log.calls[name] == 1 and found is not None:
            kept = _tensor(result)
            log.results[name], log.exact[name] = _array(found if kept is None else kept), _array(found)
        return result

    def _float(self, args: Any, kwargs: Mapping[str, Any]) -> Any:
        try:
            result = self.twin(*args, **kwargs)
        except Exception as error:
            raise QuantizationError(
                f"'{self.name}' cannot be put back: the reference's does not take what the candidate's is given "
                f"({cause_of(error)})"
            ) from error
        for each in self.followers:
            result = each(result)
        return result

    def inner(self) -> InnerLayer:
        """The layer that it is."""
        kind, own = type(self.twin).__name__, type(self.own).__name__
        weight = None if self.followers else _parameter(self.own, self.twin, "weight", _channel(kind))
        bias = None if self.followers else _parameter(self.own, self.twin, "bias", 0)
        op = kind if own == kind else f"{own} for {kind}"
        return InnerLayer(
            self.name, op, weight, bias, channels_last=not kind.startswith(("Conv", "BatchNorm", "InstanceNorm")),
            is_changed=self.is_changed,
        )  # fmt: skip


def _parameter(own: nn.Module, twin: nn.Module, name: str, channel: int) -> Parameter | None:
    before, after = _real(getattr(twin, name, None)), _real(getattr(own, name, None))
    if before is None or after is None or before.shape != after.shape or not before.ndim:
        return None
    is_rounded = name == "weight" and not np.array_equal(before, after)
    return Parameter.of(before, after, grid_of(after, channel) if is_rounded else None, channel)


def _channel(kind: str) -> int:
    """Axis of the output channels of a weight."""
    return 1 if kind.startswith(("ConvTranspose", "Embedding")) else 0


def _with_weights(model: nn.Module) -> dict[str, nn.Module]:
    """Modules that hold parameters, and none of whose parts does; attention is one."""
    found: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        if _is_within(name, found):
            continue
        has_own = any(True for _ in module.parameters(recurse=False)) or _is_parametrized(module)
        is_whole = isinstance(module, nn.MultiheadAttention) or not any(_held(each) for each in module.children())
        if has_own and is_whole:
            found[name] = module
    return found


def _held(module: nn.Module) -> bool:
    return any(True for _ in module.parameters())


def _is_parametrized(module: nn.Module) -> bool:
    return bool(getattr(module, "parametrizations", None))


def _is_left_out(module: nn.Module | None) -> bool:
    return module is None or isinstance(module, nn.Identity)


def _is_within(name: str, names: Sequence[str] | Mapping[str, Any] | set[str]) -> bool:
    return any(name == each or name.startswith(f"{each}.") for each in names)


def _is_equal(own: nn.Module, twin: nn.Module) -> bool:
    pairs = list(_tensors(own)), list(_tensors(twin))
    return [name for name, _ in pairs[0]] == [name for name, _ in pairs[1]] and all(
        type(one) is type(other) and one.shape == other.shape and one.dtype == other.dtype and torch.equal(one, other)
        for (_, one), (_, other) in zip(*pairs, strict=True)
    )


def _tensors(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    for name, value in module.state_dict(keep_vars=True).items():
        if isinstance(value, torch.Tensor):
            yield name, value.detach()


def _real(value: Any) -> Array | None:
    """Real numbers of a parameter; None of one whose integers stand for others."""
    if not isinstance(value, torch.Tensor):
        return None
    value = value.detach()
    if value.is_quantized or (type(value) not in (torch.Tensor, nn.Parameter) and hasattr(value, "dequantize")):
        return _array(value.dequantize())
    return _array(value) if value.is_floating_point() else None


def _tensor(output: Any) -> torch.Tensor | None:
    if isinstance(output, tuple | list) and output:
        output = output[0]
    return output if isinstance(output, torch.Tensor) else None


def _array(tensor: torch.Tensor) -> Array:
    found: Array = tensor.detach().float().cpu().numpy().copy()
    return found
