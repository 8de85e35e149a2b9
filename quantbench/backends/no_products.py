"""Operators that are known to multiply no activations with weights or with each other, each group with its reason.

Beside them stand all that torch itself tags as pointwise or declares as views.
"""

from __future__ import annotations

# Reason → names in ATen, without the mark of one that works in place.
_ATEN = {
    "values are moved, joined, padded, created or converted: each is one of an operand's, or a constant": """
        arange as_strided_scatter block_diag cat channel_shuffle clone complex constant_pad_nd contiguous copy
        _copy_from copy_sparse_to_sparse dequantize diag_embed diagonal_scatter fill flip gather im2col index index_copy
        index_fill index_put _index_put_impl index_select lift lift_fresh masked_fill masked_scatter masked_select
        max_unpool2d max_unpool3d native_channel_shuffle _nested_tensor_from_mask nonzero one_hot _pack_padded_sequence
        _pad_packed_sequence pixel_shuffle pixel_unshuffle polar put reflection_pad1d reflection_pad2d reflection_pad3d
        repeat repeat_interleave replication_pad1d replication_pad2d replication_pad3d _reshape_alias _reshape_copy
        resize resize_as roll rot90 scalar_tensor scatter select_scatter set slice_scatter stack take take_along_dim
        _to_copy _to_dense tril tril_indices triu triu_indices unsafe_chunk _unsafe_index _unsafe_index_put
        _unsafe_masked_index unsafe_split unsafe_split_with_sizes _unsafe_view zero
    """,
    "a row of a table for each index": """
        bucketize embedding embedding_renorm isin searchsorted
    """,
    "sums, extremes and orders along dimensions: nothing is multiplied by anything": """
        _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d all amax
        amin aminmax any argmax argmin argsort avg_pool1d avg_pool2d avg_pool3d bincount col2im count_nonzero cummax
        cummin cumsum equal histc index_add index_reduce is_same_size kthvalue linalg_vector_norm _local_scalar_dense
        _log_softmax log_softmax logcumsumexp logsumexp _masked_softmax max max_pool2d_with_indices
        max_pool3d_with_indices mean median min mode nansum norm quantized_max_pool1d quantized_max_pool2d _safe_softmax
        scatter_add scatter_reduce segment_reduce _softmax softmax sort std std_mean sum topk _unique2 unique_dim var
        var_mean
    """,
    "each channel or element is scaled and shifted, by statistics and parameters": """
        _batch_norm_no_update cudnn_batch_norm _fused_rms_norm miopen_batch_norm native_batch_norm
        _native_batch_norm_legit _native_batch_norm_legit_no_training native_group_norm native_layer_norm
        quantized_batch_norm _weight_norm_interface
    """,
    "one result for each element, though torch does not tag them so": """
        allclose bernoulli binary_cross_entropy binary_cross_entropy_with_logits dist _functional_assert_async glu
        huber_loss isclose kl_div l1_loss mse_loss native_dropout nll_loss2d_forward nll_loss_forward normal prelu
        _prelu_kernel rrelu_with_noise rsub smooth_l1_loss special_xlogy
    """,
    "a few neighbours are weighed by where a point lies between them": """
        grid_sampler_2d _grid_sampler_2d_cpu_fallback grid_sampler_3d
    """,
    "values become codes or codes values, observers included": """
        choose_qparams_optimized _choose_qparams_per_tensor _empty_affine_quantized _empty_per_channel_affine_quantized
        _fake_quantize_learnable_per_channel_affine _fake_quantize_learnable_per_tensor_affine
        fake_quantize_per_channel_affine_cachemask fake_quantize_per_tensor_affine_cachemask
        _fake_quantize_per_tensor_affine_cachemask_tensor_qparams _fused_moving_avg_obs_fq_helper int_repr
        _make_per_channel_quantized_tensor _make_per_tensor_quantized_tensor q_per_channel_scales
        q_per_channel_zero_points q_scale q_zero_point quantize_per_channel quantize_per_tensor
        quantize_per_tensor_dynamic
    """,
}
NO_PRODUCTS = frozenset(name for names in _ATEN.values() for name in names.split())
# Those whose results have the values of their operands.
MOVES = frozenset(
    name
    for reason, names in _ATEN.items()
    if reason.startswith(("values are", "values become"))
    for name in names.split()
)
# The same by how a name begins or ends: creation, and interpolation.
NO_PRODUCTS_BEGIN, NO_PRODUCTS_END = ("new_", "empty", "upsample_", "_upsample_"), ("_like",)
# On quantized tensors: sums, scales, activations, pooling, norms, joins, lookups.
QUANTIZED_NO_PRODUCTS = (
    "add", "batch_norm", "cat", "celu", "clamp", "dropout", "elu", "embedding_4bit", "embedding_byte", "group_norm",
    "hardswish", "instance_norm", "layer_norm", "leaky_relu", "max_pool", "mul", "prelu", "relu6", "sigmoid", "softmax",
    "threshold",
)  # fmt: skip
# Of torchvision: choices among boxes, and pooling at given places. `deform_conv2d` is none of them.
VISION_NO_PRODUCTS = ("nms", "roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool")
# Products of a single operand, with weights of the operator's own or with itself.
UNARY_PRODUCTS = ("_fft_", "fft_", "linalg_", "_linalg_", "_pdist", "matrix_exp", "cholesky", "logdet", "inverse")
