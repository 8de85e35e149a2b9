"""Layers of a `.pt2` program: constants behind `dequantize`, and the quantizers of activations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quantbench.parity.layers import Layer, Origin, Scale, Weights, assembled, attributed

if TYPE_CHECKING:
    from quantbench.backends.interface import Artifact

PRODUCTS = ("conv", "linear", "addmm", "matmul", "mm.")
JOINING = ("add.", "add_.", "sub.", "mul.", "cat.")
PASSING = (
    "relu", "hardtanh", "clamp", "batch_norm", "dropout", "max_pool", "flatten", "view", "reshape", "squeeze", "pad",
    "slice", "permute", "transpose", "contiguous", "clone",
)  # fmt: skip


def layers_of(artifact: Artifact) -> list[Layer]:
    """See `quantbench.parity.layers.layers_of`."""
    from quantbench.backends.pt2e.compiling import read_program

    program = read_program(artifact.path)
    signature = program.graph_signature
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    constants = {**program.state_dict, **program.constants}
    weights: dict[str, Weights] = {}
    joins: dict[str, int] = {}
    outputs = []
    for node in program.graph.nodes:
        target = str(node.target)
        if node.op != "call_function" or "quantized_decomposed" not in target:
            continue
        if "dequantize_per" in target and (name := names.get(getattr(node.args[0], "name", ""))) is not None:
            weights[name.removesuffix(".weight")] = _weights(node, name, names, constants)
        elif ".quantize_per_tensor" in target:
            scale = Scale.of(*node.args[1:3])
            if (found := attributed(_origin(node.args[0], names), scale, joins)) is not None:
                outputs.append(found)
    return assembled(weights, outputs)


def _weights(node: Any, name: str, names: dict[str, str], constants: dict[str, Any]) -> Weights:
    codes = constants[name].detach().double().numpy()
    scale, zero_point = (
        constants[names[each.name]].detach().double().numpy() if hasattr(each, "name") else each
        for each in node.args[1:3]
    )
    found = Scale.of(scale, zero_point)
    axis = node.args[3] if "per_channel" in str(node.target) else 0
    shape = [1] * codes.ndim
    shape[axis] = -1
    return Weights(found, (codes - found.zero_point.reshape(shape)) * found.scale.reshape(shape))


def _origin(node: Any, names: dict[str, str]) -> Origin:
    """The maker of a node's values, seen through operators that pass them on."""
    from quantbench.backends.exported.graphs import layer_of

    while node.op == "call_function":
        target = str(node.target).removeprefix("aten.")
        if "quantize_per_tensor" in target:
            return Origin("quantizer", str(node.name), Scale.of(*node.args[1:3]))
        given = [each for each in node.all_input_nodes if each.name not in names and not _is_constant(each, names)]
        if target.startswith(PRODUCTS):
            return Origin("layer", layer_of(node) or str(node.name))
        if target.startswith(JOINING) and len(given) > 1:
            return Origin("join", layer_of(node))
        if not target.startswith((*PASSING, *JOINING, "unsqueeze")) or not given:
            return Origin("other", layer_of(node) or str(node.name))
        node = given[0]
    return Origin("input", str(node.name))


def _is_constant(node: Any, names: dict[str, str]) -> bool:
    """True for what is computed from constants alone."""
    return node.op == "call_function" and all(each.name in names for each in node.all_input_nodes)
