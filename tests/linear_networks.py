"""Networks of linear layers, and what stands beside such layers."""

from torch import nn

INPUTS, HIDDEN, OUTPUTS = 64, 32, 5


def two_layers():
    """Two linear layers with a norm between them."""
    return nn.Sequential(nn.Linear(INPUTS, HIDDEN), nn.ReLU(), nn.LayerNorm(HIDDEN), nn.Linear(HIDDEN, OUTPUTS))


def with_convolution():
    """A convolution before a linear layer."""
    return nn.Sequential(nn.Conv1d(1, 2, 3), nn.Flatten(), nn.Linear(124, 2))


def without_layers():
    """No linear layer."""
    return nn.Sequential(nn.ReLU(), nn.LayerNorm(INPUTS))


def odd():
    """A layer of 33 inputs."""
    return nn.Sequential(nn.Linear(INPUTS, 33), nn.Linear(33, 2))
