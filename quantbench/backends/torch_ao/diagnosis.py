"""The place and the cause of a failure in a model, read from its traceback and checked on the model itself."""

from __future__ import annotations

import ast
import dis
import linecache
import re
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import torch
from torch import nn
from torch.ao import quantization as ao
from torch.ao.nn.intrinsic.modules.fused import _FusedModule

from quantbench.backends.copying import old_norm
from quantbench.backends.torch_ao.layer_causes import LEFT_IN_FP32, cause_in_group, cause_in_layer
from quantbench.errors import QuantizationError
from quantbench.foreign import first_line, raised_at

NO_KERNEL = re.compile(r"Could not run '([\w:.]+)' with arguments from the '(\w+)' backend")
DIFFERENT_SCALES = "share the same quantization parameters"
# What torch says of a view, and of nothing else, where the strides of its tensor do not allow it.
STRIDES_FORBID_A_VIEW = "view size is not compatible with input tensor's size and stride"
# What torch says of a mean over the pixels of an int8 map of 1×1 pixels in channels-last layout.
ONE_PIXEL = "required rank 4 tensor to use channels_last format"
POOL = "of int8 maps of one pixel there is no mean over dimensions: use nn.AdaptiveAvgPool2d(1) and `.flatten(1)`"
# What stands in for an operator between quantized tensors, by the operator's name in ATen.
FUNCTIONALS = {
    "add": "use a FloatFunctional: `self.add = FloatFunctional()` and `self.add.add(x, y)`, or "
    "`self.add.add_relu(x, y)` where a ReLU follows, or `add_scalar` for a number",
    "mul": "use a FloatFunctional: `self.mul = FloatFunctional()` and `self.mul.mul(x, y)`, or `mul_scalar` for a "
    "number",
    "cat": "use a FloatFunctional: `self.cat = FloatFunctional()` and `self.cat.cat([x, y], dim=1)`",
    "matmul": "use a FloatFunctional: `self.matmul = FloatFunctional()` and `self.matmul.matmul(x, y)`",
}
FUNCTIONALS |= dict.fromkeys(("mm", "bmm"), FUNCTIONALS["matmul"])
# Where torch's message names no operator, the expression that failed may: between a tensor and a number, for example.
WRITTEN: dict[type[ast.operator], str] = {ast.Add: "add", ast.Mult: "mul", ast.MatMult: "matmul"}
STUBS_AROUND = "put a DeQuantStub before it and a QuantStub after it, or use a layer that has an int8 form"
QUANT_STUB_BEFORE = "put a QuantStub before it, or set its qconfig to None to leave it in fp32"
FLATTEN = "int8 activations are channels last in memory, and `.view` needs contiguous ones: use `.flatten(1)`, or "
WATCHING = (ao.ObserverBase, ao.FakeQuantizeBase)
TORCH = Path(torch.__file__).parent
# Local variables that hold the layer in work, in torch's own functions and in a module's forward.
HOLDING_A_LAYER = ("self", "mod", "module", "child")


@dataclass(frozen=True)
class FailurePlace:
    """Place of a failure in a forward.

    Attributes:
        module: name of the innermost of the model's modules that was running; "" is the model itself.
        kind: its class.
        line: file, line number and text of the innermost line outside torch, or "" where the model has none.
        operator: what the expression that failed there is called in ATen, if it is one of a few.
    """

    module: str
    kind: str
    line: str
    operator: str = ""

    def __str__(self) -> str:
        name = f"'{self.module}' ({self.kind})" if self.module else self.kind
        return f"{name}, {self.line}," if self.line else name


def diagnosis(error: Exception, converted: nn.Module, model: nn.Module) -> str:
    """The line for a converted model whose forward failed: place, cause, what to do.

    Args:
        error: with its traceback.
        converted: int8.
        model: fp32, that it was made of.
    """
    place = _failure_place(error, converted)
    layer = dict(model.named_modules()).get(place.module)
    if layer is not None and "_orig" in str(error) and (norm := old_norm(layer)):
        return f"{place} has {norm}"
    if ONE_PIXEL in str(error):
        return f"{place} fails once quantized: {POOL}"
    if STRIDES_FORBID_A_VIEW in str(error):
        return f"{place} fails once quantized: {FLATTEN}`.reshape`"
    found = NO_KERNEL.search(str(error))
    if found is None:
        if DIFFERENT_SCALES in str(error):
            return f"{place} joins quantized tensors of different scales: {FUNCTIONALS['cat']}"
        failed = f"{place} fails once quantized ({first_line(error)})"
        return f"{failed}: {FUNCTIONALS.get(place.operator, STUBS_AROUND)}" if _is_of_quantized(error) else failed
    operator, backend = found.groups()
    if operator.startswith("quantized::") and not backend.startswith("Quantized"):
        return f"{place} is int8 and is given a tensor in floating point: {QUANT_STUB_BEFORE}"
    name = operator.partition("::")[2].partition(".")[0].rstrip("_")
    advice = FUNCTIONALS.get(name, STUBS_AROUND)
    return f"{place} runs {operator} on a quantized tensor, for which there is no kernel: {advice}"


@contextmanager
def explained(step: str, model: nn.Module) -> Iterator[None]:
    """Makes one line of whatever torch raises in a step: step, layer, cause, what to do where the cause was checked.

    Args:
        step: for the line.
        model: in work; its layers are known by the names that they had at the beginning.
    """
    layers = _by_id(model)
    try:
        yield
    except QuantizationError:
        raise
    except Exception as error:
        name, layer = _layer_in_work(error, layers) or ("", model)
        kind = type(model).__name__
        if not name:
            raise QuantizationError(f"{step}: {kind} failed ({first_line(error)})") from error
        cause = cause_in_layer(layer, _qconfig_of(name, model)) or f"failed ({first_line(error)})" + (
            "" if _is_raised_elsewhere(error) else f"; {LEFT_IN_FP32}"
        )
        raise QuantizationError(f"{step}: '{name}' ({type(layer).__name__}) of {kind} {cause}") from error


def _by_id(model: nn.Module) -> dict[int, tuple[str, nn.Module]]:
    """Every module with its name; members of a fused group, and observers, are their group's and their layer's."""
    layers: dict[int, tuple[str, nn.Module]] = {}
    for name, module in model.named_modules():
        around = layers.get(id(model.get_submodule(name.rpartition(".")[0])))
        is_part = around is not None and (isinstance(around[1], _FusedModule) or isinstance(module, WATCHING))
        layers[id(module)] = around if around is not None and is_part else (name, module)
    return layers


def _qconfig_of(name: str, model: nn.Module) -> Any:
    """The qconfig of a layer: its own, or the nearest one around it."""
    found, module = getattr(model, "qconfig", None), model
    for part in name.split("."):
        module = module.get_submodule(part)
        found = getattr(module, "qconfig", found)
    return found


def refuse_group(error: Exception, call: str) -> NoReturn:
    """Raises what says why a `fuse_model` failed, and at which group where torch failed at one.

    Args:
        error: with its traceback.
        call: of `fuse_model`, for the line.
    """
    reason, at = first_line(error), ""
    for frame, _ in traceback.walk_tb(raised_at(error)):
        names, model = frame.f_locals.get("modules_to_fuse"), frame.f_locals.get("model")
        if isinstance(names, list) and isinstance(model, nn.Module) and _are_submodules(names, model):
            at = f"the group {', '.join(repr(name) for name in names)}: "
            reason = cause_in_group(names, [model.get_submodule(name) for name in names]) or reason
    raise QuantizationError(
        f"{call} failed: {at}{reason}; name groups of Conv-BN, Conv-BN-ReLU, Conv-ReLU or Linear-ReLU that the model "
        "has"
    ) from error


def _are_submodules(names: list[Any], model: nn.Module) -> bool:
    known = dict(model.named_modules())
    return all(isinstance(name, str) and name in known for name in names)


def _layer_in_work(error: Exception, layers: Mapping[int, tuple[str, nn.Module]]) -> tuple[str, nn.Module] | None:
    """The innermost of a model's modules in the frames of a traceback; within a fused group, the group."""
    found = None
    for frame, _ in traceback.walk_tb(raised_at(error)):
        found = next(iter(_held(frame, layers)), found)
    return found


def _held(frame: FrameType, layers: Mapping[int, tuple[str, nn.Module]]) -> list[tuple[str, nn.Module]]:
    return [layers[id(held)] for key in HOLDING_A_LAYER if id(held := frame.f_locals.get(key)) in layers]


def _failure_place(error: Exception, model: nn.Module) -> FailurePlace:
    """From the frames of the traceback: the last of the model's modules, and the last line that is not torch's."""
    names = {id(module): name for name, module in model.named_modules()}
    module, line, operator = model, "", ""
    frames = [frame for frame, _ in traceback.walk_tb(raised_at(error))]
    # The first frame is that of who called the model.
    for frame, at in list(zip(frames, traceback.extract_tb(raised_at(error)), strict=True))[1:]:
        running = frame.f_locals.get("self")
        if isinstance(running, nn.Module) and id(running) in names:
            module = running
        file = Path(at.filename)
        if not file.is_relative_to(TORCH):
            line = f"{_short(file)}:{at.lineno} `{at.line}`" if at.line else f"{_short(file)}:{at.lineno}"
            operator = _operator_of(at)
    return FailurePlace(names[id(module)], type(module).__name__, line, operator)


def _is_of_quantized(error: Exception) -> bool:
    """True if an error is an operator's on a quantized tensor, rather than one that a line of other code raised."""
    frame, _ = _innermost(error)
    held = [value for value in frame.f_locals.values() if isinstance(value, torch.Tensor)]
    return not _is_raised_elsewhere(error) and any(each.is_quantized for each in held)


def _is_raised_elsewhere(error: Exception) -> bool:
    """True if a `raise` of code that is not torch's made an error, of which no advice of ours is known to help."""
    frame, at = _innermost(error)
    is_raised = frame.f_code.co_code[at] == dis.opmap["RAISE_VARARGS"]
    return is_raised and not Path(frame.f_code.co_filename).is_relative_to(TORCH)


def _innermost(error: Exception) -> tuple[FrameType, int]:
    """The frame that an error was raised in, and the place of the instruction that did."""
    places = []
    at = raised_at(error)
    while at is not None:
        places.append((at.tb_frame, at.tb_lasti))
        at = at.tb_next
    return places[-1]


def _operator_of(at: traceback.FrameSummary) -> str:
    """The operator of the expression that a frame stopped in, if it is a sum or product on one line."""
    if not at.line or at.colno is None or at.end_colno is None or at.lineno != at.end_lineno:
        return ""
    # Columns are counted in bytes from the beginning of a line, which `line` was stripped of.
    whole = linecache.getline(at.filename, at.lineno or 0).encode()
    try:
        (statement,) = ast.parse(whole[at.colno : at.end_colno].decode()).body
    except (SyntaxError, ValueError):
        return ""
    operation = statement.value if isinstance(statement, ast.Expr) else statement
    return WRITTEN.get(type(operation.op), "") if isinstance(operation, ast.BinOp | ast.AugAssign) else ""


def _short(file: Path) -> Path:
    here = Path.cwd()
    return file.relative_to(here) if file.is_relative_to(here) else file
