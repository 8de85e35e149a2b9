"""Text of `quantbench inspect` about files of ONNX: of one, and of two."""

from __future__ import annotations

from pathlib import Path

from quantbench.backends.entry import describe_entry
from quantbench.backends.onnx_description import Quantization, entries, quantized_constants
from quantbench.backends.onnx_file import OnnxModel, Tensor, files_of, read_onnx
from quantbench.errors import CheckpointError
from quantbench.inspect.onnx_explained import explain_onnx

SUFFIX = ".onnx"
COLUMNS = ("key", "what", "scale", "zero point")


def describe_onnx_file(path: Path) -> str:
    """A file's kind and size, its inputs, outputs and operators, and a row per constant.

    Raises:
        CheckpointError: if it cannot be read.
    """
    model = read_onnx(path)
    scaled, schema = quantized_constants(model), entries(model)
    table = [COLUMNS, *((key, describe_entry(schema[key]), *_scales(scaled.get(key))) for key in schema)]
    widths = [max(len(row[column]) for row in table) for column in range(len(COLUMNS))]
    rows = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    counts = {node.op: 0 for node in model.nodes}
    for node in model.nodes:
        counts[node.op] += 1
    return "\n".join([
        _summary(model),
        *(f"input '{name}': {words}" for name, words in model.inputs.items()),
        *(f"output '{name}': {words}" for name, words in model.outputs.items()),
        f"operators: {', '.join(f'{op} {counts[op]}' for op in sorted(counts))}",
        *rows,
    ])  # fmt: skip


def compare_onnx_files(first: Path, second: Path) -> tuple[str, bool]:
    """The first file traced into the second, and True if every difference is explained.

    Raises:
        CheckpointError: if one cannot be read, or is of another format.
    """
    if other := next((path for path in (first, second) if path.suffix != SUFFIX), None):
        raise CheckpointError(f"{other}: is no {SUFFIX}; two files are compared within one format")
    before, after = read_onnx(first), read_onnx(second)
    lines = [_summary(before), _summary(after)]
    names = ("the first file", "the second file")
    if _integers(after) < _integers(before):
        before, after, names = after, before, names[::-1]
        lines.append("explained from the second to the first, which is further from floating point")
    found = explain_onnx(before, after, names)
    for title, listed in (
        ("explained", found.explained),
        ("same form, other values", found.values),
        ("UNEXPLAINED", found.unexplained),
    ):
        if listed:
            lines += [f"{title} ({len(listed)}):", *(f"  {line}" for line in listed)]
    lines.append(f"equal in form and values: {found.unchanged} keys")
    if conclusion := found.conclusion():
        lines.append(conclusion)
    return "\n".join(lines), not found.unexplained


def _summary(model: OnnxModel) -> str:
    sets = ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in model.opset.items())
    files = files_of(model.path)
    size = sum(path.stat().st_size for path in files)
    beside = f" in {len(files)} files" if len(files) > 1 else ""
    values = sum(tensor.nbytes for tensor in model.constants.values())
    return (
        f"{model.path}: {_kind(model)}; {len(model.nodes)} operators of {sets}; {len(model.constants)} constants, "
        f"{size:,} bytes{beside}, {values:,} of them values"
    )


def _kind(model: OnnxModel) -> str:
    """Floating point, or the way in which it is quantized."""
    ops = {node.op.rpartition(".")[2] for node in model.nodes}
    if ops & {"DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM"}:
        return "dynamic int8"
    if any(op.startswith(("QLinear", "QGemm")) for op in ops):
        return "static int8, operators on integers"
    if "QuantizeLinear" in ops:
        return "static int8, pairs of QuantizeLinear and DequantizeLinear"
    if ops & {"MatMulNBits", "MatMulBnb4"} or _integers(model):
        return "quantized weights alone"
    return "floating point"


def _integers(model: OnnxModel) -> int:
    """Constants that stand for real values by a scale, and operators that make codes."""
    return len(quantized_constants(model)) + sum("Quantize" in node.op or "QLinear" in node.op for node in model.nodes)


def _scales(found: Quantization | None) -> tuple[str, str]:
    return ("", "") if found is None else (_range(found.scale, ".3g"), _range(found.zero_point, ".0f"))


def _range(tensor: Tensor | None, digits: str) -> str:
    """One number, or the smallest and the largest."""
    if tensor is None or not tensor.nbytes:
        return ""
    values = tensor.values().astype(float)
    low, high = f"{values.min():{digits}}", f"{values.max():{digits}}"
    return low if low == high else f"{low} … {high}"
