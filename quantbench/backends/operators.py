"""Multiply-accumulates of one operator, from its operands; and the operators that are known to do none.

An operator that is neither counted nor on a list here is not taken for harmless: its caller has to say that it was not
counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

ATEN, QUANTIZED = ("aten",), ("quantized", "_quantized")
INT8 = (torch.qint8, torch.quint8)
# Layouts whose every element takes part in a product.
DENSE = (torch.strided, torch._mkldnn)  # type: ignore[attr-defined]

# Rearranged, joined, padded, created or converted: every value of the result is one of an operand, or a constant.
MOVES = (
    "_to_copy _to_dense _reshape_alias _reshape_copy _unsafe_view _unsafe_index _unsafe_index_put _index_put_impl "
    "_unsafe_masked_index arange as_strided_scatter block_diag cat clone constant_pad_nd contiguous copy "
    "copy_sparse_to_sparse diag_embed diagonal_scatter dequantize fill flip index index_copy index_fill index_put "
    "index_select gather im2col lift lift_fresh masked_fill masked_scatter masked_select nonzero one_hot "
    "pixel_shuffle pixel_unshuffle put reflection_pad1d reflection_pad2d reflection_pad3d repeat repeat_interleave "
    "replication_pad1d replication_pad2d replication_pad3d resize resize_as roll rot90 scalar_tensor scatter "
    "select_scatter set slice_scatter stack take take_along_dim tril triu unsafe_split unsafe_split_with_sizes "
    "unsafe_chunk zero channel_shuffle native_channel_shuffle _pack_padded_sequence _pad_packed_sequence "
    "_nested_tensor_from_mask complex polar max_unpool2d max_unpool3d _copy_from tril_indices triu_indices"
).split()  # fmt: skip
# A row of a table for each index.
LOOKUPS = "embedding embedding_renorm bucketize searchsorted isin".split()
# Sums, extremes and orders along dimensions: nothing is multiplied by anything.
REDUCTIONS = (
    "_softmax _log_softmax _safe_softmax softmax log_softmax all any amax amin aminmax argmax argmin argsort bincount "
    "col2im count_nonzero cummax cummin cumsum equal histc index_add index_reduce kthvalue linalg_vector_norm "
    "logcumsumexp logsumexp max mean median min mode nansum norm scatter_add scatter_reduce segment_reduce sort std "
    "std_mean sum topk unique_dim var var_mean _unique2 _local_scalar_dense is_same_size _masked_softmax "
    "_adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d avg_pool1d "
    "avg_pool2d avg_pool3d max_pool2d_with_indices max_pool3d_with_indices quantized_max_pool1d quantized_max_pool2d"
).split()  # fmt: skip
# Scale and shift of each channel or element, by statistics and parameters.
NORMALIZATION = (
    "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training _batch_norm_no_update "
    "cudnn_batch_norm miopen_batch_norm native_group_norm native_layer_norm _fused_rms_norm _weight_norm_interface "
    "quantized_batch_norm"
).split()
# One result for each element, though torch does not tag them so.
ELEMENTWISE = (
    "_prelu_kernel prelu rrelu_with_noise native_dropout bernoulli normal rsub huber_loss mse_loss smooth_l1_loss "
    "l1_loss kl_div nll_loss_forward nll_loss2d_forward binary_cross_entropy binary_cross_entropy_with_logits "
    "allclose dist _functional_assert_async special_xlogy glu isclose"
).split()
# A few neighbours, weighed by where a point lies between them.
INTERPOLATION = "grid_sampler_2d grid_sampler_3d _grid_sampler_2d_cpu_fallback upsample_".split()
# Conversion to codes and back, observers included.
QUANTIZATION = (
    "quantize_per_tensor quantize_per_tensor_dynamic quantize_per_channel fake_quantize_per_tensor_affine_cachemask "
    "_fake_quantize_per_tensor_affine_cachemask_tensor_qparams fake_quantize_per_channel_affine_cachemask "
    "_fake_quantize_learnable_per_tensor_affine _fake_quantize_learnable_per_channel_affine int_repr q_scale "
    "q_zero_point q_per_channel_scales q_per_channel_zero_points _make_per_tensor_quantized_tensor "
    "_make_per_channel_quantized_tensor _fused_moving_avg_obs_fq_helper _empty_affine_quantized "
    "_empty_per_channel_affine_quantized _choose_qparams_per_tensor choose_qparams_optimized"
).split()
NO_PRODUCTS = frozenset(MOVES + LOOKUPS + REDUCTIONS + NORMALIZATION + ELEMENTWISE + INTERPOLATION + QUANTIZATION)
# On quantized tensors: sums, scales, activations, pooling, norms, joins, one lookup. `mul` is looked at by its shapes.
QUANTIZED_NO_PRODUCTS = (
    "add", "batch_norm", "cat", "celu", "clamp", "dropout", "elu", "embedding_4bit", "embedding_byte", "group_norm",
    "hardswish", "instance_norm", "layer_norm", "leaky_relu", "max_pool", "mul", "prelu", "relu6", "sigmoid", "softmax",
    "threshold",
)  # fmt: skip
# Of torchvision: choices among boxes, and pooling at given places. `deform_conv2d` is none of them.
VISION_NO_PRODUCTS = ("nms", "roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool")
# A product of one operand with weights of the operator's own, or with itself.
UNARY_PRODUCTS = ("_fft_", "fft_", "linalg_", "_linalg_", "_pdist", "matrix_exp", "cholesky", "logdet", "inverse")


@dataclass(frozen=True)
class Macs:
    """Multiply-accumulates of one operator, by the precision that they are done in."""

    int8: int = 0
    floating: int = 0


def name_of(func: Any) -> tuple[str, str]:
    """Namespace and name of an operator, without its overload and the mark of one that works in place."""
    full: str = func.name()
    namespace, _, name = full.rpartition("::")
    return namespace, name.partition(".")[0].rstrip("_")


def tensors_of(values: Any) -> list[torch.Tensor]:
    """Every tensor among nested operands."""
    return [each for each in tree_leaves(values) if isinstance(each, torch.Tensor)]


def packed_of(values: Any) -> list[torch.ScriptObject]:
    """Every packed weight among nested operands."""
    return [each for each in tree_leaves(values) if isinstance(each, torch.ScriptObject)]


def macs_of(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> Macs | None:
    """Multiply-accumulates of an operator; None where there is no formula for it."""
    if isinstance(func, torch._ops.HigherOrderOperator):
        count = flop_registry.get(func)
        return None if count is None else Macs(floating=count(*args, **kwargs, out_val=result) // 2)
    namespace, name = name_of(func)
    operands = _in_order(func, args, kwargs)
    if namespace in QUANTIZED and (packed := packed_of(operands)) and not name.endswith(("prepack", "unpack")):
        return _packed_macs(name, operands, packed, result)
    if name == "mul" and namespace in ATEN + QUANTIZED:
        return _outer_macs(operands, result)
    if namespace in QUANTIZED and name == "matmul":
        return Macs(int8=result.numel() * operands[0].shape[-1])
    if namespace not in ATEN or any(each.layout not in DENSE for each in tensors_of(operands)):
        return None
    if name == "_int_mm":
        return Macs(int8=result.numel() * operands[0].shape[-1])
    if name in CELLS:
        return _packed_macs(name, operands, [part for cell in packed_of(operands) for part in _cell(cell)], result)
    if name in FORMULAS:
        return Macs(floating=FORMULAS[name](operands, result))
    count = flop_registry.get(getattr(torch.ops.aten, name, None))
    return None if count is None else Macs(floating=count(*operands, out_val=result) // 2)


def does_no_products(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], takes_weights: bool) -> bool:
    """True if an operator without a formula is known to multiply nothing.

    Args:
        func: the operator.
        args: its operands.
        kwargs: more of them; `out` is none.
        takes_weights: some operand is a parameter or buffer of the model, or made of such alone.
    """
    if isinstance(func, torch._ops.HigherOrderOperator):
        return False
    operands = [*args, *(value for key, value in kwargs.items() if key != "out")]
    tensors, packed = tensors_of(operands), packed_of(operands)
    if not tensors and not packed:
        return True
    namespace, name = name_of(func)
    if namespace in QUANTIZED:
        # Packing, and questions to what is packed, give no tensor of values.
        asks = name.startswith(("conv", "linear", "make_", "embedding_bag")) and name.endswith(("prepack", "unpack"))
        return asks or name.startswith(QUANTIZED_NO_PRODUCTS)
    if namespace == "torchvision":
        return name in VISION_NO_PRODUCTS
    if namespace not in ATEN:
        return False
    if torch.Tag.pointwise in func.tags or func.is_view or name in NO_PRODUCTS:
        return True
    if name.startswith(("new_", "empty", "upsample_")) or name.endswith("_like"):
        return True
    if packed or takes_weights or name.startswith(UNARY_PRODUCTS):
        return False
    return sum(each.dtype is not torch.bool for each in tensors) < 2


def _in_order(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """Operands as positional ones, in the order of the operator's schema."""
    rest = [each for each in func._schema.arguments[len(args) :] if not each.kwarg_only]
    return [*args, *(kwargs.get(each.name, each.default_value) for each in rest)]


def _packed_macs(name: str, operands: list[Any], packed: list[Any], result: Any) -> Macs | None:
    """Of an operator with packed weights; those packed as float16 are unpacked as floating point."""
    if not name.startswith(("conv", "linear", "quantized_")) or not tensors_of(result):
        return None
    weights = [each.unpack()[0] for each in packed]
    given = operands[0]
    if name.startswith("quantized_"):
        # Every time step of every sample meets each weight once.
        macs = given.numel() // given.shape[-1] * sum(weight.numel() for weight in weights)
    else:
        macs = _weighted_macs(weights[0], given, result, transposed="transpose" in name)
    return Macs(int8=macs) if all(weight.dtype in INT8 for weight in weights) else Macs(floating=macs)


def _weighted_macs(weight: torch.Tensor, given: torch.Tensor, result: torch.Tensor, transposed: bool) -> int:
    """Every output element takes one product per weight of its output channel; transposed, every input element gives
    one per weight of its input channel."""
    return int((given if transposed else result).numel() * weight[0].numel())


def _cell(params: Any) -> Iterator[Any]:
    """Packed weights of one layer and direction of a recurrent network."""
    (_, _, _, _, packed), _ = params.__getstate__()
    yield from packed


def _outer_macs(operands: list[Any], result: Any) -> Macs | None:
    """One product for each element, where the result is larger than each operand: otherwise it is a scale."""
    first, second = operands[:2]
    if not isinstance(second, torch.Tensor) or result.numel() <= max(first.numel(), second.numel()):
        return None
    return Macs(int8=result.numel()) if result.dtype in INT8 else Macs(floating=result.numel())


def _attention_macs(operands: list[Any], result: Any) -> int:  # noqa: ARG001
    """Scores of every query with every key, and the values that they weigh: `[…, queries, width]` each."""
    query, key, value = operands[:3]
    return int(query.numel() * key.shape[-2] + query.numel() // query.shape[-1] * key.shape[-2] * value.shape[-1])


def _trilinear_macs(operands: list[Any], result: Any) -> int:  # noqa: ARG001
    """One for each element of the product of all three before it is summed."""
    shapes = []
    for tensor, expanded in zip(operands[:3], operands[3:6], strict=True):
        for dim in expanded:
            tensor = tensor.unsqueeze(dim)
        shapes.append(tensor.shape)
    return math.prod(torch.broadcast_shapes(*shapes))


def _recurrent_macs(operands: list[Any], result: Any) -> int:  # noqa: ARG001
    """Every time step of every sample meets each weight of its input and of its state once."""
    given, of_input, of_state = operands[:3]
    return int(given.numel() // given.shape[-1] * (of_input.numel() + of_state.numel()))


CELLS = ("quantized_lstm", "quantized_gru")
FORMULAS: dict[str, Callable[[list[Any], Any], int]] = {
    "mv": lambda operands, _: operands[0].numel(),
    "addmv": lambda operands, _: operands[1].numel(),
    "dot": lambda operands, _: operands[0].numel(),
    "vdot": lambda operands, _: operands[0].numel(),
    "addbmm": lambda operands, _: operands[1].numel() * operands[2].shape[-1],
    "addr": lambda _, result: result.numel(),
    "_trilinear": _trilinear_macs,
    "mkldnn_rnn_layer": _recurrent_macs,
    "_scaled_dot_product_flash_attention_for_cpu": _attention_macs,
    "_scaled_dot_product_attention_math": _attention_macs,
    "_scaled_dot_product_fused_attention_overrideable": _attention_macs,
}
