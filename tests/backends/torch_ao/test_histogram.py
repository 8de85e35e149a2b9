"""The histogram observer in its quick form chooses upstream's range to the bit."""

import pytest
import torch
from torch.ao import quantization as ao

from quantbench.backends.torch_ao.histogram import HistogramObserver
from quantbench.backends.torch_ao.power_of_two import PowerOfTwoHistogramObserver
from quantbench.backends.torch_ao.qconfigs import static_qconfig
from quantbench.recipes.static_int8 import static_int8_full_range, static_int8_histogram
from quantbench.upstream import silenced


def drawn(seed=0):
    return torch.randn(4_000, generator=torch.Generator().manual_seed(seed))


VALUES = {
    "both signs": drawn(),
    "half of them zero": drawn().relu(),
    "nearly all zero": (drawn() - 2).relu(),
    "few": drawn()[:7],
    "two": torch.tensor([-1.0, 2.0]),
    "whole numbers": (3 * drawn()).round(),
    "outliers on both sides": drawn() ** 5,
    "all the same": torch.full((16,), 0.5),
    "far from zero": drawn() + 100.0,
}


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_it_chooses_upstreams_range(values):
    with silenced():
        theirs, ours = ao.HistogramObserver(bins=512), HistogramObserver(bins=512)
        for observer in (theirs, ours):
            observer(values)
            # The histogram is stretched, and its counts become fractions.
            observer(1.5 * values + 0.1)
        assert all(map(torch.equal, ours._non_linear_param_search(), theirs._non_linear_param_search()))


@pytest.mark.parametrize("recipe", [static_int8_histogram(), static_int8_full_range()], ids=["default", "full range"])
@pytest.mark.parametrize("engine", ["x86", "qnnpack"])
def test_recipes_are_calibrated_by_it_with_upstreams_settings(recipe, engine):
    with silenced():
        ours, theirs = static_qconfig(recipe, engine).activation(), ao.get_default_qconfig(engine).activation()
    assert type(ours) is HistogramObserver
    assert (ours.dtype, ours.qscheme, ours.bins) == (theirs.dtype, theirs.qscheme, theirs.bins)
    assert ours.reduce_range == (theirs.reduce_range if recipe.activation is None else False)


def test_its_form_for_powers_of_two_searches_the_same_way():
    assert issubclass(PowerOfTwoHistogramObserver, HistogramObserver)
