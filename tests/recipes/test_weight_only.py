"""Recipes of weights in few bits, in no library's words."""

import pytest

from quantbench.errors import ConfigError
from quantbench.recipes.lowering import default_backend, unsupported
from quantbench.recipes.spec import WeightOnly, describe
from quantbench.registry import RECIPES


def create(name, **params):
    return RECIPES.create(name, "here", params)


def test_a_record_describes_bits_layers_and_block():
    assert describe(create("weight_only_int8")) == {
        "kind": "weight_only", "bits": 8, "layers": ["Linear", "Conv1d", "Conv2d"]
    }  # fmt: skip
    assert describe(create("weight_only_int4", block_size=64)) == {
        "kind": "weight_only", "bits": 4, "layers": ["Linear"], "block_size": 64
    }  # fmt: skip


@pytest.mark.parametrize(
    ("size", "words"), [(48, "48 is no power of two"), (8, "greater than or equal to 16"), (512, "less than or equal")]
)
def test_a_block_that_no_kernel_has_is_refused(size, words):
    with pytest.raises(ConfigError, match=words):
        create("weight_only_int4", block_size=size)


@pytest.mark.parametrize("backend", ["eager", "low_bit", "torch"])
def test_other_backends_name_the_one_that_runs_it(backend):
    assert default_backend(WeightOnly(8, ("Linear",))) == "onnxruntime"
    assert unsupported(backend, WeightOnly(8, ("Linear",))) == (
        f"backend '{backend}' does not run recipes of kind weight_only; set backend: onnxruntime"
    )
