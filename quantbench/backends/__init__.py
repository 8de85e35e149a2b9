"""Backends: how a recipe is lowered and run; the only place that imports quantization libraries."""
