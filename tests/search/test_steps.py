"""A forward as a list of steps: the same values, no side effects, and honesty where there is no such list."""

import pytest
import torch
from tiny_switchable import Chain, CodesConv, Residual, built
from torch import nn

from quantbench.search.steps import INPUT, checked_steps, run_all

LAYERS = {Chain: ["conv0", "conv1", "conv2", "conv3"], Residual: ["stem", "main1", "main2", "way_around", "last"]}


def images(n=5, seed=1):
    return torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


class Wrapped(nn.Module):
    """One layer, and whatever a test does with it."""

    def __init__(self, then):
        super().__init__()
        self.conv = CodesConv(1, 2, signed=True)
        self.then = then

    def forward(self, x):
        return self.then(self, x)


def whole(model, layers=("conv",)):
    """Why a model has no steps; checks that it still gives what it gives."""
    steps, why = checked_steps(model, list(layers), images(2))
    assert [step.inputs for step in steps] == [(INPUT,)]
    assert torch.equal(run_all(steps, images())["output"], model(images()))
    return why


@pytest.mark.parametrize("kind", LAYERS)
def test_steps_give_what_the_model_gives_and_each_layer_is_one_of_them(kind):
    model = built(kind)
    steps, why = checked_steps(model, LAYERS[kind], images(2))
    assert why == ""
    assert [step.layer for step in steps if step.layer] == LAYERS[kind]
    assert torch.equal(run_all(steps, images())[steps[-1].name], model(images()))


def test_a_step_that_works_in_place_leaves_what_it_reads_as_it_was():
    model = Wrapped(lambda self, x: torch.relu_(self.conv(x)).sum((2, 3)))
    steps, why = checked_steps(model, ["conv"], images(2))
    assert why == ""
    values = run_all(steps, images())
    assert values["conv"].min() < 0
    assert torch.equal(values["conv"], model.conv(images()))


def read_again(self, x):
    y = self.conv(x)
    return (torch.relu_(y) + y).sum((2, 3))


def view_changed(self, x):
    y = self.conv(x)
    y.flatten(1).relu_()
    return y.sum((2, 3))


@pytest.mark.parametrize("then", [read_again, view_changed])
def test_a_value_that_is_changed_in_place_and_read_again_allows_no_reuse(then):
    assert "changes a value in place that is read again" in whole(Wrapped(then))


def test_a_forward_that_depends_on_values_allows_no_reuse():
    why = whole(Wrapped(lambda self, x: self.conv(x).sum((2, 3)) if x.sum() > -1e9 else x))
    assert why.startswith("its forward cannot be traced (TraceError: ")


def test_a_forward_that_remembers_the_size_of_the_batch_allows_no_reuse():
    # What is traced is the size at that time: none at all, so that the branch for batches is always taken.
    model = Wrapped(lambda self, x: self.conv(x).sum((2, 3)) * (2.0 if isinstance(x, torch.Tensor) else 1.0))
    assert whole(model) == "its traced forward gives other values than itself"


def test_a_layer_that_is_not_called_as_a_module_allows_no_reuse():
    model = Wrapped(lambda self, x: self.conv.forward(x).sum((2, 3)))
    assert whole(model) == "its forward does not call conv as a module"


def test_a_model_that_gives_two_tensors_has_no_steps():
    model = Wrapped(lambda self, x: (self.conv(x), x))
    _, why = checked_steps(model, ["conv"], images(2))
    assert why == "it takes or gives something else than one tensor"


def test_a_layer_inside_a_module_of_torch_is_found():
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Sequential(CodesConv(1, 2, signed=True), nn.ReLU())

        def forward(self, x):
            return self.inner(x).sum((2, 3))

    steps, why = checked_steps(Outer(), ["inner.0"], images(2))
    assert why == ""
    assert [step.layer for step in steps if step.layer] == ["inner.0"]


def test_a_module_that_holds_no_layer_is_one_step_whatever_it_does_inside():
    class Deciding(nn.Module):
        def forward(self, x):
            y = x * 2 if x.sum() > 0 else x
            y.round_().clamp_(0, 3)
            return y.sum((2, 3))

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = CodesConv(1, 2, signed=True), Deciding()

        def forward(self, x):
            return self.head(self.conv(x))

    model = Outer()
    steps, why = checked_steps(model, ["conv"], images(2))
    assert why == ""
    assert [step.name for step in steps] == ["conv", "head"]
    assert torch.equal(run_all(steps, images())["head"], model(images()))
