"""Multiply-accumulates of operators of ONNX and of ONNX Runtime, by the precision that their kernels compute in."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from quantbench.backends.onnx_file import Node

Shape = tuple[int, ...]
# Shapes of inputs and outputs, in a node's order; None for one that is left out or not known.
Shapes = Sequence[Shape | None]

# Multiply int8 or uint8 and add up in int32.
INT8 = frozenset({
    "QLinearConv", "ConvInteger", "QLinearMatMul", "MatMulInteger", "com.microsoft.QLinearConv", "com.microsoft.QGemm",
    "com.microsoft.MatMulIntegerToFloat", "com.microsoft.DynamicQuantizeMatMul", "com.microsoft.DynamicQuantizeLSTM",
})  # fmt: skip

# Operators that are known to multiply no activations with weights or with each other, each group with its reason.
_HARMLESS = {
    "values are moved, joined, padded, created or converted": """
        BitCast Cast CastLike CenterCropPad Col2Im Compress Concat ConcatFromSequence Constant ConstantOfShape
        DepthToSpace Expand EyeLike Flatten Gather GatherElements GatherND Identity MaxUnpool NonZero OneHot Pad Range
        Reshape ReverseSequence Scatter ScatterElements ScatterND SequenceAt SequenceConstruct SequenceEmpty
        SequenceErase SequenceInsert SequenceLength Shape Size Slice SpaceToDepth Split SplitToSequence Squeeze
        StringConcat TensorScatter Tile Transpose Trilu Unique Unsqueeze Upsample
    """,
    "values become codes or codes values": """
        QuantizeLinear DequantizeLinear DynamicQuantizeLinear
    """,
    "sums, extremes and orders along dimensions": """
        ArgMax ArgMin AveragePool CumSum GlobalAveragePool GlobalLpPool GlobalMaxPool Hardmax LogSoftmax LpPool MaxPool
        MaxRoiPool ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
        ReduceSumSquare RoiAlign Softmax TopK
    """,
    "each channel or element is scaled and shifted, by statistics and parameters": """
        BatchNormalization GroupNormalization InstanceNormalization LRN LayerNormalization LpNormalization
        MeanVarianceNormalization RMSNormalization SimplifiedLayerNormalization
    """,
    "one result for each element": """
        Abs Acos Acosh Add And Asin Asinh Atan Atanh Bernoulli BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Ceil
        Celu Clip Cos Cosh Div Dropout Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish IsInf
        IsNaN LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow RandomNormal
        RandomNormalLike RandomUniform RandomUniformLike Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh
        Softplus Softsign Sqrt Sub Sum Swish Tan Tanh ThresholdedRelu Where Xor
    """,
    "a choice among boxes, and neighbours weighed by where a point lies between them": """
        AffineGrid GridSample NonMaxSuppression Resize
    """,
    "other graphs are run, whose operators are seen themselves": """
        If Loop Scan
    """,
}
# The runtime's own forms of these: fused, quantized, in another layout.
_HARMLESS_MICROSOFT = """
    BiasAdd BiasDropout BiasGelu BiasSoftmax DequantizeLinear ExpandDims FastGelu FusedGelu Gelu GroupNorm Inverse
    NhwcMaxPool QLinearAdd QLinearAveragePool QLinearConcat QLinearGlobalAveragePool QLinearLeakyRelu QLinearMul
    QLinearReduceMean QLinearSigmoid QLinearSoftmax QLinearWhere QuantizeLinear QuickGelu SkipGroupNorm
    SkipLayerNormalization SkipSimplifiedLayerNormalization
"""
HARMLESS = frozenset(name for names in _HARMLESS.values() for name in names.split()) | frozenset(
    f"com.microsoft.{name}" for name in _HARMLESS_MICROSOFT.split()
)
# Of the attribute `accuracy_level`, from which on activations may be quantized.
INT8_LEVEL = 4
# Sums that make a convolution of the products before them.
SUMS = frozenset({"ReduceSum", "Sum"})


def is_untold(node: Node) -> bool:
    """True for products that the runtime may compute in int8 or in floating point, which it does not tell."""
    return node.op == "com.microsoft.MatMulNBits" and bool(node.attributes.get("accuracy_level", 0) >= INT8_LEVEL)


def macs_of(node: Node, inputs: Shapes, outputs: Shapes) -> int | None:
    """Multiply-accumulates of one run of an operator; None where they cannot be told.

    Args:
        node: an operator that is not harmless.
        inputs: shapes of its inputs.
        outputs: shapes of its outputs.
    """
    formula = FORMULAS.get(node.op)
    if formula is None:
        return None
    try:
        return formula(node, inputs, outputs)
    # A shape that is not known, or not one that such an operator has.
    except (IndexError, TypeError, ZeroDivisionError):
        return None


def _convolution(weight: int) -> Callable[[Node, Shapes, Shapes], int]:
    """Each output is a sum over a filter: `[O, I / groups, …]`, at a place among the inputs."""

    def macs(_: Node, inputs: Shapes, outputs: Shapes) -> int:
        filters = _known(inputs[weight])
        return math.prod(_known(outputs[0])) * math.prod(filters[1:])

    return macs


def _transposed(_: Node, inputs: Shapes, __: Shapes) -> int:
    """Each input is multiplied by its filters `[I, O / groups, …]`."""
    return math.prod(_known(inputs[0])) * math.prod(_known(inputs[1])[1:])


def _product(second: int) -> Callable[[Node, Shapes, Shapes], int]:
    """Each output is a sum over the rows of the first factor, or the columns of the second, at a place among the
    inputs; either tells how many they are."""

    def macs(node: Node, inputs: Shapes, outputs: Shapes) -> int:
        if node.attributes.get("transBatchA") or node.attributes.get("transBatchB"):
            raise TypeError("an order of axes that is not followed")
        if (factor := inputs[0]) is not None:
            summed = factor[-2] if node.attributes.get("transA") else factor[-1]
        else:
            factor = _known(inputs[second])
            summed = factor[-1] if node.attributes.get("transB") or len(factor) == 1 else factor[-2]
        return math.prod(_known(outputs[0])) * summed

    return macs


def _few_bits(node: Node, _: Shapes, outputs: Shapes) -> int:
    """As `_product`."""
    return math.prod(_known(outputs[0])) * int(node.attributes["K"])


def _recurrent(_: Node, inputs: Shapes, __: Shapes) -> int:
    """At each step the input meets one matrix `[directions, gates · H, I]` and the state another one."""
    steps, batch = _known(inputs[0])[:2]
    return steps * batch * (math.prod(_known(inputs[1])) + math.prod(_known(inputs[2])))


FORMULAS: dict[str, Callable[[Node, Shapes, Shapes], int]] = {
    "Conv": _convolution(1),
    "com.microsoft.FusedConv": _convolution(1),
    "ConvInteger": _convolution(1),
    "QLinearConv": _convolution(3),
    "com.microsoft.QLinearConv": _convolution(3),
    "ConvTranspose": _transposed,
    **dict.fromkeys(("Gemm", "MatMul", "MatMulInteger", "com.microsoft.FusedMatMul", "com.microsoft.FusedGemm",
                     "com.microsoft.MatMulIntegerToFloat", "com.microsoft.DynamicQuantizeMatMul"), _product(1)),
    **dict.fromkeys(("QLinearMatMul", "com.microsoft.QGemm"), _product(3)),
    "com.microsoft.MatMulNBits": _few_bits,
    **dict.fromkeys(("LSTM", "GRU", "RNN", "com.microsoft.DynamicQuantizeLSTM"), _recurrent),
}  # fmt: skip


def _known(shape: Shape | None) -> Shape:
    if shape is None:
        raise TypeError("a shape that is not known")
    return shape
