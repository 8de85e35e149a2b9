"""One linear layer with a ReLU, quantized in the way that a test asks for."""

from dataclasses import dataclass, field, replace

import numpy as np

from quantbench.backends.insides import Grid, InnerLayer, Parameter, Values
from quantbench.blame.causes.interface import Facts
from quantbench.blame.errors import Errors
from quantbench.recipes.static_int8 import static_int8_per_channel

OUTPUTS, INPUTS = 16, 64


def weights(seed=0):
    return np.random.RandomState(seed).randn(OUTPUTS, INPUTS) / 8


def inputs(n=200, seed=1, times=1.0):
    return times * np.random.RandomState(seed).randn(n, INPUTS)


def per_channel(reference):
    return Grid.of(np.abs(reference).max(axis=1) / 127, 0, -128, 127, 0, 2)


def per_tensor(reference):
    return Grid.of(np.abs(reference).max() / 127, 0, -128, 127)


def results(high, low=0.0):
    scale = (high - low) / 255
    return Grid.of(scale, round(-low / scale), 0, 255)


@dataclass(frozen=True)
class Layer:
    """A layer in the making.

    Attributes:
        reference: weights.
        grid: of the candidate's.
        candidate: weights; those of the reference on the grid by default.
        high: of the grid of results; what the test inputs need by default.
        bias: of the candidate; the reference has 0.
        more: grids that round the results again.
        kernel: what the kernel makes of the results.
        relu: it ends with one.
    """

    reference: np.ndarray = field(default_factory=weights)
    grid: Grid | None = None
    candidate: np.ndarray | None = None
    high: float | None = None
    given: Grid | None = None
    bias: np.ndarray | None = None
    more: tuple[Grid, ...] = ()
    kernel: object = None
    relu: bool = True

    def run(self, x, reference=False):
        weight = self.reference if reference else self.weight
        y = x @ weight.T + (0 if reference or self.bias is None else self.bias)
        return np.maximum(y, 0) if self.relu else y

    @property
    def weight_grid(self):
        return self.grid or per_channel(self.reference)

    @property
    def weight(self):
        return self.weight_grid.rounded(self.reference) if self.candidate is None else self.candidate

    @property
    def results(self):
        needed = self.run(inputs(), reference=True)
        own = self.given or results(self.high or needed.max(), min(needed.min(), 0.0))
        return (own, *self.more)

    def errors(self, x):
        bias = None if self.bias is None else Parameter(np.zeros(OUTPUTS), self.bias)
        layer = InnerLayer("fc", "Linear", Parameter(self.reference, self.weight, self.weight_grid), bias, self.results)
        found, y = Errors(layer), self.run(x)
        given = self.results[0].rounded(y)
        for grid in self.more:
            given = grid.rounded(given)
        found.add(Values(self.run(x, reference=True), given if self.kernel is None else self.kernel(given), y, y))
        return found

    def facts(self, test=None, shown=None, calibration=None, **more):
        test = self.errors(inputs() if test is None else test)
        own = None if shown is None else self.errors(shown)
        rest = None if calibration is None else self.errors(calibration)
        found = Facts(
            test.layer, test, rest, own, None if shown is None else len(shown), static_int8_per_channel(), "eager"
        )
        return replace(found, **more)
