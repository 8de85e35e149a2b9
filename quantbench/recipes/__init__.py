"""Recipes: what to quantize and how to calibrate or train it; plain descriptions that import no torch."""
