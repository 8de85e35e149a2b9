"""Quantized once more, from the same files, the checkpoint is the same."""

from quantbench.claims.test_determinism import *
