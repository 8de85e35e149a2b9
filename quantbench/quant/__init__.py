"""Quantization arithmetic of our own, in plain torch: no quantization library is imported here."""
