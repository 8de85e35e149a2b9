"""A small `.tflite` file made by hand: Conv-ReLU and a linear head on `[n, size, size, 3]`, in many types."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

# `hybrid` has int8 weights and computes on float32, `float16` has weights that are dequantized first.
Kind = Literal["float32", "int8", "hybrid", "float16"]
SIZE, CHANNELS, CLASSES = 4, 8, 3
CONV_MACS, FC_MACS = SIZE**2 * CHANNELS * 3 * 3 * 3, SIZE**2 * CHANNELS * CLASSES
INPUT_SCALE, INPUT_ZERO, HIDDEN_SCALE, OUTPUT_SCALE = 0.05, 3, 0.04, 0.1


@dataclass
class Weights:
    """Weights `[out, …, in]` in TFLite's order, and biases."""

    conv: Any
    conv_bias: Any
    fc: Any
    fc_bias: Any


def weights(size: int = SIZE) -> Weights:
    """Random ones."""
    random = np.random.default_rng(0)
    conv = random.normal(0, 0.2, (CHANNELS, 3, 3, 3)).astype(np.float32)
    fc = random.normal(0, 0.1, (CLASSES, size**2 * CHANNELS)).astype(np.float32)
    return Weights(conv, random.normal(0, 0.1, CHANNELS).astype(np.float32), fc, np.zeros(CLASSES, np.float32))


def expected(x: Any) -> Any:
    """The outputs of the float32 net for `[n, size, size, 3]`, by numpy."""
    w = weights(x.shape[1])
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    hidden = np.maximum(np.einsum("nyxcij,oijc->nyxo", windows, w.conv) + w.conv_bias, 0)
    return hidden.reshape(len(x), -1) @ w.fc.T + w.fc_bias


class Builder:
    """A model of TFLite's schema under construction.

    Args:
        operator_version: of every operator.
        schema_version: of the file.
        outside: values lie behind all else, as newer converters write them.
    """

    def __init__(self, operator_version: int = 1, schema_version: int = 3, outside: bool = False) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self.schema, self.version, self.schema_version = schema, operator_version, schema_version
        self.tensors: list[Any] = []
        self.buffers: list[Any] = [schema.BufferT(data=[])]
        self.operators: list[Any] = []
        self.codes: list[Any] = []
        self.signatures: list[Any] = []
        self.outside: dict[int, bytes] | None = {} if outside else None

    def signature(self, inputs: dict[str, int], outputs: dict[str, int]) -> None:
        """Adds names of inputs and outputs."""
        s = self.schema
        maps = [[s.TensorMapT(name=name, tensorIndex=at) for name, at in each.items()] for each in (inputs, outputs)]
        self.signatures.append(s.SignatureDefT(inputs=maps[0], outputs=maps[1], signatureKey="serve", subgraphIndex=0))

    def tensor(self, name: str, shape: Any, dtype: str = "FLOAT32", values: Any = None, **quantization: Any) -> int:
        """Adds a tensor; a size of −1 is any. Gives its index."""
        s = self.schema
        buffer = 0
        if values is not None:
            content, buffer = np.ascontiguousarray(values).tobytes(), len(self.buffers)
            if self.outside is None:
                self.buffers.append(s.BufferT(data=list(content)))
            else:
                # A place that is not known yet, and takes as much room.
                self.buffers.append(s.BufferT(offset=1 << 40, size=len(content)))
                self.outside[buffer] = content
        fixed = [max(1, size) for size in shape]
        signature = list(shape) if -1 in shape else None
        scales = s.QuantizationParametersT(**quantization) if quantization else None
        self.tensors.append(
            s.TensorT(shape=fixed, type=getattr(s.TensorType, dtype), buffer=buffer, name=name, quantization=scales,
                      shapeSignature=signature, hasRank=True)
        )  # fmt: skip
        return len(self.tensors) - 1

    def operator(self, name: str, inputs: list[int], outputs: list[int], options: Any = None, custom: str = "") -> None:
        """Adds an operator."""
        s = self.schema
        code = getattr(s.BuiltinOperator, name)
        self.codes.append(
            s.OperatorCodeT(deprecatedBuiltinCode=min(code, 127), builtinCode=code, version=self.version,
                            customCode=custom or None)
        )  # fmt: skip
        kind = getattr(s.BuiltinOptions, type(options).__name__.removesuffix("T")) if options else 0
        self.operators.append(
            s.OperatorT(opcodeIndex=len(self.codes) - 1, inputs=inputs, outputs=outputs, builtinOptions=options,
                        builtinOptionsType=kind)
        )  # fmt: skip

    def written(self, path: Path, inputs: list[int], outputs: list[int]) -> Path:
        """Writes the file."""
        s = self.schema
        graph = s.SubGraphT(tensors=self.tensors, inputs=inputs, outputs=outputs, operators=self.operators, name="main")
        model = s.ModelT(version=self.schema_version, operatorCodes=self.codes, subgraphs=[graph], buffers=self.buffers,
                         signatureDefs=self.signatures,
                         description="made by a test")  # fmt: skip
        content = self._packed(model)
        for buffer, values in (self.outside or {}).items():
            content += bytes(-len(content) % 16)
            self.buffers[buffer].offset = len(content)
            content += values
        if self.outside:
            content = self._packed(model) + content[len(self._packed(model)) :]
        path.write_bytes(content)
        return path

    def _packed(self, model: Any) -> bytes:
        import flatbuffers

        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())


def _quantized(values: Any, axis: int) -> tuple[Any, Any]:
    """int8 codes and the scale of each channel."""
    others = tuple(i for i in range(values.ndim) if i != axis)
    scales = np.abs(values).max(axis=others) / 127
    shape = [-1 if i == axis else 1 for i in range(values.ndim)]
    return np.rint(values / scales.reshape(shape)).astype(np.int8), scales.astype(np.float32)


def write_tflite(path: Path, kind: Kind = "float32", batch: int = 1, size: int = SIZE, **build: Any) -> Path:
    """Writes the net.

    Args:
        path: of the file.
        kind: types of weights and activations.
        batch: fixed, or −1 for any.
        size: of pictures.
        build: of `Builder`.
    """
    b, w = Builder(**build), weights(size)
    s = b.schema
    conv = s.Conv2DOptionsT(padding=s.Padding.SAME, strideW=1, strideH=1,
                            fusedActivationFunction=s.ActivationFunctionType.RELU)  # fmt: skip
    fc = s.FullyConnectedOptionsT(asymmetricQuantizeInputs=kind == "hybrid")
    shapes = [batch, size, size, 3], [batch, size, size, CHANNELS], [batch, CLASSES]
    if kind == "int8":
        x = b.tensor("image", shapes[0], "INT8", scale=[INPUT_SCALE], zeroPoint=[INPUT_ZERO])
        hidden = b.tensor("hidden", shapes[1], "INT8", scale=[HIDDEN_SCALE], zeroPoint=[-128])
        y = b.tensor("output", shapes[2], "INT8", scale=[OUTPUT_SCALE], zeroPoint=[0])
    else:
        x, hidden, y = (b.tensor(n, shape) for n, shape in zip(("image", "hidden", "output"), shapes, strict=True))
    layers = []
    for name, weight, bias, scale in (
        ("conv", w.conv, w.conv_bias, INPUT_SCALE),
        ("fc", w.fc, w.fc_bias, HIDDEN_SCALE),
    ):
        if kind in ("int8", "hybrid"):
            codes, scales = _quantized(weight, 0)
            zeros = [0] * len(scales)
            made = b.tensor(f"{name}/weight", weight.shape, "INT8", codes, scale=scales.tolist(), zeroPoint=zeros)
        elif kind == "float16":
            half = b.tensor(f"{name}/half", weight.shape, "FLOAT16", weight.astype(np.float16))
            made = b.tensor(f"{name}/weight", weight.shape)
            b.operator("DEQUANTIZE", [half], [made], s.DequantizeOptionsT())
        else:
            made = b.tensor(f"{name}/weight", weight.shape, "FLOAT32", weight)
        if kind == "int8":
            sums = (scales * scale).astype(np.float32)
            codes = np.rint(bias / sums).astype(np.int32)
            layers.append([made, b.tensor(f"{name}/bias", bias.shape, "INT32", codes, scale=sums.tolist(),
                                          zeroPoint=[0] * len(sums))])  # fmt: skip
        else:
            layers.append([made, b.tensor(f"{name}/bias", bias.shape, "FLOAT32", bias)])
    b.operator("CONV_2D", [x, *layers[0]], [hidden], conv)
    b.operator("FULLY_CONNECTED", [hidden, *layers[1]], [y], fc)
    return b.written(path, [x], [y])
