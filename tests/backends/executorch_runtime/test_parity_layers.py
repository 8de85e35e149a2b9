"""Scales of a `.pte` file's layers, as parity reads them: those of the program that it was lowered from."""

from dataclasses import replace

import numpy as np
import pytest

from quantbench.backends.executorch_runtime.pte_file import read_pte
from quantbench.backends.executorch_runtime.xnnpack_graph import Value
from quantbench.backends.state_dict import reference_module
from quantbench.parity import pte_layers
from quantbench.parity.layers import layers_of
from quantbench.parity.matching import matched


@pytest.fixture(scope="module")
def layers(int8):
    found, reason = layers_of(int8.artifact)
    assert reason == ""
    return {each.place: each for each in found}


def test_layers_have_their_names_and_weights_in_the_axes_of_the_model(layers, reference):
    model = reference_module(reference)
    for name in ("stem", "block.conv1", "block.conv2", "fc"):
        weights = layers[name].weights
        assert weights.values.shape == tuple(model.get_submodule(name).weight.shape)
        assert weights.scale.scale.shape == (len(weights.values),)
        assert set(weights.scale.zero_point) == {0.0}
    # No batch norm is folded into these two; a code is off by half a step at most.
    for name in ("stem", "fc"):
        weights, own = layers[name].weights, model.get_submodule(name).weight.detach().numpy()
        step = weights.scale.scale.reshape(-1, *[1] * (own.ndim - 1))
        assert (np.abs(weights.values - own) <= 0.5001 * step).all()


def test_results_have_scales_by_what_made_them_from_part_to_part(layers):
    assert list(layers) == ["stem", "block.conv1", "block.conv2", "fc", "input", "add_1", "mean_5"]
    assert layers["stem"].outputs.zero_point.tolist() == [-128.0], "after its ReLU"
    assert layers["input"].weights is None
    assert layers["input"].outputs.scale > 0


def test_they_are_matched_with_those_of_another_backend(layers, int8):
    other = [replace(each, place=f"other/{each.place}") for each in layers.values()]
    pairs, _, _ = matched(list(layers.values()), other)
    assert [(each.base.place, each.by) for each in pairs] == [
        (name, "weights") for name in ("stem", "block.conv1", "block.conv2", "fc")
    ]


def test_a_file_in_floating_point_holds_no_scales(small_fp32):
    assert layers_of(small_fp32.artifact) == ([], "it holds no scales")


def test_a_damaged_file_is_one_reason(changed):
    found, reason = layers_of(changed(cut=500))
    assert found == []
    assert "not a whole .pte file" in reason


DAMAGES = {
    "fewer codes": {"values": b"\0"},
    "an axis that is not there": {"axis": 9},
    "fewer scales": {"scales": b"\0" * 4},
    "blocks": {"is_blockwise": True},
    "no codes": {"dtype": "float32"},
    "other axes": {"shape": (8, 27)},
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_weights_that_are_no_codes_with_their_scales_are_none(damage, int8):
    graph = read_pte(int8.artifact.path).method.calls[0].graph
    node = next(each for each in graph.nodes if each.kind == "Conv2d")
    place = node.inputs[1]
    assert pte_layers._weights(node, graph) is not None
    value: Value = replace(graph.values[place], **damage)
    assert pte_layers._weights(node, replace(graph, values={**graph.values, place: value})) is None
