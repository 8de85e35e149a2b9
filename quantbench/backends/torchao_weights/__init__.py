"""Weights and dynamic activations of linear layers in few bits, as tensors of torchao."""
