"""Test-driven benchmark and regression suite for neural-network quantization."""

__version__ = "0.1.0"
