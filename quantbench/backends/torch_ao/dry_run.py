"""A rough quantization of a copy and one forward: what cannot run in int8 is found before hours are spent on it."""

from __future__ import annotations

import ast
import copy
import linecache
import re
import traceback
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.ao import quantization as ao

from quantbench.backends.torch_ao.layer_groups import fused_with_qconfig
from quantbench.backends.torch_ao.steps import calibrate, convert, prepare
from quantbench.errors import QuantizationError

# Whatever chooses the scales, the same operators run; per tensor, by minimum and maximum, is the quickest to set up.
ROUGH = ao.QConfig(activation=ao.MinMaxObserver, weight=ao.default_weight_observer)
NO_KERNEL = re.compile(r"Could not run '([\w:.]+)' with arguments from the '(\w+)' backend")
DIFFERENT_SCALES = "share the same quantization parameters"
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
TORCH = Path(torch.__file__).parent


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


def check_operators(model: nn.Module, samples: torch.Tensor, layers: tuple[str, ...] | None = None) -> None:
    """Refuses a model of which some operator would meet tensors that it has no kernel for, once it is int8.

    Everything around the quantized part may do what it likes: only a forward that fails is refused.

    Args:
        model: fp32; it stays as it was, and so do the random numbers drawn after this.
        samples: a few inputs `[n, …]`, normalized.
        layers: the layers that are quantized; None for the whole model.

    Raises:
        QuantizationError: naming module, class, file and line, the operator, and what to use instead.
    """
    with torch.random.fork_rng(devices=[]):
        prepared = prepare(fused_with_qconfig(copy.deepcopy(model).eval(), ROUGH, layers, is_qat=False))
        # An error in here is the fp32 model's own.
        calibrate(prepared, [samples])
        converted = convert(prepared, structure_only=True)
        try:
            with torch.inference_mode():
                output = converted(samples)
        except Exception as error:
            raise QuantizationError(_diagnosis(error, converted)) from error
    if isinstance(output, torch.Tensor) and output.is_quantized:
        raise QuantizationError(f"{type(model).__name__} gives a quantized tensor: put a DeQuantStub at its output")


def _diagnosis(error: Exception, model: nn.Module) -> str:
    place = _failure_place(error, model)
    found = NO_KERNEL.search(str(error))
    if found is None:
        if DIFFERENT_SCALES in str(error):
            return f"{place} joins quantized tensors of different scales: {FUNCTIONALS['cat']}"
        advice = FUNCTIONALS.get(place.operator, STUBS_AROUND)
        return f"{place} fails once quantized ({_first_line(error)}): {advice}"
    operator, backend = found.groups()
    if operator.startswith("quantized::") and not backend.startswith("Quantized"):
        return f"{place} is int8 and is given a tensor in floating point: {QUANT_STUB_BEFORE}"
    name = operator.partition("::")[2].partition(".")[0].rstrip("_")
    advice = FUNCTIONALS.get(name, STUBS_AROUND)
    return f"{place} runs {operator} on a quantized tensor, for which there is no kernel: {advice}"


def _failure_place(error: Exception, model: nn.Module) -> FailurePlace:
    """From the frames of the traceback: the last of the model's modules, and the last line that is not torch's."""
    names = {id(module): name for name, module in model.named_modules()}
    module, line, operator = model, "", ""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    # The first frame is this module's own.
    for frame, at in list(zip(frames, traceback.extract_tb(error.__traceback__), strict=True))[1:]:
        running = frame.f_locals.get("self")
        if isinstance(running, nn.Module) and id(running) in names:
            module = running
        file = Path(at.filename)
        if not file.is_relative_to(TORCH):
            line = f"{_short(file)}:{at.lineno} `{at.line}`" if at.line else f"{_short(file)}:{at.lineno}"
            operator = _operator_of(at)
    return FailurePlace(names[id(module)], type(module).__name__, line, operator)


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


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"
